"""What a backfill reads of a project beside its repository: merge requests, issues, pipelines, jobs, deployments, ….

Each family is a table: where its things are kept, which of their fields are shown, and what its list is filtered by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from gitpulse_sim.api.call import Call, Refused, not_found
from gitpulse_sim.api.door import paged, route
from gitpulse_sim.api.rows import ENVIRONMENT, JOB, PIPELINE
from gitpulse_sim.frame import Data
from gitpulse_sim.work import Deployment, Issue, Job, MergeRequest, Note
from gitpulse_sim.world import Project

T = TypeVar("T")
Things: TypeAlias = Callable[[Call], Sequence[Any]]

ORDERS = ("id", "created_at", "updated_at", "released_at")
DISCUSSED = "id iid title description state created_at updated_at closed_at closed_by author assignees labels"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of thing that can be listed, and read one by one."""

    things: Things
    brief: str
    """The fields that a list shows."""
    more: str = ""
    """Those that only the thing itself shows beside them."""
    number: str = ""
    """The field that the path calls it by; none: it is only listed."""
    filters: str = ""
    """Attributes that a list can be narrowed by, `environment=environment.name` where one goes by another name."""
    order: str = "id"
    sort: str = "desc"

    def index(self, call: Call) -> Response:
        """The wanted states and times, in the wanted order."""
        found: Iterable[Any] = self.things(call)
        for word in self.filters.split():
            name = word.partition("=")[0]
            if (wanted := call.text(name, "all")) != "all":
                found = [one for one in found if call.frame.fields(one, word)[name] == wanted]
        if scopes := call.request.query_params.getlist("scope[]"):
            found = [one for one in found if one.status in scopes]
        for field in ("created_at", "updated_at"):
            after, before = (_time(call, f"{field.removesuffix('_at')}_{side}") for side in ("after", "before"))
            found = [one for one in found if after is None or getattr(one, field) >= after]
            found = [one for one in found if before is None or getattr(one, field) <= before]
        order = call.text("order_by", self.order)
        if order not in ORDERS:
            raise Refused(400, {"error": "order_by does not have a valid value"})
        descending = call.text("sort", self.sort) == "desc"
        found = sorted(found, key=lambda one: (getattr(one, order, one.id), one.id), reverse=descending)
        return paged(call, found, lambda one: self.row(call, one, self.brief))

    def read(self, call: Call) -> Data:
        """The thing of the path."""
        number = call.path("number")
        for thing in self.things(call):
            if str(getattr(thing, self.number)) == number:
                return self.row(call, thing, f"{self.brief} {self.more}")
        raise not_found()

    def row(self, call: Call, one: object, table: str) -> Data:
        """What is said of one thing: the table's fields, and where it is."""
        project = call.project()
        frame = call.frame_of(project)
        data = frame.fields(one, table) | {"project_id": project.id}
        if hasattr(one, "page"):
            data["web_url"] = frame.page(one.page)
        if isinstance(one, MergeRequest | Issue):
            data["user_notes_count"] = sum(note.target is one and not note.system for note in project.notes)
        if isinstance(one, MergeRequest):
            data |= {"source_project_id": project.id, "target_project_id": project.id}
        return data


def _outer(call: Call, things: Sequence[T], number: str) -> T:
    """The thing that the others are within."""
    asked = call.number("outer")
    for thing in things:
        if getattr(thing, number) == asked:
            return thing
    raise not_found()


def _request(call: Call) -> MergeRequest:
    return _outer(call, call.project().merge_requests, "iid")


def _issue(call: Call) -> Issue:
    return _outer(call, call.project().issues, "iid")


def _notes(of: Callable[[Call], object]) -> Family:
    def things(call: Call) -> Sequence[Note]:
        target = of(call)
        return [note for note in call.project().notes if note.target is target]

    return Family(
        things,
        "id body author created_at updated_at=created_at system noteable_id=target.id noteable_iid=target.iid "
        "noteable_type internal confidential=internal",
        order="created_at",
    )


def _state_events(of: Callable[[Call], MergeRequest | Issue]) -> Family:
    return Family(lambda call: of(call).state_events, "id user created_at state", sort="asc")


def _pipeline_jobs(call: Call) -> Sequence[Job]:
    pipeline = _outer(call, call.project().pipelines, "id")
    return pipeline.all_jobs if call.flag("include_retried") else pipeline.jobs


def _deployments(call: Call) -> Sequence[Deployment]:
    if (call.text("updated_after") or call.text("updated_before")) and call.text("order_by") != "updated_at":
        raise Refused(400, {"message": "400 Bad request - `updated_at` filter requires `updated_at` sort"})
    return call.project().deployments


def _brought(call: Call) -> Sequence[MergeRequest]:
    return _outer(call, call.project().deployments, "id").merge_requests


def _of(things: Callable[[Project], Sequence[Any]]) -> Things:
    return lambda call: things(call.project())


_MERGE_REQUEST = (
    f"{DISCUSSED} merged_at merge_user reviewers source_branch target_branch draft:false sha=last_commit.sha "
    "merge_commit_sha squash_commit_sha prepared_at=created_at"
)
# fmt: off
FAMILIES = {
    "merge_requests": Family(_of(lambda it: it.merge_requests), _MERGE_REQUEST, "", "iid", "state"),
    "merge_requests/{outer}/notes": _notes(_request),
    "merge_requests/{outer}/resource_state_events": _state_events(_request),
    "issues": Family(_of(lambda it: it.issues), f"{DISCUSSED} issue_type confidential", "", "iid", "state issue_type"),
    "issues/{outer}/notes": _notes(_issue),
    "issues/{outer}/resource_state_events": _state_events(_issue),
    "pipelines": Family(_of(lambda it: it.pipelines), PIPELINE,
                        "before_sha tag user started_at finished_at duration queued_duration",
                        "id", "status ref sha=commit.sha source"),
    "pipelines/{outer}/jobs": Family(_pipeline_jobs, f"{JOB} commit=pipeline.commit pipeline"),
    "jobs": Family(_of(lambda it: [job for one in it.pipelines for job in one.all_jobs]),
                   f"{JOB} commit=pipeline.commit pipeline", "", "id"),
    "deployments": Family(_deployments,
                          "id iid ref sha=commit.sha created_at updated_at status user environment deployable",
                          "", "id", "status environment=environment.name", sort="asc"),
    "deployments/{outer}/merge_requests": Family(_brought, _MERGE_REQUEST),
    "environments": Family(_of(lambda it: list(it.environments.values())), f"{ENVIRONMENT} tier", "", "id", "name",
                           sort="asc"),
    "releases": Family(_of(lambda it: it.releases),
                       "tag_name name description created_at released_at author commit", "", "tag_name",
                       order="released_at"),
}
# fmt: on


def _time(call: Call, name: str) -> datetime | None:
    text = call.text(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, {"error": f"{name} is invalid"}) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def routes() -> list[Route]:
    base = "/projects/{id}"
    found = []
    for name, family in FAMILIES.items():
        found.append(route("GET", f"{base}/{name}", family.index))
        if family.number:
            found.append(route("GET", f"{base}/{name}/{{number}}", family.read))
    return found
