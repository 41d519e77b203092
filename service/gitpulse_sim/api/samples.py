"""What a test delivery carries: recent real data of the project, with ISO timestamps."""

from __future__ import annotations

from gitpulse_sim.api.call import Refused
from gitpulse_sim.clock import iso_milliseconds
from gitpulse_sim.deliver import Event
from gitpulse_sim.forge import Forge
from gitpulse_sim.frame import Data, Frame
from gitpulse_sim.hook import TOGGLES
from gitpulse_sim.payloads.ci import job, pipeline
from gitpulse_sim.payloads.push import RefChange, push, sample
from gitpulse_sim.payloads.work import issue, merge_request, note
from gitpulse_sim.people import User
from gitpulse_sim.world import Group, Parent, Project

TESTABLE = {
    "push_events", "tag_push_events", "issues_events", "confidential_issues_events", "note_events",
    "merge_requests_events", "job_events", "pipeline_events", "wiki_page_events", "releases_events", "emoji_events",
    "resource_access_token_events", "milestone_events", "resource_deploy_token_events",
}  # fmt: skip
"""The toggles that are triggers too, since their own version. [unverified] for the last two."""

SAMPLE_COMMITS = 3


def sample_event(forge: Forge, parent: Parent, trigger: str, user: User) -> Event:
    """Raises Refused: 400 for a trigger that is none, 422 when the project has nothing to show."""
    if trigger not in TESTABLE or not forge.world.instance.at_least(*TOGGLES[trigger].since):
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
    missing = _MISSING.get(trigger)
    raise Refused(422, {"message": f"Ensure the {missing}." if missing else "Testing not available for this hook"})


_MISSING = {
    "note_events": "project has notes",
    "issues_events": "project has issues",
    "confidential_issues_events": "project has issues",
    "merge_requests_events": "project has merge requests",
    "pipeline_events": "project has CI pipelines",
    "job_events": "project has CI jobs",
    "releases_events": "project has releases",
    "wiki_page_events": "wiki is enabled and has pages",
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
