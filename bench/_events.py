"""Deliveries that are all different; of ten, six pushes, a merge request, a note and two pipelines."""

from __future__ import annotations

import json
from typing import Any

from gitpulse_service.events.envelope import Envelope

INSTANCE = "https://gitlab.example.com"
PROJECTS = 50
BASE = 1_769_900_000
"""Unix time of the first one; each is a second after the one before."""


def push(name: str, number: int) -> Envelope:
    """A push of four commits."""
    author = {"name": f"Ann {number % 200}", "email": f"ann{number % 200}@acme.example"}
    commits = [
        {
            "id": f"{number * 4 + k:040x}",
            "timestamp": "2026-01-31T18:45:47+01:00",
            "author": author,
            "message": "x" * 200,
            "added": [],
            "modified": ["src/a.py", "src/b.py"],
            "removed": [],
        }
        for k in range(4)
    ]
    ends = {"before": f"{number:040x}", "after": f"{number + 1:040x}", "total_commits_count": 4}
    user = {"user_id": 1 + number % 200, "user_name": author["name"], "user_username": f"ann{number % 200}"}
    about = {"object_kind": "push", "ref": "refs/heads/main", **user, "repository": {"padding": "x" * 3000}}
    return _delivery(name, number, "Push Hook", {**about, **ends, "commits": commits})


def mixed(name: str, number: int) -> Envelope:
    """The next one of the mix."""
    kind = number % 10
    if kind == 6:
        return _delivery(name, number, "Merge Request Hook", _merge_request(number))
    if kind == 7:
        return _delivery(name, number, "Note Hook", _note(number))
    if kind >= 8:
        return _delivery(name, number, "Pipeline Hook", _pipeline(number))
    return push(name, number)


def _delivery(name: str, number: int, event: str, content: dict[str, Any]) -> Envelope:
    at = number % PROJECTS
    place = {"id": 1 + at, "path_with_namespace": f"acme/p{at}", "name": "p", "web_url": "", "default_branch": "main"}
    body = json.dumps({**content, "project": place}).encode()
    return Envelope(f"hook-{at}", f"{name}-{number}", event, INSTANCE, 1, (BASE + number) * 1000, body)


def _user(number: int) -> dict[str, Any]:
    who = number % 200
    return {"id": 1 + who, "name": f"Ann {who}", "username": f"ann{who}", "email": "[REDACTED]"}


def _merge_request(number: int) -> dict[str, Any]:
    attributes = {
        "id": number, "iid": number, "author_id": 1 + number % 200, "state": "opened", "action": "open",
        "source_branch": f"topic-{number}", "target_branch": "main", "description": "x" * 1500,
        "created_at": _stamp(number), "updated_at": _stamp(number),
    }  # fmt: skip
    return {"object_kind": "merge_request", "user": _user(number), "object_attributes": attributes}


def _note(number: int) -> dict[str, Any]:
    attributes = {
        "id": number, "note": "x" * 300, "noteable_type": "MergeRequest", "noteable_id": number - 1, "system": False,
        "author_id": 1 + number % 200, "created_at": _stamp(number), "updated_at": _stamp(number),
    }  # fmt: skip
    target = {"id": number - 1, "iid": number - 1, "description": "x" * 1500}
    return {"object_kind": "note", "user": _user(number), "object_attributes": attributes, "merge_request": target}


def _pipeline(number: int) -> dict[str, Any]:
    attributes = {
        "id": number, "iid": number, "ref": "main", "status": "success", "source": "push", "duration": 60,
        "queued_duration": 2, "created_at": _stamp(number), "finished_at": _stamp(number + 62),
    }  # fmt: skip
    builds = [
        {
            "id": number * 5 + k, "name": f"job-{k}", "stage": "test", "status": "success",
            "created_at": _stamp(number), "started_at": _stamp(number + 2),
            "finished_at": _stamp(number + 62), "duration": 60.1,
            "queued_duration": 2.2, "user": _user(number),
        }
        for k in range(5)
    ]  # fmt: skip
    return {"object_kind": "pipeline", "user": _user(number), "object_attributes": attributes, "builds": builds}


def _stamp(number: int) -> str:
    seconds = number % 86_400
    return f"2026-01-31 {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} UTC"
