"""The sub-objects that most payloads share: project, user, repository, label, commit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.stamps import Stamp, iso_offset
from gitpulse_sim.work import Label
from gitpulse_sim.world import Project

Data = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a payload needs to know of the instance: its address, and how it writes times."""

    url: str
    stamp: Stamp
    release: tuple[int, int]
    """Major and minor version: some fields are younger than others."""

    def at(self, moment: datetime | None) -> str | None:
        return self.stamp(moment) if moment else None

    def page(self, project: Project, path: str = "") -> str:
        """A page of the project."""
        return f"{self.url}/{project.full_path}" + (f"/-/{path}" if path else "")


def project_data(frame: Frame, project: Project, *, legacy: bool = True) -> Data:
    """The `project` object; pipelines and jobs leave the legacy addresses out."""
    page = frame.page(project)
    host = frame.url.split("://", 1)[-1].split(":", 1)[0]
    data: Data = {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "web_url": page,
        "avatar_url": None,
        "git_ssh_url": f"git@{host}:{project.full_path}.git",
        "git_http_url": f"{page}.git",
        "namespace": project.group.name,
        "visibility_level": 0,
        "path_with_namespace": project.full_path,
        "default_branch": project.default_branch,
        "ci_config_path": None,
    }
    if legacy:
        data |= {
            "homepage": page,
            "url": data["git_ssh_url"],
            "ssh_url": data["git_ssh_url"],
            "http_url": data["git_http_url"],
        }
    return data


def repository_data(frame: Frame, project: Project) -> Data:
    """The deprecated twin of `project`."""
    full = project_data(frame, project)
    return {key: full[key] for key in ("name", "url", "description", "homepage")}


def user_data(user: User) -> Data:
    return {
        "id": user.id,
        "name": user.name,
        "username": user.username,
        "avatar_url": avatar(user),
        "email": user.public_email or "[REDACTED]",
    }


def users_data(users: Iterable[User]) -> list[Data]:
    return [user_data(user) for user in users]


def avatar(user: User) -> str:
    return f"https://www.gravatar.com/avatar/{user.id:032x}?s=80&d=identicon"


def label_data(frame: Frame, project: Project, label: Label) -> Data:
    return {
        "id": label.id,
        "title": label.title,
        "color": label.color,
        "project_id": project.id,
        "created_at": frame.at(label.created_at),
        "updated_at": frame.at(label.created_at),
        "template": False,
        "description": None,
        "type": "ProjectLabel",
        "group_id": None,
    }


def commit_data(frame: Frame, project: Project, commit: Commit) -> Data:
    """A commit as merge requests and pipelines show it; pushes add the paths."""
    return {
        "id": commit.sha,
        "message": commit.message,
        "title": commit.title,
        "timestamp": iso_offset(commit.committed_at),
        "url": frame.page(project, f"commit/{commit.sha}"),
        "author": {"name": commit.author.name, "email": commit.author.email},
    }
