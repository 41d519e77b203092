"""A hook's test, log and resend."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from starlette.responses import Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, created, not_found
from gitpulse_sim.api.door import paged, route
from gitpulse_sim.api.hooks import hook_of, hook_parent
from gitpulse_sim.api.samples import sample_event
from gitpulse_sim.deliver import Event

LOG_PAGE = 20
RESEND_SINCE = (17, 4)
SHOWN = "id url trigger request_headers request_data response_headers response_body execution_duration response_status"


async def test(call: Call) -> Response:
    """Sent whatever the hook's state; answered 2xx, it makes a hook that was switched off executable again."""
    _limit(call, "test")
    hook, trigger = hook_of(call), call.path("trigger")
    event = await asyncio.to_thread(sample_event, call.forge, hook_parent(call), trigger, call.user)
    _refuse_in_silence(call)
    row = await call.forge.engine.send(hook, event)
    if row.status is None or not 200 <= row.status < 300:
        raise Refused(422, {"message": row.error or row.response_body})
    return created({"message": "201 Created"})


def events(call: Call) -> Response:
    wanted = {word.strip() for word in call.text("status").split(",")} - {""}
    rows = hook_of(call).log.newest_first(call.world.clock.now())
    found = [call.frame.fields(row, SHOWN) for row in rows if not wanted or row.matches(wanted)]
    return paged(call, found, largest=LOG_PAGE)


async def resend(call: Call) -> Response:
    """Sends the logged data again: same id, new time, present secrets, and e-mail addresses blacked out."""
    if not call.world.instance.at_least(*RESEND_SINCE):
        raise not_found()
    _limit(call, "resend")
    hook, now = hook_of(call), call.world.clock.now()
    row = hook.log.find(call.number("event_id"), now)
    if row is None:
        raise not_found()
    if row.target != hook.target:
        raise Refused(422, {"message": "The hook URL has changed since this event was logged"})
    if hook.alert_status(call.world.instance, now) != "executable":
        raise Refused(422, {"message": "Hook disabled"})
    _refuse_in_silence(call)
    event = Event(toggle=row.toggle, data=cast("Mapping[str, object]", row.request_data))
    again = await call.forge.engine.send(hook, event, key=row.idempotency_key)
    if again.status is None:
        raise Refused(422, {"message": again.error})
    return created({"response_status": again.status})


def _limit(call: Call, what: str) -> None:
    """Five a minute of one parent by one user; not announced in any RateLimit header."""
    instance, parent = call.world.instance, hook_parent(call)
    now = call.world.clock.now().timestamp()
    counted = call.world.manual_calls.setdefault((what, parent.kind, parent.id, call.user.id), [])
    counted[:] = [moment for moment in counted if abs(now - moment) < 60]
    if len(counted) >= instance.manual_calls_per_minute:
        wait = instance.manual_limit_retry_after
        raise Refused(
            429,
            {"message": {"error": "This endpoint has been requested too many times. Try again later."}},
            {"Retry-After": str(wait)} if wait is not None else None,
        )
    counted.append(now)


def _refuse_in_silence(call: Call) -> None:
    if call.world.instance.silent_mode:
        raise Refused(422, {"message": "Silent mode enabled"})


def routes(base: str) -> list[Route]:
    """`base` is `/projects/{id}` or `/groups/{id}`."""
    one = f"{base}/hooks/{{hook_id}}"
    return [
        route("POST", f"{one}/test/{{trigger}}", test),
        route("GET", f"{one}/events", events),
        route("POST", f"{one}/events/{{event_id}}/resend", resend),
    ]
