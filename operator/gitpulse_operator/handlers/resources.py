"""What is watched, and what a watch event leads to."""

from __future__ import annotations

import kopf

from gitpulse_operator.control import CLEANUP_RETRY
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.handlers.lifecycle import Operator
from gitpulse_operator.names import GROUP, OWNER, PLURALS, PROJECT, VERSION

CLEANUP_SLACK = 300.0
"""Seconds after the deletion deadline when kopf lets a resource go even if our own code could not."""


def register(registry: kopf.OperatorRegistry, operator: Operator) -> None:
    """Connections, projects, teams, and Secrets that carry our label."""

    for plural in PLURALS.values():

        @kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"seen-{plural}")
        async def seen(event: kopf.RawEvent, **_: object) -> None:
            if event["type"] == "DELETED":
                operator.control.gone(event["object"])
                await operator.control.revoke(event["object"])
            else:
                operator.control.seen(event["object"])
                await operator.control.admit(event["object"])

    @kopf.on.event("v1", "secrets", registry=registry, id="secret-changed")
    async def secret_changed(
        event: kopf.RawEvent, namespace: str | None, name: str, labels: kopf.Labels, memo: kopf.Memo, **_: object
    ) -> None:
        # What is listed is no news, unless it has changed since it was last seen: behind the back of a broken watch.
        version = event["object"]["metadata"].get("resourceVersion")
        known, memo.version = memo.get("version", version), version
        listed, made_by_us = event["type"] is None, event["type"] == "ADDED" and OWNER in labels
        if not made_by_us and (not listed or known != version):
            operator.control.secret_changed(str(namespace), name)

    @kopf.on.delete(
        GROUP,
        VERSION,
        PLURALS[PROJECT],
        registry=registry,
        id="clean-up",
        backoff=CLEANUP_RETRY,
        timeout=operator.settings.deletion_deadline + CLEANUP_SLACK,
    )
    async def clean_up(body: kopf.Body, retry: int, **_: object) -> None:
        try:
            await operator.control.clean_up(body)
        except OperatorError as error:
            if not retry:
                await operator.control.delayed(body, error)
            raise kopf.TemporaryError(str(error), delay=error.retry_after or CLEANUP_RETRY) from None
