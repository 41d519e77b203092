"""Faults: section 9 line 7."""

from __future__ import annotations

import time

import gitlab
import pytest

from gitpulse_sim.faults import Fault


def test_throttled_with_retry_after(api, simulator):
    """9.7: 429 in plain text, with the headers of section 5."""
    simulator.world.faults.append(Fault(status=429, retry_after=7))
    reply = api("GET", "/version")
    assert (reply.status_code, reply.text.strip(), reply.headers["retry-after"]) == (429, "Retry later", "7")
    assert {"ratelimit-limit", "ratelimit-reset", "ratelimit-resettime"} <= set(map(str.lower, reply.headers))
    assert api("GET", "/version").status_code == 200


def test_throttled_without_retry_after(api, simulator):
    """9.7: 429 without any hint."""
    simulator.world.faults.append(Fault(status=429))
    assert "retry-after" not in api("GET", "/version").headers


@pytest.mark.parametrize("status", [500, 502, 503, 401, 404])
def test_broken_for_a_path_and_a_count(api, simulator, hook, status):
    """9.7: 5xx, 401 and 404 for a path pattern and a count."""
    simulator.world.faults.append(Fault(status=status, path="*/hooks*", method="GET", count=2))
    assert api("GET", "/version").status_code == 200
    assert [api("GET", "/projects/1/hooks").status_code for _ in range(3)] == [status, status, 200]


def test_now_and_then(api, simulator):
    """9.7: a 502 among good answers, for ever."""
    simulator.world.faults.append(Fault(status=502, every=3, count=-1))
    assert [api("GET", "/version").status_code for _ in range(6)] == [200, 200, 502] * 2


def test_slow(gl, simulator):
    simulator.world.faults.append(Fault(delay=0.2))
    start = time.monotonic()
    assert gl.projects.get(1).path_with_namespace == "acme/website"
    assert time.monotonic() - start >= 0.2


def test_python_gitlab_understands_them(gl, simulator, website):
    simulator.world.faults.append(Fault(status=401, count=-1))
    with pytest.raises(gitlab.GitlabAuthenticationError):
        website.hooks.list()
    simulator.world.faults[:] = [Fault(status=502)]
    with pytest.raises(gitlab.GitlabError) as broken:
        website.hooks.list()
    assert broken.value.response_code == 502
