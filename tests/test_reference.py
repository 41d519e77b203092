"""One place for each fact: the reference page is what the source says, and the source says it of everything."""

import importlib.util
from pathlib import Path

import pytest

from gitpulse_operator.settings import OperatorSettings
from gitpulse_service.contract import SharedSettings
from gitpulse_service.settings import ServiceSettings

DOCS = Path(__file__).parent.parent / "docs"


def page_maker(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference():
    return page_maker("reference")


def test_the_page_is_what_the_source_says(reference):
    assert (DOCS / "reference.md").read_text() == reference.page(), "run: make docs"


@pytest.mark.parametrize("settings", [SharedSettings, ServiceSettings, OperatorSettings])
def test_every_setting_is_documented(reference, settings):
    own = set(settings.__annotations__) - {"model_config"}
    assert own == set(reference.docstrings(settings))


@pytest.mark.parametrize(
    ("settings", "package"),
    [(ServiceSettings, "service/gitpulse_service"), (OperatorSettings, "operator/gitpulse_operator")],
)
def test_every_setting_does_something(settings, package):
    folder = DOCS.parent / package
    code = "".join(p.read_text() for p in folder.rglob("*.py") if p.name != "settings.py")
    properties = {"watch_namespaces": "namespaces"}  # read through a property that splits it
    unused = [n for n in settings.model_fields if f"settings.{properties.get(n, n)}" not in code]
    assert unused == []


def test_the_charts_page_is_what_its_values_say_and_they_say_it_of_all():
    values = page_maker("values")
    assert values.PAGE.read_text() == values.page(), "run: make docs"
    assert [path for path, (_, meaning) in values.table().items() if not meaning] == []


def test_the_doctors_page_is_what_its_catalogue_says():
    doctor = page_maker("doctor")
    assert doctor.PAGE.read_text() == doctor.page(), "run: make docs"


def test_pages_made_from_schemas_are_what_they_say():
    schemas = page_maker("schemas")
    for name in schemas.PAGES:
        assert (DOCS / f"{name}.md").read_text() == schemas.page(name), "run: make docs"


def test_every_field_of_a_kind_is_described():
    """Down to what a list holds: a row without a meaning is a field without a description."""
    rows = [line for line in page_maker("schemas").page("kinds").splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |")] == []
