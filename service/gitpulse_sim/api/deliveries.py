"""A hook's test, log and resend. A test carries recent real data of the project, with ISO timestamps."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from starlette.responses import Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, created, not_found
from gitpulse_sim.api.door import paged, route
from gitpulse_sim.api.hooks import hook_of, hook_parent
from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.deliver import Event
from gitpulse_sim.forge import Forge
from gitpulse_sim.frame import Data, InProject
from gitpulse_sim.hook import TOGGLES
from gitpulse_sim.payloads.ci import job, pipeline, release
from gitpulse_sim.payloads.push import RefChange, push, sample
from gitpulse_sim.payloads.work import issue, merge_request, note
from gitpulse_sim.people import User
from gitpulse_sim.world import Group, Parent, Project

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
    found = [row for row in rows if not wanted or row.matches(wanted)]
    return paged(call, found, lambda row: call.frame.fields(row, SHOWN), largest=LOG_PAGE)


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


TESTABLE = {
    "push_events", "tag_push_events", "issues_events", "confidential_issues_events", "note_events",
    "merge_requests_events", "job_events", "pipeline_events", "wiki_page_events", "releases_events", "emoji_events",
    "resource_access_token_events", "milestone_events", "resource_deploy_token_events",
}  # fmt: skip
"""The toggles that are triggers too, since their own version. [unverified] for the last two."""

SAMPLE_COMMITS = 3


def sample_event(forge: Forge, parent: Parent, trigger: str, user: User) -> Event:
    """Raises Refused: 400 for a trigger that is none, 422 when the project has nothing to show."""
    if trigger not in TESTABLE or not forge.world.instance.at_least(*TOGGLES[trigger].since):
        raise Refused(400, {"error": "trigger does not have a valid value"})
    project = _first_child(forge, parent) if isinstance(parent, Group) else parent
    return Event(toggle=trigger, data=_data(forge.frame(project, iso_milliseconds), trigger, user))


def _data(frame: InProject, trigger: str, user: User) -> Data:
    project = frame.project
    match trigger:
        case "push_events" | "tag_push_events":
            return _newest_commits(frame, user)
        case "note_events" if written := [one for one in project.notes if not one.system]:
            return note(frame, written[-1])
        case "issues_events" | "confidential_issues_events" if project.issues:
            return issue(frame, user, project.issues[-1], "open")
        case "merge_requests_events" if project.merge_requests:
            return merge_request(frame, user, project.merge_requests[-1], "open")
        case "pipeline_events" if project.pipelines:
            return pipeline(frame, project.pipelines[-1])
        case "releases_events" if project.releases:
            return release(frame, project.releases[-1], "create")
        case "job_events" if project.pipelines:
            return job(frame, project.pipelines[-1], project.pipelines[-1].jobs[-1])
    missing = _MISSING.get(trigger)
    raise Refused(422, {"message": f"Ensure the {missing}." if missing else "Testing not available for this hook"})


_MISSING = {
    "note_events": "project has notes",
    "issues_events": "project has issues",
    "confidential_issues_events": "project has issues",
    "merge_requests_events": "project has merge requests",
    "pipeline_events": "project has CI pipelines",
    "job_events": "project has CI jobs",
    "releases_events": "project has releases",
    "wiki_page_events": "wiki is enabled and has pages",
}


def _newest_commits(frame: InProject, user: User) -> Data:
    """The newest three, newest first; `before` is the oldest of them, and so no real push at all.

    An empty project shows a fixed sample of another project. GitLab's documentation says 422 there; its code does not.
    """
    project = frame.project
    if project.repository.is_empty:
        return sample()
    commits = project.repository.log(project.repository.tip(project.default_branch), limit=SAMPLE_COMMITS)
    change = RefChange(
        ref=f"refs/heads/{project.default_branch}", before=commits[-1].sha, after=commits[0].sha, commits=commits,
        total=len(commits),
    )  # fmt: skip
    return push(frame, user, change)


def _first_child(forge: Forge, group: Group) -> Project:
    for project in forge.world.projects.values():
        if project.group is group:
            return project
    raise Refused(422, {"message": "Ensure the group has a project with commits."})


def routes(base: str) -> list[Route]:
    """`base` is `/projects/{id}` or `/groups/{id}`."""
    one = f"{base}/hooks/{{hook_id}}"
    return [
        route("POST", f"{one}/test/{{trigger}}", test),
        route("GET", f"{one}/events", events),
        route("POST", f"{one}/events/{{event_id}}/resend", resend),
    ]
