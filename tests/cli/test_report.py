"""The demo's verdict: true only if there was something to agree on, and all of it did."""

import io
import json

import pytest
from rich.console import Console

from gitpulse_cli.report import Check, Report

RIGHT = Check("acme/website: commits", 12, 12)
WRONG = Check("acme/api: commits", 7, 6)


@pytest.mark.parametrize(
    ("report", "ok"),
    [
        (Report(5, 1.0, [RIGHT]), True),
        (Report(5, 1.0, [RIGHT, WRONG]), False),
        (Report(5, 1.0, []), False),
        (Report(0, 1.0, [RIGHT]), False),
    ],
)
def test_it_is_ok_only_if_all_agrees_and_something_happened(report, ok):
    assert report.ok is ok
    assert json.loads(report.as_json())["ok"] is ok


def test_the_json_has_each_figure():
    assert json.loads(Report(5, 1.25, [RIGHT, WRONG]).as_json()) == {
        "ok": False,
        "events": 5,
        "seconds": 1.25,
        "checks": [
            {"name": "acme/website: commits", "expected": 12, "actual": 12},
            {"name": "acme/api: commits", "expected": 7, "actual": 6},
        ],
    }


def test_the_table_names_what_is_wrong():
    out = io.StringIO()
    Report(5, 1.0, [RIGHT, WRONG]).show(Console(file=out, width=120))
    assert "✓ 12" in out.getvalue()
    assert "✗ 6, should be 7" in out.getvalue()
    assert "do not agree" in out.getvalue()
