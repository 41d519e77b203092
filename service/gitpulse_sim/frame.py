"""How things of the instance are written down as JSON: their addresses, their times, and tables of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from gitpulse_sim.clock import Stamp
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

        Times are written in the frame's shape; all else stays what it is.
        """
        data: Data = {}
        for word in table.split():
            name, _, path = word.partition("=")
            value = attrgetter(path or name)(thing)
            data[name] = self.stamp(value) if isinstance(value, datetime) else value
        return data
