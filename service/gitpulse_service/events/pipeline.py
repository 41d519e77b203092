"""Pipeline events: one for each change of a pipeline's status, with all its jobs; and those of single jobs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gitpulse_service.events.project import Id, ProjectEvent, Seconds, User
from gitpulse_service.events.timestamps import Timestamp


class PipelineAttributes(msgspec.Struct, frozen=True, gc=False):
    """The pipeline after the event."""

    id: Id
    iid: Id | None = None
    ref: str | None = None
    status: str | None = None
    created_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    duration: Seconds | None = None
    queued_duration: Seconds | None = None
    variables: msgspec.Raw = msgspec.Raw()


class Build(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """The latest run of one job of the pipeline, and who started it."""

    id: Id | None = None
    stage: str | None = None
    name: str | None = None
    status: str | None = None
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    duration: Seconds | None = None
    """While it runs, so far."""
    queued_duration: Seconds | None = None
    variables: msgspec.Raw = msgspec.Raw()
    """None that we know of; were there some, they would be secrets too."""

    @property
    def updated_at(self) -> Timestamp | None:
        """The newest moment that is mentioned; GitLab sends no `updated_at`."""
        return _newest((self.created_at, self.started_at, self.finished_at))


class Pipeline(ProjectEvent, frozen=True, gc=False, kw_only=True):
    """A pipeline changed its status."""

    object_attributes: PipelineAttributes
    builds: tuple[Build, ...] | None = ()

    @property
    def users(self) -> Iterator[User]:
        """Whoever started the pipeline, or one of its jobs."""
        yield from super().users
        yield from (user for build in self.builds or () for user in build.users)

    @property
    def has_secrets(self) -> bool:
        """Whether it came with variables."""
        held = (self.object_attributes.variables, *(build.variables for build in self.builds or ()))
        return any(bytes(variables) not in _NO_VARIABLES for variables in held)

    @property
    def updated_at(self) -> Timestamp | None:
        """The newest moment that the event mentions.

        GitLab sends no `updated_at`. A retried pipeline may still show when it first finished, but its new jobs are
        younger than that.
        """
        it = self.object_attributes
        return _newest((it.created_at, it.finished_at, *(build.updated_at for build in self.builds or ())))


class Job(Build, frozen=True, gc=False, kw_only=True, rename="build_{}".format):
    """A job changed its status; `build_` stands before the names that the event of its pipeline has."""

    id: Id
    stage: str | None = None
    name: str | None = None
    status: str | None = None
    created_at: Timestamp | None = None
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    duration: Seconds | None = None
    queued_duration: Seconds | None = None
    pipeline: Id | None = msgspec.field(default=None, name="pipeline_id")


_NO_VARIABLES = {b"", b"[]", b"null"}


def _newest(moments: tuple[Timestamp | None, ...]) -> Timestamp | None:
    return max((moment for moment in moments if moment), default=None)
