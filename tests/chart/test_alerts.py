"""The alerts as Helm renders them and Prometheus reads them: each fires, each is quiet, each has a page."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gitpulse_service.metrics
from gitpulse_operator.reconcile import news, tally
from gitpulse_service.errors import StoreUnavailable
from gitpulse_service.receiver import answers
from harness import chart
from harness.exports import KNOWN, METRIC
from harness.front import program

CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
RUNBOOKS = chart.ROOT / "docs/runbooks"
GROUPS = yaml.safe_load((chart.CHART / "files/alerts.yaml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {name: alert for group in GROUPS for name, alert in group["alerts"].items()}
VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())["alerts"]


def by_name(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


@pytest.fixture(scope="module")
def rules() -> dict[str, Any]:
    """As they are if nobody sets anything."""
    return chart.alert_rules()


def promtool(*command: str | Path) -> None:
    done = subprocess.run([program("promtool"), *command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what is rendered -------------------------------------------------------------------------------------------------


def test_prometheus_takes_them(tmp_path, rules):
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    promtool("check", "rules", "--lint=all", "--lint-fatal", file)
    file.write_text(yaml.safe_dump(chart.alert_rules(selector='namespace="gitpulse-system",cluster=~"a|b"')))
    promtool("check", "rules", "--lint=all", "--lint-fatal", file)


def test_each_says_what_is_wrong_how_bad_and_where_to_read_on(rules):
    assert by_name(rules).keys() == ALERTS.keys()
    for name, rule in by_name(rules).items():
        assert rule["labels"] == {"severity": ALERTS[name]["severity"]}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"] == {
            "summary": ALERTS[name]["summary"],
            "description": ALERTS[name]["description"],
            "runbook_url": f"{VALUES['runbookUrl']}/{name}.md",
        }


def test_the_object_for_the_prometheus_operator_has_the_same(rules):
    made = chart.render({"alerts": {"prometheusRule": {"enabled": True, "labels": {"release": "monitoring"}}}})
    found = chart.only(made, "PrometheusRule")
    assert found["spec"] == rules
    assert found["metadata"]["labels"]["release"] == "monitoring"
    assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "alerts"


def test_nothing_of_it_is_there_unasked():
    assert not [it for it in chart.render() if it["metadata"]["name"].endswith("-alerts")]


def test_an_alert_can_be_set_in_every_way(rules):
    set_to = {"threshold": 0, "for": "1h", "severity": "page", "labels": {"team": "git"}}
    some = {"GitPulseBacklogOld": set_to, "GitPulseWorkerDown": {"enabled": False}, "WebhookHighErrorRate": {}}
    after = by_name(chart.alert_rules(rules=some, labels={"team": "all", "tier": "2"}, runbookUrl=""))
    assert after.keys() == by_name(rules).keys() - {"GitPulseWorkerDown"}
    changed = after["GitPulseBacklogOld"]
    assert changed["expr"].endswith("> 0")
    assert changed["for"] == "1h"
    assert changed["labels"] == {"severity": "page", "team": "git", "tier": "2"}
    other = after["WebhookHighErrorRate"]
    assert other["labels"] == {"severity": "warning", "team": "all", "tier": "2"}
    assert other["expr"] == by_name(rules)["WebhookHighErrorRate"]["expr"]
    assert other["annotations"].keys() == {"summary", "description"}


def test_all_of_a_group_can_be_off(rules):
    off = {name: {"enabled": False} for name in GROUPS[0]["alerts"]}
    assert [group["name"] for group in chart.alert_rules(rules=off)["groups"]] == [
        group["name"] for group in GROUPS[1:]
    ]


def test_a_selector_is_in_every_place(rules):
    chosen = by_name(chart.alert_rules(selector='namespace="mine"'))
    for name, rule in by_name(rules).items():
        places = len(METRIC.findall(rule["expr"]))
        assert chosen[name]["expr"].count('namespace="mine"') == places > 0
        assert "{ " not in chosen[name]["expr"] + rule["expr"]
        assert ", }" not in rule["expr"]


def test_an_alert_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(chart.Refused) as refused:
        chart.render({"alerts": {"rules": {"GitPulseBacklogBig": {"enabled": False}}}})
    assert "GitPulseBacklogBig" in str(refused.value)
    for name in ALERTS:
        assert name in str(refused.value)


def test_the_schema_knows_them_all():
    rules = json.loads((chart.CHART / "values.schema.json").read_text())["properties"]["alerts"]["properties"]["rules"]
    assert sorted(rules.get("properties") or rules["propertyNames"]["enum"]) == sorted(ALERTS)


# --- when they fire ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_they_fire_and_are_quiet(tmp_path, rules, cases):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "cases.yaml").write_text(f"rule_files: [rules.yaml]\n{cases.read_text()}")
    promtool("test", "rules", tmp_path / "cases.yaml")


def moments() -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """Alert, whether it fires, and the case."""
    for cases in CASES:
        for case in yaml.safe_load(cases.read_text())["tests"]:
            for moment in case["alert_rule_test"]:
                yield moment["alertname"], bool(moment.get("exp_alerts")), case


@pytest.mark.parametrize("name", ALERTS)
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "is_quiet"])
def test_each_has_a_case_in_which_it(name, fires):
    found = [case for alert, fired, case in moments() if (alert, fired) == (name, fires)]
    assert found, f"tests/chart/alerts has no case in which {name} {'fires' if fires else 'is quiet'}"
    metrics = set(METRIC.findall(ALERTS[name]["expr"]))
    for case in found:  # that nothing is known is no reason to be quiet, but for what it is about
        there = {series["series"].partition("{")[0] for series in case["input_series"]}
        assert there & metrics or "absent(" in ALERTS[name]["expr"]


def test_no_case_is_of_an_alert_that_there_is_not():
    assert {alert for alert, _, _ in moments()} == ALERTS.keys()


# --- what they go by --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALERTS)
def test_every_metric_and_label_is_one_that_the_code_has(name):
    expr = ALERTS[name]["expr"].replace("{{ .selector }}", "").replace("{{ .threshold }}", "1")
    for metric, matchers in re.findall(r"\b((?:gitpulse|gitlab_webhook)_\w+)(?:\{([^}]*)\})", expr):
        assert metric in KNOWN
        assert set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", matchers)) <= KNOWN[metric]
    assert len(METRIC.findall(expr)) == len(re.findall(METRIC.pattern + r"\{", expr)), "each takes the selector"


def test_every_series_of_a_case_is_one_that_the_code_has():
    for _, _, case in moments():
        for series in case["input_series"]:
            metric, labels = series["series"].split("{")
            assert set(re.findall(r"(\w+)=", labels)) - {"namespace", "job", "instance"} == KNOWN[metric], metric


def values_of(label: str) -> set[str]:
    """What the alerts want this label to be."""
    wanted = [re.findall(rf'\b{label}=~?"([^"]*)"', alert["expr"]) for alert in ALERTS.values()]
    return {each for found in wanted for text in found for each in text.split("|")}


def test_every_value_of_a_label_is_one_that_the_code_sets():
    of_webhooks = {s.labels["reason"] for m in gitpulse_service.metrics.WEBHOOK_REQUESTS.collect() for s in m.samples}
    assert values_of("reason") <= {*of_webhooks, StoreUnavailable.reason}
    assert {answers.FAILED.reason, answers.NO_ROOM.reason, *answers.UNAVAILABLE} <= values_of("reason"), "all our 5xx"
    assert values_of("state") <= {*news.SHOWN, *tally.STATES}
    assert values_of("component") == {"receiver", "worker", "operator"}
    assert values_of("le") == {"10", "10.0"}
    assert 10 in gitpulse_service.metrics.COUNTED_AFTER._upper_bounds


# --- what they lead to ------------------------------------------------------------------------------------------------


def table() -> str:
    """Of docs/runbooks/README.md."""
    lines = ["| alert | severity | after | threshold | |", "|---|---|---|---|---|"]
    for name, alert in ALERTS.items():
        severity, after, threshold = alert["severity"], alert["for"], alert.get("threshold", "")
        lines.append(f"| [{name}]({name}.md) | {severity} | {after} | {threshold} | {alert['summary']} |")
    return "\n".join(lines)


def test_each_has_a_page_and_each_page_an_alert():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == ALERTS.keys()


def test_the_table_of_pages_is_what_the_alerts_say():
    assert table() in (RUNBOOKS / "README.md").read_text(), f"put this in its place:\n\n{table()}"


def test_each_is_fired_by_a_real_fault_and_the_table_says_by_which():
    """That it is, the tests themselves say; here: that none was forgotten."""
    sources = "".join(file.read_text() for file in (chart.ROOT / "tests/cluster").glob("test_alerts*.py"))
    fired = re.findall(r'"((?:GitPulse|Webhook)\w+)"', sources)
    _, _, told = (RUNBOOKS / "README.md").read_text().partition("## Fired by real faults")
    assert set(fired) == set(re.findall(r"^\| (\w+) \|", told, re.MULTILINE)) - {"alert"} == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_what_it_means_how_to_see_it_what_to_do_and_when_it_clears(name):
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["See it", "What to do", "When it clears"]
    assert text.count("\n") <= 40
    assert set(METRIC.findall(text)) <= KNOWN.keys()


def test_every_query_of_a_page_is_one_for_prometheus(tmp_path):
    blocks = [
        block
        for page in RUNBOOKS.glob("*.md")
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    queries = [line for block in blocks for line in block.splitlines()]
    assert queries
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yaml")
