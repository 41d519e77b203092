"""The dashboards: as their readers need them, of metrics that there are, and each query asked of a real Prometheus."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from typing import Any

import prometheus_client
import pytest
import yaml

import gitpulse_service.metrics
from gitpulse_operator.reconcile import news, tally
from gitpulse_service.worker import team_series
from harness import chart
from harness.exports import KNOWN, METRIC, metrics, series
from harness.processes import free_port, wait_until
from harness.prometheus import prometheus_server

FILES = sorted((chart.CHART / "files/dashboards").glob("*.json"))
DASHBOARDS: dict[str, dict[str, Any]] = {it.stem: json.loads(it.read_text()) for it in FILES}
ALERTS = {
    name: alert
    for group in yaml.safe_load((chart.CHART / "files/alerts.yaml").read_text())["groups"]
    for name, alert in group["alerts"].items()
}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {"Bps", "bytes", "cps", "d", "ops", "percentunit", "reqps", "s", "short"}
NOT_SHOWN = {"gitpulse_check_error_ratio": "of one worker since it started; the rows that differed are shown"}
OF_ALERTS = {
    "Error budget burn": ("GitPulseCountedLateFastBurn", "GitPulseCountedLateSlowBurn"),
    "Oldest that waits": ("GitPulseBacklogOld",),
    "How full the backlog is": ("GitPulseBacklogNearLimit",),
    "Request budget left": ("GitPulseGitLabBudgetLow",),
    "First token expires": ("GitPulseTokenExpiring", "GitPulseTokenAlmostExpired"),
    "Days until each token expires": ("GitPulseTokenExpiring", "GitPulseTokenAlmostExpired"),
}
"""Panels with lines or colours where alerts fire."""

OF_TARGETS = {"cluster", "namespace", "job", "instance"}
"""Labels that Prometheus gives."""

Panel = dict[str, Any]


PANELS: dict[str, Panel] = {
    f"{name}: {panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] not in ("row", "text")
}
QUERIES = [(name, target["expr"]) for name, panel in PANELS.items() for target in panel["targets"]]


# --- what a reader needs ----------------------------------------------------------------------------------------------


def written(value: Any, indent: str = "", key: str = "") -> str:
    """JSON as the files have it: what fits on a line is on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or len(indent + key + line) < 120:
        return key + line
    inner = indent + "  "
    if isinstance(value, dict):
        inside = [written(it, inner, f"{json.dumps(name)}: ") for name, it in value.items()]
    else:
        inside = [written(it, inner) for it in value]
    opens, closes = "{}" if isinstance(value, dict) else "[]"
    return f"{key}{opens}\n" + ",\n".join(inner + it for it in inside) + f"\n{indent}{closes}"


@pytest.mark.parametrize("file", FILES, ids=lambda it: it.stem)
def test_a_file_is_laid_out_so_that_changes_can_be_read(file):
    assert file.read_text() == written(json.loads(file.read_text())) + "\n"


def test_there_are_those_that_are_wanted_each_with_a_name_of_its_own():
    assert DASHBOARDS.keys() == {"deliveries", "operator", "teams"}
    assert {name: it["uid"] for name, it in DASHBOARDS.items()} == {name: f"gitpulse-{name}" for name in DASHBOARDS}
    assert len({it["title"] for it in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_works_with_any_prometheus_and_leads_to_the_others(dashboard):
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["tags"] == ["gitpulse"]
    assert [(it["type"], it["tags"], it["includeVars"]) for it in dashboard["links"]] == [
        ("dashboards", ["gitpulse"], True)
    ]
    source, namespace, *others = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert namespace["query"]["query"] == "label_values(gitpulse_build_info, namespace)"
    for variable in (namespace, *others):
        assert variable["datasource"] == DATASOURCE
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        asked = variable["query"]["query"]
        label = re.fullmatch(r"label_values\(.*, (\w+)\)", asked)[1]
        for metric in METRIC.findall(asked):
            assert label in KNOWN[metric] | {"namespace"}
    named = set(re.findall(r"\$(\w+)", json.dumps([it.get("targets") for it in dashboard["panels"]])))
    assert named - {"__rate_interval", "__range"} == {it["name"] for it in (namespace, *others)}


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_panels_are_on_the_grid_and_none_on_another(dashboard):
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        cells.update(product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
    assert set(cells.values()) == {1}
    ids, titles = ([panel[key] for panel in dashboard["panels"]] for key in ("id", "title"))
    assert len(set(ids)) == len(set(titles)) == len(ids)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_what_is_what(panel):
    assert panel["title"]
    assert panel["datasource"] == DATASOURCE
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["description"].endswith(".")
    assert panel["description"].count(". ") <= 1, "a sentence or two"
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    if panel["type"] in ("timeseries", "bargauge", "heatmap"):
        assert all(target["legendFormat"] for target in panel["targets"])


def test_steps_of_thresholds_rise():
    for name, panel in PANELS.items():
        values = [it["value"] for it in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])]
        assert values[:1] in ([], [None]), name
        assert all(a < b for a, b in pairwise(values[1:])), name


@pytest.mark.parametrize("title", OF_ALERTS)
def test_a_panel_turns_to_another_colour_where_an_alert_fires(title):
    (panel,) = (it for it in PANELS.values() if it["title"] == title)
    steps = {it["value"] for it in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]}
    assert steps >= {ALERTS[alert]["threshold"] for alert in OF_ALERTS[title]}


def test_the_teams_dashboard_says_why_it_may_be_empty():
    (text,) = (it for it in DASHBOARDS["teams"]["panels"] if it["type"] == "text")
    assert "`GITPULSE_TEAM_SERIES`" in text["options"]["content"]
    assert "`docs/metrics.md`" in text["options"]["content"]


# --- what they go by --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expr", [expr for _, expr in QUERIES], ids=[name for name, _ in QUERIES])
def test_every_metric_and_label_of_a_query_is_one_that_the_code_has(expr):
    found = re.findall(rf"({METRIC.pattern})\{{([^}}]*)\}}", expr)
    assert len(found) == len(METRIC.findall(expr)) > 0
    for metric, matchers in found:
        assert metric in KNOWN
        assert set(re.findall(r'(\w+)(?:=|!=|=~|!~)"', matchers)) <= KNOWN[metric] | {"namespace"}
        assert 'namespace=~"$namespace"' in matchers
    labels = set().union(*(KNOWN[metric] for metric, _ in found))
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
        assert set(grouped.split(", ")) <= labels | OF_TARGETS
    assert "rate(" not in expr or re.search(r"rate\([^[]*\[(\$__rate_interval|1h|6h)\]", expr)


def test_every_metric_of_the_code_is_shown():
    shown = {metric for _, expr in QUERIES for metric in METRIC.findall(expr)}
    missing = {metric._name for metric in metrics() if not shown & series(metric).keys()}
    assert missing == NOT_SHOWN.keys()


def test_what_every_process_says_alike_is_not_added_up():
    """By what a metric's help says, and so does that of `gitpulse_backlog_deliveries` for all of the backlog."""
    alike = [it for it in metrics() if "the max" in it._documentation or it._name.startswith("gitpulse_backlog")]
    alike += [gitpulse_service.metrics.DEAD_LETTERS, gitpulse_service.metrics.TEAM_SERIES_LEFT_OUT]
    for name, expr in QUERIES:
        for metric in alike:
            for found in re.finditer(rf"\b{metric._name}\{{", expr):
                assert re.search(r"max (by \([^)]*\) )?\($", expr[: found.start()]), name


# --- what Helm makes of them ------------------------------------------------------------------------------------------


def test_nothing_of_it_is_there_unasked():
    assert not [it for it in chart.render() if "-dashboard-" in it["metadata"]["name"]]


def test_each_comes_as_it_is_in_a_config_map_that_grafana_finds():
    values = {"enabled": True, "labels": {"team": "git"}, "annotations": {"grafana_folder": "GitPulse"}}
    made = chart.render({"dashboards": values})
    assert sum("-dashboard-" in it["metadata"]["name"] for it in made) == len(FILES)
    for file in FILES:
        found = chart.only(made, "ConfigMap", f"gitpulse-dashboard-{file.stem}")
        assert found["data"] == {f"gitpulse-{file.name}": file.read_bytes().decode()}
        assert found["metadata"]["namespace"] == "gitpulse-system"
        assert found["metadata"]["annotations"] == {"grafana_folder": "GitPulse"}
        labels = {"grafana_dashboard": "1", "team": "git", "app.kubernetes.io/component": "dashboards"}
        assert labels.items() <= found["metadata"]["labels"].items()


@pytest.mark.parametrize("values", [{"enable": True}, {"enabled": "yes"}, {"labels": {"grafana_dashboard": 1}}])
def test_a_mistake_is_refused(values):
    with pytest.raises(chart.Refused, match="dashboards"):
        chart.render({"dashboards": values})


# --- what Prometheus answers ------------------------------------------------------------------------------------------

VALUES = {
    "component": ("receiver", "worker", "operator"),
    "kind": ("push", "merge_request"),
    "metric": (*team_series.COUNTED, *team_series.MEASURED),
    "outcome": ("counted", "different", "failed"),
    "state": sorted({*news.SHOWN, *tally.STATES}),
    "status": ("accepted", "error", "200"),
}
"""What labels say in the exposition; of others it does not matter."""


class Stirred:
    """All metrics of the code in a registry of their own, with something in each, and more at each look."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.registry.register(self)  # the first, so that a look finds all stirred alike
        self._children: list[Any] = []
        for metric in metrics():
            more = {"buckets": metric._upper_bounds} if isinstance(metric, prometheus_client.Histogram) else {}
            copied = type(metric)(metric._name, "", metric._labelnames, registry=self.registry, **more)
            values = product(*(VALUES.get(label, ("one", "two")) for label in metric._labelnames))
            self._children += [copied.labels(*each) for each in values] if metric._labelnames else [copied]

    def collect(self) -> list[prometheus_client.Metric]:
        for child in self._children:
            if isinstance(child, prometheus_client.Histogram):
                child.observe(0.2)
            else:
                child.inc()
        return []


@contextmanager
def exposed() -> Iterator[int]:
    """The port on which the metrics of the code can be read."""
    server, thread = prometheus_client.start_http_server(port := free_port(), "127.0.0.1", Stirred().registry)
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def ask(tmp_path_factory) -> Iterator[Callable[[str], dict[str, Any]]]:
    """What a Prometheus answers that has looked a few times at two installations, one of which has no `namespace`."""
    with exposed() as port:
        target = {"targets": [f"127.0.0.1:{port}"]}
        targets = [target, {**target, "labels": {"namespace": "other"}}]
        with prometheus_server(tmp_path_factory.mktemp("prometheus"), targets, every="200ms") as prometheus:
            enough = "rate(gitpulse_batch_events_count[1m]) > 0"
            wait_until(lambda: len(prometheus.ask(enough)["data"]["result"]) == 2, what="two looks at each")
            yield prometheus.ask


def filled(expr: str) -> str:
    """As Grafana would ask, with everything chosen."""
    for name, value in {"__rate_interval": "1m", "__range": "1m"}.items():
        expr = expr.replace(f"${name}", value)
    return re.sub(r"\$\w+", ".*", expr)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_prometheus_has_an_answer_and_each_curve_a_name_of_its_own(ask, panel):
    legends = []
    for target in panel["targets"]:
        answer = ask(filled(target["expr"]))
        assert answer["status"] == "success", answer
        result = answer["data"]["result"]
        assert result, f"no data: {target['expr']}"
        assert "NaN" not in [each["value"][1] for each in result]
        for each in result:
            assert not each["metric"].keys() & {"__name__", *OF_TARGETS}, "what is shown is of all processes"
            legends.append(
                target.get("legendFormat", "").replace("{{", "{").replace("}}", "}").format(**each["metric"])
            )
    if panel["type"] != "table":
        assert len(set(legends)) == len(legends)
