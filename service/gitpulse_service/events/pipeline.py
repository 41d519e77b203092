"""Pipeline events: one for each change of a pipeline's status, with all its jobs."""

from __future__ import annotations

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent
from gitpulse_service.events.timestamps import Timestamp


class PipelineAttributes(msgspec.Struct, frozen=True, gc=False):
    """The pipeline after the event."""

    id: Id
    iid: Id | None = None
    status: str | None = None
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    variables: msgspec.Raw = msgspec.Raw()


class Build(msgspec.Struct, frozen=True, gc=False):
    """The latest run of one job of the pipeline."""

    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None


class Pipeline(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """A pipeline changed its status."""

    object_attributes: PipelineAttributes
    builds: tuple[Build, ...] | None = ()

    @property
    def updated_at(self) -> Timestamp | None:
        """The newest moment that the event mentions.

        GitLab sends no `updated_at`. A retried pipeline may still show when it first finished, but its new jobs are
        younger than that.
        """
        moments = [self.object_attributes.created_at, self.object_attributes.finished_at]
        for build in self.builds or ():
            moments += (build.created_at, build.started_at, build.finished_at)
        return max((moment for moment in moments if moment), default=None)


def without_variables(body: bytes) -> bytes:
    """A pipeline event's body without the values of its variables, which may be secrets and are never kept.

    Its other values stay unread, as they were sent. `{}` for a body whose names are no plain text: not GitLab's.
    """
    try:
        content = _shallow(body)
        attributes = _shallow(content["object_attributes"])
    except (UnicodeDecodeError, KeyError):
        return b"{}"
    changed = {"object_attributes": attributes | {"variables": msgspec.Raw(b"[]")}}
    return msgspec.json.encode(content | changed)


_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
