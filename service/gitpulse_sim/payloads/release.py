"""Releases and deployments."""

from __future__ import annotations

from gitpulse_sim.payloads.common import Data, Frame, commit_data, project_data, user_data
from gitpulse_sim.work import Deployment, Release
from gitpulse_sim.world import Project


def release(frame: Frame, project: Project, subject: Release, action: str) -> Data:
    """`Release Hook`: a flat object."""
    archive = frame.page(project, f"archive/{subject.tag}/{project.path}-{subject.tag}")
    return {
        "id": subject.id,
        "created_at": frame.at(subject.created_at),
        "description": subject.description,
        "name": subject.name,
        "released_at": frame.at(subject.created_at),
        "tag": subject.tag,
        "object_kind": "release",
        "project": project_data(frame, project),
        "url": frame.page(project, f"releases/{subject.tag}"),
        "action": action,
        "assets": {
            "count": 2,
            "links": [],
            "sources": [{"format": kind, "url": f"{archive}.{kind}"} for kind in ("zip", "tar.gz")],
        },
        "commit": commit_data(frame, project, subject.commit),
    }


def deployment(frame: Frame, project: Project, subject: Deployment) -> Data:
    """`Deployment Hook`: on start, success, failure and cancel. Only `short_sha` says which commit."""
    job_page = frame.page(project, f"jobs/{subject.job.id}") if subject.job else None
    return {
        "object_kind": "deployment",
        "status": subject.status,
        "status_changed_at": f"{subject.status_changed_at:%Y-%m-%d %H:%M:%S %z}",
        "deployment_id": subject.id,
        "deployable_id": subject.job.id if subject.job else None,
        "deployable_url": job_page,
        "environment": subject.environment,
        "environment_tier": subject.tier,
        "environment_slug": subject.environment.lower(),
        "environment_external_url": None,
        "project": project_data(frame, project),
        "short_sha": subject.commit.sha[:8],
        "user": user_data(subject.user),
        "user_url": f"{frame.url}/{subject.user.username}",
        "commit_url": frame.page(project, f"commit/{subject.commit.sha}"),
        "commit_title": subject.commit.title,
        "ref": project.default_branch,
    }
