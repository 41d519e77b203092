"""The operator is away for a while: what happened meanwhile is done when it is back."""

from __future__ import annotations

import pytest
import redis as redis_client

from gitpulse_service import contract
from harness.processes import wait_until

pytestmark = pytest.mark.cluster


def test_what_happened_meanwhile_is_done_afterwards(place, operator):
    with operator.running():
        place.apply_examples()
        place.wait("gitpulseproject/website")
        place.wait("gitpulseproject/api")
    (website,), (api,) = place.hooks("website"), place.hooks("api", "acme/api")
    token = website.signing_token

    place.patch("gitpulseproject/website", {"spec": {"events": ["TagPush"]}})
    place.kubectl("delete", "gitpulseproject", "api", "--wait=false")
    with redis_client.Redis.from_url(operator.redis_url) as directory:
        directory.flushall()  # as if Redis had lost everything

    with operator.running():
        wait_until(lambda: website.events == {"tag_push_events"}, what="the edit to arrive")
        wait_until(lambda: not place.hooks("api", "acme/api"), what="the deleted one's hook to go")
        place.kubectl("wait", "--for=delete", "gitpulseproject/api", "--timeout=20s")
        with redis_client.Redis.from_url(operator.redis_url) as directory:
            wait_until(lambda: directory.exists(contract.DIRECTORY_SHARDS), what="a complete directory")
            hooks = [key.decode() for key in directory.hkeys(contract.DIRECTORY)]
        assert website.url.rpartition("/")[2] in hooks
        assert api.url.rpartition("/")[2] not in hooks
    assert place.hooks("website") == [website]
    assert website.signing_token == token, "a restart rotates nothing"
