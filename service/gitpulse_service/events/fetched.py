"""What GitLab's REST API tells of a project, put as the deliveries that would have told it.

Merge requests, issues and pipelines have the same fields there as in a webhook. A commit becomes what a test delivery
is: a push that nobody made, with true commits. So everything behind works as for what was received.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from gitpulse_service.events.envelope import Envelope
from gitpulse_service.events.issue import IssueAttributes
from gitpulse_service.events.merge_request import MergeRequestAttributes
from gitpulse_service.events.pipeline import PipelineAttributes
from gitpulse_service.events.project import Project
from gitpulse_service.events.timestamps import parse

Row: TypeAlias = Mapping[str, Any]

DELIVERED_WITHIN = timedelta(minutes=1)
"""A push counts when it is first received, and one that came keeps its time."""
_ZEROS = "0" * 40


@dataclass(frozen=True, slots=True)
class Kind:
    """A list of GitLab's, oldest first where it can be: what changes while it is read then shows up once more."""

    table: str
    path: str
    query: Mapping[str, str]
    attributes: type[msgspec.Struct] | None = None
    """What the kind's webhook has, where a row has the same fields."""
    since: str = "updated_after"
    """The parameter that says from when on, how it writes a time, and how much before the gap it is read from."""
    form: str = "%Y-%m-%dT%H:%M:%SZ"
    earlier: timedelta = timedelta(minutes=5)

    def asked(self, since: datetime) -> dict[str, str]:
        """The parameters of the list from then on."""
        return {**self.query, self.since: f"{since - self.earlier:{self.form}}"}


_DAY = timedelta(days=1)
_ORDER = {"order_by": "created_at", "sort": "asc"}
KINDS = {
    "pushes": Kind("push", "events", {"action": "pushed", "sort": "asc"}, None, "after", "%Y-%m-%d", _DAY),
    # A commit is as old as it is, whenever it was pushed.
    "commits": Kind("commit", "repository/commits", {"all": "true"}, since="since", earlier=7 * _DAY),
    "mergeRequests": Kind("merge_request", "merge_requests", _ORDER, MergeRequestAttributes),
    "issues": Kind("issue", "issues", {**_ORDER, "issue_type": "issue"}, IssueAttributes),
    "pipelines": Kind("pipeline", "pipelines", {**_ORDER, "order_by": "id"}, PipelineAttributes),
}
"""As counts name them."""


def delivery(
    kind: Kind, row: Row, project: Row, hook_id: str, instance: str, gap: tuple[datetime, datetime]
) -> Envelope | None:
    """The delivery that a row stands for; None where there would have been none.

    The same row has the same id each time. Raises KeyError, TypeError, ValueError where the row is none of GitLab's.
    """
    received = gap[1]
    content: dict[str, Any] = {"object_kind": kind.table, "project": _named(Project, project)}
    if kind.attributes:
        content["object_attributes"] = _named(kind.attributes, row)
        if kind.table == "pipeline":  # by its jobs it tells its time
            content["builds"] = [{"finished_at": row["updated_at"]}]
    elif kind.table == "commit":
        author = {"name": row["author_name"], "email": row["author_email"]}
        commit = {"id": row["id"], "timestamp": row["committed_date"], "author": author}
        content |= {"object_kind": "push", "before": row["id"], "commits": [commit]}
    else:
        moved, received = row["push_data"], parse(row["created_at"])
        ends = moved["commit_from"], moved["commit_to"]
        if moved["ref_type"] != "branch" or not any(ends) or received < gap[0]:  # no ends: many were pushed at once
            return None
        received += DELIVERED_WITHIN
        content |= {"ref": f"refs/heads/{moved['ref']}", "before": ends[0] or _ZEROS, "after": ends[1] or _ZEROS}
    body = msgspec.json.encode(content)
    name = f"backfill-{hashlib.blake2b(body, digest_size=16).hexdigest()}"
    return Envelope(hook_id, name, "", instance, 0, int(received.timestamp() * 1000), body)


def _named(fields: type[msgspec.Struct], row: Row) -> dict[str, Any]:
    return {name: row[name] for name in fields.__struct_fields__ if name in row}
