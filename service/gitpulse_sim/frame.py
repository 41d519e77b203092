"""How things are written down as JSON: their addresses and times, tables of their fields, and what payloads share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

import msgspec

from gitpulse_sim.clock import Stamp, iso_offset
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Label
from gitpulse_sim.world import Project

Data = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a payload or a reply needs to know of the instance."""

    url: str
    stamp: Stamp
    release: tuple[int, int] = (0, 0)
    """Major and minor version: some fields are younger than others."""

    def at(self, moment: datetime | None) -> str | None:
        return self.stamp(moment) if moment else None

    def page(self, project: Project, path: str = "") -> str:
        """A page of the project."""
        return f"{self.url}/{project.full_path}" + (f"/-/{path}" if path else "")

    def fields(self, thing: object, table: str) -> Data:
        """A thing's attributes by a table of words: `title`, or `author_id=author.id` for one of another name.

        `draft:false` is one that is always so, in JSON. Times are written in the frame's shape; all else stays.
        """
        data: Data = {}
        for word in table.split():
            name, _, path = word.partition("=")
            name, constant, literal = name.partition(":")
            value = msgspec.json.decode(literal) if constant else attrgetter(path or name)(thing)
            data[name] = self.stamp(value) if isinstance(value, datetime) else value
        return data


def project_data(frame: Frame, project: Project, *, legacy: bool = True) -> Data:
    """The `project` object; pipelines and jobs leave the legacy addresses out."""
    page = frame.page(project)
    host = frame.url.split("://", 1)[-1].split(":", 1)[0]
    ssh, http = f"git@{host}:{project.full_path}.git", f"{page}.git"
    table = "id name description namespace=group.name path_with_namespace=full_path default_branch "
    data = frame.fields(project, table + "avatar_url:null visibility_level:0 ci_config_path:null")
    data |= {"web_url": page, "git_ssh_url": ssh, "git_http_url": http}
    return data | {"homepage": page, "url": ssh, "ssh_url": ssh, "http_url": http} if legacy else data


def repository_data(frame: Frame, project: Project) -> Data:
    """The deprecated twin of `project`."""
    full = project_data(frame, project)
    return {key: full[key] for key in ("name", "url", "description", "homepage")}


def user_data(user: User) -> Data:
    named = {"id": user.id, "name": user.name, "username": user.username}
    return {**named, "avatar_url": user.avatar, "email": user.shown_email}


def users_data(users: Iterable[User]) -> list[Data]:
    return [user_data(user) for user in users]


def label_data(frame: Frame, project: Project, label: Label) -> Data:
    table = 'id title color created_at updated_at=created_at template:false description:null type:"ProjectLabel" '
    return frame.fields(label, f"{table} group_id:null") | {"project_id": project.id}


def commit_data(frame: Frame, project: Project, commit: Commit) -> Data:
    """A commit as merge requests and pipelines show it; pushes add the paths."""
    return replace(frame, stamp=iso_offset).fields(commit, "id=sha message title timestamp=committed_at") | {
        "url": frame.page(project, f"commit/{commit.sha}"),
        "author": {"name": commit.author.name, "email": commit.author.email},
    }
