"""A dashboard of a company with the teams of `visitors.TEAMS`; `fatima` sees all."""

from __future__ import annotations

import contextlib

import pytest

from gitpulse_service.store import people
from harness.visitors import TEAMS, URL, Place


@pytest.fixture
async def place(engine, simulator):
    await people.replace(engine, "file", TEAMS)
    application = simulator.world.add_application("GitPulse", [f"{URL}/signin/callback"])
    settings = {
        "oidc_issuer": simulator.url,
        "oidc_client_id": application.uid,
        "oidc_client_secret": application.secret,
        "dashboard_url": URL,
        "dashboard_admins": "fatima, group:acme/leads",
    }
    async with contextlib.AsyncExitStack() as stack:
        yield Place(engine, settings, stack)


@pytest.fixture
async def browser(place):
    return await place.browser()
