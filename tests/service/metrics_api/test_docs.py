"""docs/api.md shows what is answered: its examples are asked again."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from gitpulse_service.store.facts import METRICS
from gitpulse_service.worker.team_series import COUNTED, MEASURED

PAGE = (Path(__file__).parents[3] / "docs/api.md").read_text()
EXAMPLES = [
    example
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for example in re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
async def test_an_example_is_answered_as_it_is_shown(client, command, shown):
    curl, *options, url = shlex.split(command)
    headers = dict(it.split(": ") for name, it in pairwise(options) if name == "-H")
    answer = await client.get(url.removeprefix("$GITPULSE/"), headers=headers)
    assert curl == "curl"
    if "json" in answer.headers["content-type"]:
        assert answer.json() == json.loads(shown)
    else:
        assert answer.text.splitlines() == shown.splitlines()


def test_there_are_examples():
    assert len(EXAMPLES) >= 8


def test_every_metric_that_is_named_is_there():
    (table,) = re.findall(r"^\| for \| ask \|\n(.*?)\n\n", PAGE, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`(?:metrics/)?([a-z]+(?:_[a-z]+)+|commits|files|pushes|reviews|pipelines|jobs)\b", table))
    assert named - {"group_by"} <= METRICS.keys() | {"people/unmatched"}
    assert {"commits", "reviews", "time_to_green", "job_success_rate"} <= named


def test_the_series_of_teams_are_named():
    (section,) = re.findall(r"^## Teams in Prometheus\n(.*)", PAGE, re.DOTALL | re.MULTILINE)
    assert all(f"`{metric}`" in section for metric in (*COUNTED, *MEASURED))
