"""What GitLab's REST API tells of a project, put as the deliveries that would have told it.

Most things have the same fields there as in a webhook. Commits become what a test delivery is: a push that nobody
made, with true commits. So everything behind works as for what was received.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.issue import IssueAttributes
from gitpulse_service.events.merge_request import MergeRequestAttributes
from gitpulse_service.events.note import NoteAttributes
from gitpulse_service.events.pipeline import Build, PipelineAttributes
from gitpulse_service.events.project import Project
from gitpulse_service.events.timestamps import parse

Row: TypeAlias = Mapping[str, Any]
Content: TypeAlias = dict[str, Any]

DELIVERED_WITHIN = timedelta(minutes=1)
"""A push counts when it is first received, and one that came keeps its time."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Source:
    """Where things were fetched: whose they are, and for whom and when they count as received."""

    project: Row
    """As REST shows it, or its id alone."""
    instance: str
    hook_id: str
    received_at: datetime

    def delivery(self, content: Content, received_at: datetime | None = None) -> Envelope:
        """The delivery with this content; the same one has the same id each time."""
        body = msgspec.json.encode({**content, "project": _named(Project, self.project)})
        name = f"fetched-{hashlib.blake2b(body, digest_size=16).hexdigest()}"
        moment = received_at or self.received_at
        return Envelope(self.hook_id, name, "", self.instance, 0, int(moment.timestamp() * 1000), body)


# --- one thing each, as the content of its delivery; KeyError, TypeError, ValueError where it is none of GitLab's -----


def commits(rows: Sequence[Row]) -> Content:
    """A page of them, as one push."""
    listed = [
        {
            "id": row["id"],
            "timestamp": row["committed_date"],
            "author": {"name": row["author_name"], "email": row["author_email"]},
        }
        for row in rows
    ]
    return {"object_kind": "push", "before": rows[0]["id"], "commits": listed}


def merge_request(row: Row) -> Content:
    """As it is now, told by its author."""
    return _discussed("merge_request", MergeRequestAttributes, row)


def issue(row: Row) -> Content:
    """The same of an issue, or another work item that is shown as one."""
    return _discussed("issue", IssueAttributes, {**row, "type": row.get("type") or row.get("issue_type")})


def reopening(row: Row, event: Row) -> Content:
    """That an issue was opened again, by one of its state events."""
    told = issue(row)
    then = {"action": "reopen", "updated_at": event["created_at"]}
    return {**told, "object_attributes": {**told["object_attributes"], **then}, "user": event["user"]}


def note(row: Row) -> Content:
    """A note, without its text."""
    return _discussed("note", NoteAttributes, row)


def pipeline(row: Row, jobs: Iterable[Row] = ()) -> Content:
    """A pipeline with jobs; where there are none it still tells its time by one."""
    builds = [_named(Build, job) for job in jobs]
    attributes = _named(PipelineAttributes, row)
    if str(attributes.get("ref")).startswith("refs/"):  # of a merge request's, a delivery tells the source branch
        del attributes["ref"]
    told = builds or [{"finished_at": row["updated_at"]}]
    return {"object_kind": "pipeline", "object_attributes": attributes, "user": row.get("user"), "builds": told}


def deployment(row: Row, tiers: Mapping[str, str]) -> Content:
    """A deployment; of its environment a list does not tell the tier."""
    place = row["environment"]["name"]
    told = {"environment": place, "environment_tier": tiers.get(place), "user": row.get("user")}
    state = {"deployment_id": row["id"], "status": row["status"], "status_changed_at": row["updated_at"]}
    return {"object_kind": "deployment", **state, **told}


def release(row: Row) -> Content:
    """A release as it is now, whatever was told of it before."""
    told = {name: row[name] for name in ("name", "created_at", "released_at")}
    return {"object_kind": "release", "action": "update", "tag": row["tag_name"], **told}


def push(row: Row) -> Content | None:
    """One of the project's events. None: many branches or tags that were pushed at once and are not told one by one."""
    moved, author = row["push_data"], row.get("author") or {}
    before, after = moved["commit_from"], moved["commit_to"]
    if not (before or after):
        return None
    zeros = "0" * len(before or after)  # 40, or 64 where objects are named by SHA-256
    place, kind = ("tags", "tag_push") if moved["ref_type"] == "tag" else ("heads", "push")
    who = {"user_id": row.get("author_id"), **{f"user_{name}": author.get(name) for name in ("name", "username")}}
    told = {"ref": f"refs/{place}/{moved['ref']}", "before": before or zeros, "after": after or zeros}
    return {"object_kind": kind, **told, **who}  # its commits are listed elsewhere


def _discussed(kind: str, attributes: type[msgspec.Struct], row: Row) -> Content:
    author = row.get("author") or {}
    told = {**_named(attributes, row), "author_id": author.get("id")}
    return {"object_kind": kind, "object_attributes": told, "user": author or None}


def _named(fields: type[msgspec.Struct], row: Row) -> Content:
    return {name: row[name] for name in fields.__struct_fields__ if name in row}


# --- lists, as a backfill reads them ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """A list of GitLab's, oldest first where it can be: what changes while it is read then shows up once more."""

    path: str
    query: Mapping[str, str]
    content: Callable[[Row], Content | None] | None = None
    """Of each row, where they are delivered one by one."""
    table: str = ""
    """Whose rows are counted."""
    moment: str = "updated_at"
    """The field that says when a row became as it is; the dot leads into what is within."""
    since: str = ""
    """The parameter that says from when on, how it writes a time, and how much before the span it is read from."""
    form: str = "%Y-%m-%dT%H:%M:%SZ"
    earlier: timedelta = timedelta(minutes=5)
    more: str = ""
    """The kind of `todo` that tells the rest of each row."""

    def asked(self, since: datetime) -> dict[str, str]:
        """The parameters of the list from then on."""
        return {**self.query, **({self.since: f"{since - self.earlier:{self.form}}"} if self.since else {})}

    def at(self, row: Row) -> datetime:
        """When the row became as it is."""
        value: Any = row
        for name in self.moment.split("."):
            value = value[name]
        return parse(value)


_ORDER = {"order_by": "created_at", "sort": "asc"}
KINDS = {
    "pushes": Kind(
        "events", {"action": "pushed", "sort": "asc"}, push, "push", "created_at", "after", "%Y-%m-%d", _DAY
    ),
    # A commit is as old as it is, whenever it was pushed.
    "commits": Kind("repository/commits", {}, None, "commit", "committed_date", "since", earlier=7 * _DAY),
    "branches": Kind("repository/branches", {}, None, "", "commit.committed_date", earlier=7 * _DAY),
    "tags": Kind("repository/tags", {}, None, "", "commit.committed_date", earlier=7 * _DAY),
    "mergeRequests": Kind(
        "merge_requests", _ORDER, merge_request, "merge_request", since="updated_after", more="notes"
    ),
    "issues": Kind("issues", _ORDER, issue, "issue", since="updated_after", more="reopenings"),
    "pipelines": Kind(
        "pipelines", {"order_by": "id", "sort": "asc"}, pipeline, "pipeline", since="updated_after", more="pipeline"
    ),
    "deployments": Kind(
        "deployments", {"order_by": "updated_at", "sort": "asc"}, None, "deployment", since="updated_after"
    ),
    "releases": Kind("releases", _ORDER, release, "release", "created_at"),
}
"""As counts name them."""
