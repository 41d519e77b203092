"""Hooks as GitLab has them: is each there, does it point here, does it send what is wanted, and only once?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from urllib.parse import urlsplit

from gitpulse_cli.doctor import causes
from gitpulse_cli.doctor.check import Check, Subject
from gitpulse_cli.doctor.finding import Seen, fine, passed, wrong
from gitpulse_cli.doctor.gitlab import refused
from gitpulse_cli.doctor.patient import Hook, Patient, is_for
from gitpulse_operator.domain.conditions import READY, find
from gitpulse_operator.domain.hooks import Attribute, ObservedHook, Parent, drift, is_ours
from gitpulse_operator.domain.spec import ProjectSpec, parse_project
from gitpulse_operator.errors import OperatorError
from gitpulse_operator.reconcile.ports import GitLab
from gitpulse_operator.reconcile.resource import Resource
from gitpulse_service.contract import WEBHOOK_PATH

MOST_PROJECTS = 20
"""Of a group that is followed project by project."""


def subjects(patient: Patient) -> Iterable[Subject]:
    """Each GitPulseProject; or all of a GitLab, where hooks are made by hand."""
    if patient.world:
        return [patient.subject_of(it) for it in patient.projects]
    return patient.connections if patient.by_hand else []


async def look(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """Notes in the patient the hooks that are there."""
    try:
        seen = _of_resource(patient, subject) if patient.world else _by_hand(patient, subject)
        async for it in seen:
            yield it
    except OperatorError as error:
        yield refused(error)


async def _of_resource(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    resource = next(it for it in patient.projects if patient.subject_of(it) == subject)
    spec = parse_project(resource.spec)
    if spec.suspend or resource.deleted_at:
        yield passed("not checked: it is suspended or being deleted")
        return
    gitlab = await patient.gitlab(subject.within[0])
    top = await gitlab.resolve(spec.kind, spec.target)
    by_projects = resource.status.get("groupMode") == "ProjectHooks"
    parents = (await gitlab.projects(top))[:MOST_PROJECTS] if by_projects else [top]
    wrongs = [it for parent in parents for it in await _at(patient, subject, resource, spec, gitlab, parent)]
    for it in wrongs:
        yield it
    ready = find(resource.conditions, READY)
    if not wrongs and ready and ready.status == "False":
        yield wrong(causes.RESOURCE_NOT_READY, f"{ready.reason}: {ready.message}")
    elif not wrongs:
        yield fine(f"as the resource wants it, in {', '.join(parent.path for parent in parents)}")


async def _at(
    patient: Patient, subject: Subject, resource: Resource, spec: ProjectSpec, gitlab: GitLab, parent: Parent
) -> list[Seen]:
    from gitpulse_operator.reconcile.hook import desired_for, url_id

    assert patient.world
    desired = desired_for(resource, spec, parent, patient.world)
    observed = await gitlab.hooks(parent)
    ours = sorted(
        (it for it in observed if is_ours(desired, it)), key=lambda it: it.attributes.get("url") != desired.url
    )
    if not ours:
        return [_missing(resource, parent)]
    name = subject.name if resource.status.get("groupMode") != "ProjectHooks" else f"{subject.name} in {parent.path}"
    hook = Hook(name, subject.name, subject.within[0], parent, ours[0], url_id(resource, parent, patient.world))
    patient.hooks.append(hook)
    seen = _changed(drift(desired, ours[0]), ours[0].attributes)
    return seen or await _overlap(patient, gitlab, parent, ours[0], observed)


def _missing(resource: Resource, parent: Parent) -> Seen:
    ready = find(resource.conditions, READY)
    if ready and ready.reason == "RefusedByGitLab":
        blocked = "invalid url" in ready.message.lower()
        return wrong(causes.OUTBOUND_BLOCKED if blocked else causes.HOOK_REFUSED, ready.message)
    return wrong(causes.HOOK_MISSING, f"none of the hooks of {parent.path} is this one")


def _changed(changes: Mapping[str, str | bool], now: Mapping[str, Attribute]) -> list[Seen]:
    """What in a hook keeps deliveries from being sent, or from being understood."""
    seen = []
    if "url" in changes:
        seen.append(
            wrong(causes.HOOK_ELSEWHERE, f"it points to {_place(str(now.get('url')))}, and should to {changes['url']}")
        )
    if off := [name for name, wanted in changes.items() if name.endswith("_events") and wanted]:
        seen.append(wrong(causes.HOOK_EVENTS, f"off are {', '.join(off)}"))
    if "custom_webhook_template" in changes:
        seen.append(wrong(causes.HOOK_TEMPLATE, "the hook has a custom template"))
    if "push_events_branch_filter" in changes:
        seen.append(
            wrong(causes.HOOK_FILTERED, f"only branches like {now.get('push_events_branch_filter')} are told of")
        )
    return seen


async def _overlap(
    patient: Patient, gitlab: GitLab, parent: Parent, hook: ObservedHook, observed: Iterable[ObservedHook]
) -> list[Seen]:
    """Other hooks that send here what this one sends: beside it, and of the groups above as far as they can be seen."""
    others = {parent.path: [it for it in observed if it.id != hook.id]}
    parts = parent.path.split("/")[:-1]
    for length in range(len(parts), 0, -1):
        try:
            group = await gitlab.resolve("Group", "/".join(parts[:length]))
            others[group.path] = await gitlab.hooks(group)
        except OperatorError:  # Free, or no Owner: then our own group's hook cannot be there either
            break
    doubles = [
        f"hook {it.id} of {path}" for path, found in others.items() for it in found if _doubles(patient, hook, it)
    ]
    if not doubles:
        return []
    return [wrong(causes.HOOKS_OVERLAP, f"hook {hook.id} of {parent.path}, and {', '.join(doubles)}")]


def _doubles(patient: Patient, hook: ObservedHook, other: ObservedHook) -> bool:
    both = (it.attributes for it in (hook, other))
    wanted = [{name for name, value in them.items() if name.endswith("_events") and value} for them in both]
    return is_for(str(other.attributes.get("url")), patient.url) and bool(wanted[0] & wanted[1])


async def _by_hand(patient: Patient, subject: Subject) -> AsyncIterator[Seen]:
    """The hooks in those projects and groups that the token may manage, or in those that were named."""
    gitlab = await patient.gitlab(subject.name)
    if patient.names:
        parents = [await gitlab.resolve("Project", name) for name in patient.names]
    else:
        parents = [place.parent for place in await gitlab.places("Project", 1)]
    wrongs = []
    for parent in parents:
        observed = await gitlab.hooks(parent)
        ours = [it for it in observed if is_for(str(it.attributes.get("url")), patient.url)]
        if patient.names and not ours:
            wrongs.append(_none_by_hand(patient, parent.path))
        for hook in ours[:1]:
            patient.hooks.append(Hook(parent.path, "", subject.name, parent, hook, ""))
            template = hook.attributes.get("custom_webhook_template")
            seen = [wrong(causes.HOOK_TEMPLATE, f"hook {hook.id} of {parent.path}")] if template else []
            wrongs += seen or await _overlap(patient, gitlab, parent, hook, observed)
    where = ", ".join(patient.names) or f"the {len(parents)} projects that the token's owner maintains"
    if not (patient.names or patient.hooks):
        wrongs.append(_none_by_hand(patient, where))
    for it in wrongs:
        yield it
    if not wrongs:
        yield fine(f"{len(patient.hooks)} of {where} send here")


def _none_by_hand(patient: Patient, where: str) -> Seen:
    return wrong(causes.HOOK_MISSING, f"no hook of {where} has a URL with {patient.url}{WEBHOOK_PATH}")


def _place(url: str) -> str:
    """Without what may be secret: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


HOOK = Check("hook", subjects, look, needs=("spec", "operator", "directory", "gitlab"))
