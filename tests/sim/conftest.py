"""What the simulator's tests share: the real python-gitlab as client, and a real server that hooks point at."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gitlab
import pytest
import requests
from gitlab.v4.objects import Group, GroupHook, Project, ProjectHook

from gitpulse_sim.people import Role
from harness.simulator import Simulator
from harness.target import Target, running_target


@pytest.fixture
def gl(simulator: Simulator) -> Iterator[gitlab.Gitlab]:
    """alice, owner of everything."""
    with gitlab.Gitlab(simulator.url, private_token=simulator.token, timeout=20) as client:
        yield client


@pytest.fixture
def website(gl: gitlab.Gitlab) -> Project:
    return gl.projects.get("acme/website", lazy=True)


@pytest.fixture
def acme(gl: gitlab.Gitlab) -> Group:
    return gl.groups.get("acme", lazy=True)


@pytest.fixture(scope="session")
def target_server() -> Iterator[Target]:
    with running_target() as target:
        yield target


@pytest.fixture
def target(target_server: Target) -> Target:
    """The session's target, answering 200 at once."""
    target_server.requests = []
    target_server.status, target_server.answer, target_server.delay = 200, b"ok", 0.0
    target_server.answer_headers = {}
    return target_server


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """One that is taken, so that nobody else can listen there: whoever connects is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def hook(website: Project, target: Target) -> ProjectHook:
    """A push hook of acme/website with a plain token."""
    return website.hooks.create({"url": target.url, "token": "secret"})


@pytest.fixture
def group_hook(acme: Group, target: Target) -> GroupHook:
    return acme.hooks.create({"url": target.url + "/group"})


Api = Callable[..., requests.Response]


@pytest.fixture
def api(simulator: Simulator) -> Api:
    """The API without a library: `api("PUT", "/projects/1/hooks/1", token="…", json={…})`."""

    def call(
        method: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> requests.Response:
        headers = {"PRIVATE-TOKEN": simulator.token if token is None else token, **(headers or {})}
        return requests.request(method, f"{simulator.url}/api/v4{path}", headers=headers, timeout=20, **more)

    return call


@pytest.fixture
def token_of(simulator: Simulator) -> Callable[..., str]:
    """Makes a token for a user, with a role in `acme` if one is given."""

    def make(username: str, role: Role | None = None, **more: Any) -> str:
        user = simulator.world.user(username)
        if role is not None:
            simulator.world.groups[1].members[user.id] = role
        text = f"token-{username}-{len(simulator.world.tokens)}"
        simulator.world.add_token(user, text, **more)
        return text

    return make
