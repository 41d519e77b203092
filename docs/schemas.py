"""Writes the pages that are made from schemas: kinds.md (crds/), openapi.md (the query API), alerts.md (the chart).

A test fails when a page is not what this prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gitpulse_service.metrics_api.app import create_api

DOCS = Path(__file__).parent
Schema = Mapping[str, Any]
LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}


def cell(text: object) -> str:
    """As it stands in a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def name_of(schema: Schema) -> str:
    """The type, `null` left out: a field that may be it says so in its description or by its default."""
    if "$ref" in schema:
        return f"[{schema['$ref'].rpartition('/')[2]}](#{schema['$ref'].rpartition('/')[2].lower()})"
    if options := [it for it in schema.get("anyOf", []) if it != {"type": "null"}]:
        return " or ".join(dict.fromkeys(name_of(it) for it in options))
    if schema.get("type") == "array":
        return f"list of {name_of(schema['items'])}" if "$ref" in schema["items"] else "list"
    return str(schema.get("format") or schema.get("type", "any"))


def meaning(schema: Schema) -> str:
    """Description, what it may be, limits, rules."""
    said = [schema.get("description", "")]
    parts = [schema, *schema.get("anyOf", [])]
    for part in parts:
        if "enum" in part:
            said.append("One of " + ", ".join(f"`{it}`" for it in part["enum"]) + ".")
        if limits := [text.format(part[key]) for key, text in LIMITS.items() if key in part]:
            said.append(f"*{', '.join(limits)}*.")
    said += [f"**Rule**: {it['message']} (`{it['rule']}`)." for it in schema.get("x-kubernetes-validations", [])]
    return cell(" ".join(filter(None, said)))


def default_of(schema: Schema, *, required: bool) -> str:
    if "default" in schema:
        return f"`{cell(json.dumps(schema['default']))}`"
    return "required" if required else ""


def fields(schema: Schema, above: str = "") -> Iterator[str]:
    """A row for each property, and for those below it; `[]` stands for the items of a list."""
    for name, inner in schema.get("properties", {}).items():
        path = f"{above}{name}"
        shown = default_of(inner, required=name in schema.get("required", []))
        yield f"| `{path}` | {name_of(inner)} | {shown} | {meaning(inner)} |"
        yield from fields(inner, f"{path}.")
        if "items" in inner:
            items = inner["items"]
            if "properties" not in items and "$ref" not in items:
                yield f"| `{path}[]` | {name_of(items)} | | {meaning(items)} |"
            yield from fields(items, f"{path}[].")


def rules(schema: Schema) -> Iterator[str]:
    """The CEL rules over a whole object, as a list."""
    yield from (f"- {it['message']} (`{cell(it['rule'])}`)" for it in schema.get("x-kubernetes-validations", []))


FIELDS = "| field | type | default | meaning |\n|---|---|---|---|"


def kinds() -> Iterator[str]:
    yield "# Kinds\n\nMade from `crds/` by `make docs`. All are of `gitpulse.io/v1alpha1` and live in a namespace."
    yield "In a path `[]` stands for an item of a list."
    for file in sorted((DOCS.parent / "crds").glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())["spec"]
        (version,) = crd["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        yield f"\n## {crd['names']['kind']}\n\n{schema['description']}\n"
        names = ", ".join(f"`{it}`" for it in [crd["names"]["plural"], *crd["names"].get("shortNames", [])])
        columns = [f"{it['name']}{' (wide)' * it.get('priority', 0)}" for it in version["additionalPrinterColumns"]]
        yield f"`kubectl get` knows it as {names}, and shows {', '.join(columns)}.\n"
        yield from rules(schema)
        for part in ("spec", "status"):
            inner = schema["properties"][part]
            yield f"\n### {crd['names']['kind']}: {part}\n\n{inner['description']}\n"
            yield from rules(inner)
            yield f"\n{FIELDS}"
            yield from fields(schema["properties"][part])


def api() -> Iterator[str]:
    schema = create_api(None).openapi()  # type: ignore[arg-type] -- the parts are for requests
    yield "# The query API\n\nMade by `make docs` from its OpenAPI 3.1, which a receiver has at `/api/v1/openapi.json`."
    yield "All is below `/api/v1`. How to ask: [api.md](api.md). What a metric means: [metrics.md](metrics.md)."
    problems = schema["paths"]["/metrics"]["get"]["responses"]
    yield "\n## What goes wrong\n\n| status | meaning |\n|---|---|"
    yield from (
        f"| {status} | {cell(it['description'])} |" for status, it in sorted(problems.items()) if status != "200"
    )
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"\n## {method.upper()} {path}\n\n{operation['description']}\n"
            answers = operation["responses"]["200"]["content"]
            names = [name_of(it["schema"]) if kind.endswith("json") else f"`{kind}`" for kind, it in answers.items()]
            yield f"Answers {', or '.join(names)}.\n"
            if parameters := operation.get("parameters"):
                yield "| parameter | type | default | meaning |\n|---|---|---|---|"
            for it in parameters or []:
                inner = it["schema"]
                shown = default_of(inner, required=it.get("required", False))
                yield f"| `{it['name']}` | {name_of(inner)} | {shown} | {meaning(inner)} |"
    yield "\n# What comes back"
    for name, inner in schema["components"]["schemas"].items():
        yield f"\n## {name}\n\n{inner.get('description', '')}\n\n{FIELDS}"
        yield from fields(inner)


def alerts() -> Iterator[str]:
    yield "# Alerts\n\nMade by `make docs` from the chart's `files/alerts.yaml`. Each has a [page](runbooks/README.md)."
    yield "`alerts.rules` of the [chart](../charts/gitpulse/README.md) changes one, or takes it out.\n"
    for group in yaml.safe_load((DOCS.parent / "charts/gitpulse/files/alerts.yaml").read_text())["groups"]:
        yield f"## {group['name']}\n"
        for name, it in group["alerts"].items():
            when = f"after {it['for']}" if "for" in it else "at once"
            when += f", threshold {it['threshold']}" if "threshold" in it else ""
            yield f"### {name}\n\n{it['summary']} *{it['severity']}*, {when}; [what to do](runbooks/{name}.md).\n"
            yield f"```text\n{it['expr'].strip()}\n```\n"


PAGES: dict[str, Callable[[], Iterator[str]]] = {"kinds": kinds, "openapi": api, "alerts": alerts}


def page(name: str) -> str:
    """The whole page."""
    return "\n".join(PAGES[name]()).rstrip() + "\n"


if __name__ == "__main__":
    for it in PAGES:
        (DOCS / f"{it}.md").write_text(page(it))
    sys.stderr.write(f"wrote {', '.join(f'{it}.md' for it in PAGES)}\n")
