"""The demo's verdict: true only if there was something to agree on, and all of it did."""

import json

import pytest

from gitpulse_cli.output import Format
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
def test_it_is_ok_only_if_all_agrees_and_something_happened(report, ok, capsys):
    report.show(Format.JSON)
    assert report.ok is ok
    assert json.loads(capsys.readouterr().out)["ok"] is ok


def test_the_json_has_each_figure(capsys):
    Report(5, 1.25, [RIGHT, WRONG]).show(Format.JSON)
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "events": 5,
        "seconds": 1.25,
        "checks": [
            {"name": "acme/website: commits", "expected": 12, "actual": 12},
            {"name": "acme/api: commits", "expected": 7, "actual": 6},
        ],
    }


def test_the_table_names_what_is_wrong(capsys):
    Report(5, 1.0, [RIGHT, WRONG]).show(Format.TABLE)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["figure", "acme/website", "acme/api"]
    assert "✓ 12" in out
    assert "✗ 6, should be 7" in out
    assert "do not agree" in err
