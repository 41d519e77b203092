"""Writes docs/reference.md from the source: settings, metrics, commands.

A test fails when the page is not what this prints.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer.main
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperGroup, TyperOption

import gitpulse_operator.metrics
import gitpulse_service.metrics
from gitpulse_cli.main import app
from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import SharedSettings
from gitpulse_service.settings import ServiceSettings

PAGE = Path(__file__).parent / "reference.md"


def docstrings(cls: type) -> dict[str, str]:
    """The string below each field of a class body, as one paragraph."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(inspect.cleandoc(str(text.value.value)).split())
    return found


def default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default in (None, "") else f"`{field.default}`"


def settings(title: str, cls: type[SharedSettings]) -> Iterator[str]:
    yield f"### {title}\n\n| variable | default | meaning |\n|---|---|---|"
    documented = docstrings(cls)
    for name, field in cls.model_fields.items():
        if name in documented:
            variable = field.validation_alias or f"GITPULSE_{name.upper()}"
            yield f"| `{variable}` | {default(field)} | {documented[name]} |"
    yield ""


def metrics(title: str, module: object) -> Iterator[str]:
    yield f"### {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|"
    found = [m for m in vars(module).values() if isinstance(m, MetricWrapperBase)]
    for metric in sorted(found, key=lambda m: next(iter(m.describe())).name):
        family = next(iter(metric.describe()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
    yield ""


def commands() -> Iterator[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    named = [
        (f"{name} {inner}" if inner else name, command)
        for name, outer in group.commands.items()
        for inner, command in (outer.commands.items() if isinstance(outer, TyperGroup) else [("", outer)])
    ]
    for name, command in named:
        yield f"### `gitpulse {name}`\n\n{(command.help or '').strip()}\n"
        arguments = [p for p in command.params if isinstance(p, TyperArgument)]
        options = [p for p in command.params if isinstance(p, TyperOption) and p.name != "help"]
        if arguments or options:
            yield "| argument or option | default | meaning |\n|---|---|---|"
        for argument in arguments:
            yield f"| `{(argument.metavar or str(argument.name).upper()).replace('|', ' or ')}` |  | {argument.help} |"
        for option in options:
            shown = "" if option.is_flag or option.default in (None, "") else f"`{option.default}`"
            yield f"| `{', '.join(option.opts)}` | {shown} | {option.help or ''} |"
        yield ""


def page() -> str:
    """The whole page."""
    parts: list[Iterable[str]] = [
        ["# Reference\n\nMade from the source by `make docs`.\n"],
        ["## Settings\n\nFrom the environment, read once at start.\n"],
        settings("Everywhere", SharedSettings),
        settings("Receiver and worker", ServiceSettings),
        settings("Operator", OperatorSettings),
        ["## Metrics\n\nPrometheus, on a port of their own.\n"],
        metrics("Receiver and worker", gitpulse_service.metrics),
        metrics("Operator", gitpulse_operator.metrics),
        ["## Commands\n"],
        commands(),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stderr.write(f"wrote {PAGE.name}\n")
