"""What a test delivery carries: recent real data of the project, with ISO timestamps."""

from __future__ import annotations

from gitpulse_sim.api.call import Refused
from gitpulse_sim.deliver import Event
from gitpulse_sim.forge import Forge
from gitpulse_sim.payloads.common import Data, Frame
from gitpulse_sim.payloads.issue import issue
from gitpulse_sim.payloads.merge_request import merge_request
from gitpulse_sim.payloads.note import note
from gitpulse_sim.payloads.pipeline import job, pipeline
from gitpulse_sim.payloads.push import RefChange, push, sample
from gitpulse_sim.payloads.release import release
from gitpulse_sim.people import User
from gitpulse_sim.stamps import iso_milliseconds
from gitpulse_sim.world import Group, Parent, Project

SINCE = {
    "push_events": (16, 11),
    "tag_push_events": (16, 11),
    "issues_events": (16, 11),
    "confidential_issues_events": (16, 11),
    "note_events": (16, 11),
    "merge_requests_events": (16, 11),
    "job_events": (16, 11),
    "pipeline_events": (16, 11),
    "wiki_page_events": (16, 11),
    "releases_events": (16, 11),
    "emoji_events": (16, 11),
    "resource_access_token_events": (16, 11),
    "milestone_events": (18, 2),
    "resource_deploy_token_events": (19, 0),
}
"""The triggers that can be tested, with the version from which on. [unverified] for the last two."""

SAMPLE_COMMITS = 3


def sample_event(forge: Forge, parent: Parent, trigger: str, user: User) -> Event:
    """Raises Refused: 400 for a trigger that is none, 422 when the project has nothing to show."""
    if trigger not in SINCE or not forge.world.instance.at_least(*SINCE[trigger]):
        raise Refused(400, {"error": "trigger does not have a valid value"})
    project = _first_child(forge, parent) if isinstance(parent, Group) else parent
    frame = Frame(url=forge.world.url, stamp=iso_milliseconds, release=forge.world.instance.release)
    return Event(toggle=trigger, data=_data(frame, project, trigger, user))


def _data(frame: Frame, project: Project, trigger: str, user: User) -> Data:
    match trigger:
        case "push_events" | "tag_push_events":
            return _newest_commits(frame, project, user)
        case "note_events" if project.notes:
            return note(frame, project, project.notes[-1])
        case "issues_events" | "confidential_issues_events" if project.issues:
            return issue(frame, project, user, project.issues[-1], "open")
        case "merge_requests_events" if project.merge_requests:
            return merge_request(frame, project, user, project.merge_requests[-1], "open")
        case "pipeline_events" if project.pipelines:
            return pipeline(frame, project, project.pipelines[-1])
        case "job_events" if project.pipelines:
            return job(frame, project, project.pipelines[-1], project.pipelines[-1].jobs[-1])
        case "releases_events" if project.releases:
            return release(frame, project, project.releases[-1], "create")
    raise Refused(422, {"message": _MISSING.get(trigger, "Testing not available for this hook")})


_MISSING = {
    "note_events": "Ensure the project has notes.",
    "issues_events": "Ensure the project has issues.",
    "confidential_issues_events": "Ensure the project has issues.",
    "merge_requests_events": "Ensure the project has merge requests.",
    "pipeline_events": "Ensure the project has CI pipelines.",
    "job_events": "Ensure the project has CI jobs.",
    "releases_events": "Ensure the project has releases.",
    "wiki_page_events": "Ensure the wiki is enabled and has pages.",
}


def _newest_commits(frame: Frame, project: Project, user: User) -> Data:
    """The newest three, newest first; `before` is the oldest of them, and so no real push at all.

    An empty project shows a fixed sample of another project. GitLab's documentation says 422 there; its code does not.
    """
    if project.repository.is_empty:
        return sample()
    commits = project.repository.log(project.repository.tip(project.default_branch), limit=SAMPLE_COMMITS)
    change = RefChange(
        ref=f"refs/heads/{project.default_branch}", before=commits[-1].sha, after=commits[0].sha, commits=commits,
        total=len(commits),
    )  # fmt: skip
    return push(frame, project, user, change)


def _first_child(forge: Forge, group: Group) -> Project:
    for project in forge.world.projects.values():
        if project.group is group:
            return project
    raise Refused(422, {"message": "Ensure the group has a project with commits."})
