"""A few random histories with all their accidents: every metric agrees with git and GitLab's records.

`make soak SUITE=numbers N=…` plays as many as you like.
"""

from __future__ import annotations

import asyncio

import pytest

from harness.oracle import disagreements


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(6))
def test_on_sqlite(tmp_path, redis_url, seed):
    assert asyncio.run(disagreements(seed, f"sqlite:///{tmp_path}/store.db", redis_url)) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(6, 9))
def test_on_postgresql(postgres_url, redis_url, seed):
    assert asyncio.run(disagreements(seed, postgres_url, redis_url)) == []
