"""The demo as its user runs it, in a process of its own."""

import json
import signal
import subprocess
import sys

import pytest

GITPULSE = [sys.executable, "-m", "gitpulse_cli"]


def test_the_demo_agrees_with_git_log_and_says_so(tmp_path):
    done = subprocess.run(
        [*GITPULSE, "demo", "--once", "-o", "json", "--days", "7"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # nothing else is on standard output
    assert result["ok"] is True
    assert result["events"] > 100  # whatever day of the week it is: work rests at weekends
    assert {c["name"] for c in result["checks"]} >= {
        "deliveries: counted once",
        "acme/website: commits",
        "acme/api: pushes",
    }
    assert [c for c in result["checks"] if c["expected"] != c["actual"]] == []
    assert "every number agrees" in done.stderr


def test_a_resource_that_cannot_be_provisioned_ends_the_demo_with_the_reason(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/project.yaml").write_text(
        "apiVersion: gitpulse.io/v1alpha1\nkind: GitPulseProject\nmetadata: {name: lost}\n"
        "spec: {connectionRef: {name: nowhere}, project: acme/website}\n"
    )
    done = subprocess.run(
        [*GITPULSE, "demo", "--once", "--examples", tmp_path / "broken"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("gitpulse: ")
    assert "nowhere" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_may_be_ended_before_its_numbers_are_known(tmp_path, number):
    with subprocess.Popen([*GITPULSE, "demo", "--days", "90"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as demo:
        assert "GitPulse demo" in demo.stderr.readline()
        demo.send_signal(number)
        said = demo.communicate(timeout=60)[1]
    assert (demo.returncode, "Traceback" in said) == (130, False), said
