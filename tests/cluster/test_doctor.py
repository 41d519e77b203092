"""`gitpulse doctor` against a cluster, with the rights and settings of the operator, as `kubectl exec` would run it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gitpulse_cli.main import app
from harness.processes import SCRIPTS, answers, free_port, running

pytestmark = pytest.mark.cluster


def test_it_finds_what_is_wrong_in_a_cluster_and_nothing_else(place, operator, tmp_path):
    port = free_port()
    environment = operator.of(place.namespace) | {"GITPULSE_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    receiver = [SCRIPTS / "gitpulse", "receiver", "--port", str(port), "--metrics-port", "0"]

    def examine(*where):
        done = CliRunner().invoke(app, ["doctor", "website", "-o", "json", *where], env=environment)
        return {row["cause"] for row in json.loads(done.stdout)} - {""}, done

    with (
        operator.one_of_many(place.namespace, GITPULSE_PUBLIC_URL=environment["GITPULSE_PUBLIC_URL"]),
        running(receiver, log=tmp_path / "receiver.log", ready=lambda: answers(port), env=operator.shared),
    ):
        place.apply_examples()
        place.wait("gitpulseproject/website")
        place.simulator.push()
        place.wait("gitpulseproject/website", "Delivering")
        found, done = examine()
        assert found == {"RedisForgets", "WorkerDown"}, done.stdout  # there is none, and Redis keeps nothing
        assert "a test delivery of GitLab was taken" in done.stdout
        place.simulator.website.hooks.clear()
        assert examine("-n", "default")[0] == {"RedisForgets", "WorkerDown", "NoResources"}
        found, done = examine("-n", place.namespace, "--context", "tests")
        assert found == {"RedisForgets", "WorkerDown", "HookMissing"}, done.stdout
        assert f"{place.namespace}/website" in done.stdout
