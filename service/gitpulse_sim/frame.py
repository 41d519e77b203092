"""How things are written down as JSON: their addresses and times, tables of their fields, and what payloads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from gitpulse_sim.clock import Stamp, iso_offset
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit, Person
from gitpulse_sim.work import Environment, Label
from gitpulse_sim.world import Project

Data = dict[str, object]
Shapes: TypeAlias = Mapping[type, str | Callable[[Any, Any], object]]
"""How things look within another, by their type: a table of their fields, or a function of the frame and the thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a payload or a reply needs to know of the instance."""

    url: str
    stamp: Stamp
    shapes: Shapes

    def shown(self, value: object) -> Any:  # noqa: ANN401 - JSON
        """A value as JSON has it: times in the frame's shape, things in theirs; all else stays."""
        if isinstance(value, datetime):
            return self.stamp(value)
        if isinstance(value, list | tuple):
            return [self.shown(one) for one in value]
        shape = self.shapes.get(type(value))
        if isinstance(shape, str):
            return self.fields(value, shape)
        return shape(self, value) if shape else value

    def fields(self, thing: object, table: str) -> Data:
        """A thing's attributes by a table of words: `title`, or `author_id=author.id` for one of another name.

        `draft:false` is one that is always so, in JSON.
        """
        data: Data = {}
        for word in table.split():
            name, _, path = word.partition("=")
            name, constant, literal = name.partition(":")
            data[name] = msgspec.json.decode(literal) if constant else self.shown(attrgetter(path or name)(thing))
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class InProject(Frame):
    """The same for what is in a project."""

    project: Project
    release: tuple[int, int] = (0, 0)
    """Major and minor version: some fields are younger than others."""

    def page(self, path: str = "") -> str:
        """A page of the project."""
        return f"{self.url}/{self.project.full_path}" + (f"/-/{path}" if path else "")


def project_data(frame: InProject, *, legacy: bool = True) -> Data:
    """The `project` object; pipelines and jobs leave the legacy addresses out."""
    project, page = frame.project, frame.page()
    host = frame.url.split("://", 1)[-1].split(":", 1)[0]
    ssh, http = f"git@{host}:{project.full_path}.git", f"{page}.git"
    table = "id name description namespace=group.name path_with_namespace=full_path default_branch "
    data = frame.fields(project, table + "avatar_url:null visibility_level:0 ci_config_path:null")
    data |= {"web_url": page, "git_ssh_url": ssh, "git_http_url": http}
    return data | {"homepage": page, "url": ssh, "ssh_url": ssh, "http_url": http} if legacy else data


def repository_data(frame: InProject) -> Data:
    """The deprecated twin of `project`."""
    full = project_data(frame)
    return {key: full[key] for key in ("name", "url", "description", "homepage")}


def commit_data(frame: InProject, commit: Commit) -> Data:
    """A commit as merge requests and pipelines show it; pushes add the paths."""
    data = replace(frame, stamp=iso_offset).fields(commit, "id=sha message title timestamp=committed_at author")
    return data | {"url": frame.page(f"commit/{commit.sha}")}


PAYLOADS: Shapes = {
    User: "id name username avatar_url=avatar email=shown_email",
    Person: "name email",
    Commit: commit_data,
    Label: 'id title color:"#428bca" project_id created_at updated_at=created_at template:false description:null '
    'type:"ProjectLabel" group_id:null',
    Environment: 'name action:"start" deployment_tier=tier',
}
