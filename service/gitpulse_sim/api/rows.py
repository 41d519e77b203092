"""How things look in replies, where they stand within others."""

from __future__ import annotations

from dataclasses import replace

from gitpulse_sim.clock import iso_offset_milliseconds
from gitpulse_sim.frame import Data, Frame, InProject, Shapes
from gitpulse_sim.people import User
from gitpulse_sim.repository import Commit
from gitpulse_sim.work import Environment, Job, Label, Pipeline

PIPELINE = "id iid status source ref sha=commit.sha created_at updated_at"
JOB = (
    "id name stage status ref=pipeline.ref tag=pipeline.tag created_at started_at finished_at duration "
    "queued_duration failure_reason user"
)
ENVIRONMENT = "id name slug created_at updated_at=created_at"
COMMIT = (
    "id=sha short_id=short_sha created_at=committed_at title message parent_ids=parents "
    "author_name=author.name author_email=author.email authored_date=at "
    "committer_name=committer.name committer_email=committer.email committed_date=committed_at"
)


def _user(frame: Frame, user: User) -> Data:
    fields = frame.fields(user, 'id username name public_email avatar_url=avatar state:"active"')
    return fields | {"web_url": f"{frame.url}/{user.username}"}


def _commit(frame: InProject, one: Commit) -> Data:
    """Its times keep their offsets."""
    fields = replace(frame, stamp=iso_offset_milliseconds).fields(one, COMMIT)
    return fields | {"web_url": frame.page(f"commit/{one.sha}")}


def _label(_: Frame, label: Label) -> str:
    return label.title


REPLIES: Shapes = {
    User: _user, Commit: _commit, Label: _label, Pipeline: PIPELINE, Job: f"{JOB} pipeline", Environment: ENVIRONMENT,
}  # fmt: skip
