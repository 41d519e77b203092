"""How commands print what they found: a table for people, JSON or YAML for programs, always on standard output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""For what people are told beside it."""


class Format(StrEnum):
    """What standard output is written in."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="As `table`, `json` or `yaml`.")]


def show(
    rows: Iterable[Mapping[str, Any]],
    output: Format,
    *,
    columns: Sequence[str] | None = None,
    title: str = "",
    none: str = "",
) -> None:
    """Prints rows of the same fields. A table has the `columns`, else all of them; JSON and YAML a list of objects.

    A `title` stands above a table that is not empty, apart from what was before. `none`: what people are told else.
    """
    rows = list(rows)
    if none and not rows:
        console.print(none)
    if output is not Format.TABLE:
        dump(rows, output)
    elif rows:
        shown = columns or list(rows[0])
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in shown:
            table.add_column(_words(name), overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell(row.get(name))) for name in shown))
        _print(table, title)


def facts(about: Mapping[str, Any]) -> None:
    """Prints what is known of one thing, a line each, and nothing of what is not."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in about.items():
        if text := cell(value):
            table.add_row(Text(_words(name), "bold"), Text(text, overflow="fold"))
    _print(table)


def _print(table: Table, title: str = "") -> None:
    # A pipe is no terminal of 80 columns: nothing is cut off or wrapped there.
    width = None if sys.stdout.isatty() else max(80, Console(width=10_000).measure(table).maximum)
    screen = Console(width=width)
    with screen.capture() as text:
        if title:
            screen.print(Text(f"\n{title}", "bold"))
        screen.print(table)
    sys.stdout.write("".join(line.rstrip(" ") + "\n" for line in text.get().splitlines()))


def dump(value: object, output: Format) -> None:
    """Prints a whole value as JSON or YAML."""
    if output is Format.YAML:
        import yaml

        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def _words(name: str) -> str:
    """A field's name as people write it."""
    return re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", name).lower() if name[:1].islower() else name


def cell(value: object) -> str:
    """A value within a table: nothing for what is not known, lists with commas, moments to the second."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(name)} {cell(it)}" for name, it in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
