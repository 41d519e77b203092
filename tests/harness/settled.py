"""What must be so once nothing stands in the operator's way: told from users' wishes and GitLab, not from its code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gitpulse_operator.domain.events import toggles
from gitpulse_operator.metrics import GITLAB_REQUESTS
from gitpulse_service.contract import hook_id
from gitpulse_service.receiver.verification import Refusal
from gitpulse_sim.hook import Hook
from gitpulse_sim.world import Group, Parent, Project
from harness.ground import KEY, uid

if TYPE_CHECKING:
    from harness.machine import Machine

ROUNDS = 25
PAUSE = 3900
"""Seconds between them: longer than any overlap or backoff."""
DEFAULT_EVENTS = ["Push", "MergeRequest", "Note", "Issue", "Pipeline"]


def come_to_rest(machine: Machine) -> None:
    """Time passes, hooks deliver, the operator runs, until a run changes nothing; that one must be cheap."""
    ground, state = machine.ground, machine.ground.state
    for _ in range(ROUNDS):
        machine.advance(PAUSE)
        ground.deliver()
        before = _mark(machine)
        machine.run()
        if _mark(machine) == before:
            break
    else:
        raise AssertionError(f"it does not come to rest: {state.read_text()}")
    asked = _requests()
    machine.run()
    asked = _requests() - asked
    assert _mark(machine) == before, "a second run changes something"
    # Who only observes does not note where the target is by now, and asks.
    awake = sum(
        len(places_of(machine, name)) * (1 + (spec.get("adoptionPolicy") == "Observe"))
        for name, spec in machine.specs.items()
        if not spec.get("suspend")
    )
    assert asked <= awake + 2, f"{asked:g} requests to GitLab at rest, for {machine.specs} and a connection"


def wrongs(machine: Machine) -> list[str]:
    """What is not as it should be."""
    found = [f"{name}: {wrong}" for name in machine.specs for wrong in _wrongs_of(machine, name)]
    known = {route for name in machine.specs for route in _route_ids(machine, name)}
    if strays := machine.ground.routes().keys() - known - machine.lost:
        found.append(f"routes are left for what is gone: {sorted(strays)}")
    if machine.gone:
        found.append(f"not cleaned up: {sorted(machine.gone)}")
    return found


def _mark(machine: Machine) -> tuple[object, ...]:
    from harness.machine import look_of  # noqa: PLC0415

    state = machine.ground.state
    written = state.stat().st_mtime_ns if state.exists() else 0
    looks = [(hook.id, hook.recent_failures, look_of(hook)) for hook in machine.hooks()]
    return written, looks, machine.ground.routes()


def _requests() -> float:
    samples = (sample for metric in GITLAB_REQUESTS.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


def _wrongs_of(machine: Machine, name: str) -> Iterator[str]:
    spec, seen = machine.specs[name], machine.operator.resource(name)
    status: Any = seen.status
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    if status["observedGeneration"] != seen.generation:
        yield f"generation {seen.generation} was not observed"
    place = meant(machine, name)
    if obstacle := _obstacle(machine, spec, place):
        if conditions["Ready"][1] != obstacle or conditions["Ready"][0] == "True":
            yield f"Ready is {conditions['Ready']}, and the reason is {obstacle}"
        return
    assert place is not None
    places = places_of(machine, name)
    hooks = [hook for hook in machine.hooks() if machine.owner(hook) == name]
    there = [hook for hook in hooks if any(hook.id in place.hooks for place in places)]
    one_each = len(there) == len(places) == len({(hook.parent_kind, hook.parent_id) for hook in there})
    if spec.get("adoptionPolicy") == "Observe":
        right = one_each and not any(any(_differences(machine, name, hook)) for hook in there)
        if (conditions["Ready"] == ("True", "Installed")) and not right:
            yield f"is ready, and its hook is not as it asks: {hooks}"
        return
    if not one_each or any(hook.id not in machine.left for hook in hooks if hook not in there):
        yield f"wants one hook in each of {[place.full_path for place in places]}, and has {hooks}"
        return
    yield from _untruths(machine, there, conditions, status)
    for hook in there:
        yield from _differences(machine, name, hook)
        yield from _untruths_of_hook(machine, name, hook, status)


def _differences(machine: Machine, name: str, hook: Hook) -> Iterator[str]:
    spec, place = machine.specs[name], machine.world.parent_of(hook)
    key = route_id(machine, name, place)
    kind: Any = "Group" if isinstance(place, Group) else "Project"
    wanted = {toggle for toggle, on in toggles(spec.get("events", DEFAULT_EVENTS), kind).items() if on}
    if hook.url != f"{machine.ground.public_url}/api/v1/webhooks/gitlab/{key}":
        yield f"its URL is {hook.url}"
    if hook.events != wanted or hook.enable_ssl_verification != spec.get("sslVerification", True):
        yield f"it asks for {sorted(hook.events)}, TLS check {hook.enable_ssl_verification}"
    if machine.owner(hook) != name or not (hook.name or "").endswith(f"/{name}"):
        yield f"its name is {hook.name}"


def _untruths(machine: Machine, hooks: list[Hook], conditions: Any, status: Any) -> Iterator[str]:
    """What its status says that is not so."""
    wanted = {"Ready": "Installed", "HookInstalled": "Installed", "SecretCurrent": "Current"}
    wanted |= {"Delivering": "Proven"} if hooks else {}
    for kind, reason in wanted.items():
        if conditions.get(kind) != ("True", reason):
            yield f"{kind} is {conditions.get(kind)}"
    count = len(hooks)
    if status["hooks"] != {"desired": count, "installed": count, "delivering": count, "disabled": 0, "failing": 0}:
        yield f"its counts are {status['hooks']}, and there are {count}"
    if "hookID" in status and status["hookID"] not in [hook.id for hook in hooks]:
        yield f"it has hook {status['hookID']}"


def _untruths_of_hook(machine: Machine, name: str, hook: Hook, status: Any) -> Iterator[str]:
    """The same of its secret, and of what receivers know."""
    verdicts = machine.ground.verdicts(hook)
    if isinstance(verdicts[0], Refusal) or status["secret"]["generation"] != verdicts[0]:
        yield f"hook {hook.id} delivers with {verdicts}, the status says {status['secret']}"
    route = machine.ground.routes()[hook.url.rpartition("/")[2]]
    signs = _signs(machine, machine.specs[name])
    if signs is not None and (bool(hook.signing_token), bool(hook.token)) != (signs, not signs):
        yield f"it is to be signed: {signs}, and has a signing token: {bool(hook.signing_token)}, a token: {hook.token}"
    if len(route.credentials) != 1 or route.require_signature != bool(hook.signing_token):
        yield f"receivers accept {route}"
    if (
        status["secret"]["phase"] != "Stable"
        or status["secret"]["type"] != ("Token", "SigningToken")[route.require_signature]
    ):
        yield f"the status says {status['secret']}"


def is_remembered(machine: Machine, name: str, place: Parent) -> bool:
    """Whether the status tells that the hook is there."""
    state = machine.ground.state
    entry = json.loads(state.read_text()).get(f"GitPulseProject/default/{name}", {}) if state.exists() else {}
    target = entry.get("status", {}).get("target", {})
    return (str(target.get("kind")).lower(), target.get("id")) == (place.kind, place.id)


def places_of(machine: Machine, name: str) -> list[Parent]:
    """Where the resource's hooks belong: one in the place that it names, or one in each project of that group."""
    place, mode = meant(machine, name), machine.specs[name].get("groupMode", "Auto")
    if isinstance(place, Group) and (mode == "ProjectHooks" or not machine.world.instance.has_group_hooks):
        return [project for project in tree(machine, place) if not project.archived]
    return [place] if place else []


def tree(machine: Machine, place: Parent) -> list[Project]:
    """The projects of a group and of those within."""
    return [project for project in machine.world.projects.values() if place in project.lineage()]


def meant(machine: Machine, name: str) -> Parent | None:
    """The place that the resource names, or that had that name: GitLab leads from there to the present one."""
    spec = machine.specs[name]
    kind = "group" if "group" in spec else "project"
    if kind not in spec:
        return None
    for place in machine.places:
        if place.kind == kind and spec[kind] in (place.full_path, str(place.id)):
            return place
    return machine.former.get(spec[kind])


def _obstacle(machine: Machine, spec: dict[str, Any], place: Parent | None) -> str:
    """What only a person can take out of the way."""
    secret, mine = spec.get("secret", {}), machine.mine
    if spec.get("suspend"):
        return "Suspended"
    if place is None:
        return "TargetNotFound"
    if "secretRef" in secret:
        if mine is None:
            return "HookSecretMissing"
        if " " in mine or (secret.get("type") == "Token" and mine.startswith("whsec_")):
            return "HookSecretInvalid"
    return "SignatureUnavailable" if _signs(machine, spec) and not machine.world.instance.at_least(19, 0) else ""


def _signs(machine: Machine, spec: dict[str, Any]) -> bool | None:
    """Whether its deliveries are to be signed; None: as it has come about."""
    secret, instance = spec.get("secret", {}), machine.world.instance
    if "secretRef" in secret:
        return str(machine.mine).startswith("whsec_")
    if "type" in secret:
        return bool(secret["type"] == "SigningToken")
    return None if instance.release == (19, 0) else instance.at_least(19, 1)


def _route_ids(machine: Machine, name: str) -> set[str]:
    """Of the hooks that its status speaks of."""
    status: Any = machine.operator.resource(name).status
    target = status.get("target")
    if not target:
        return set()
    if status.get("groupMode") == "ProjectHooks":
        known = _obstacle(machine, machine.specs[name], meant(machine, name))  # then nobody looks for projects
        places: Any = machine.world.projects.values() if known else places_of(machine, name)
        return {route_id(machine, name, place) for place in places}
    return {hook_id(KEY, uid(name, machine.births), f"{target['kind'].lower()}/{target['id']}")}


def route_id(machine: Machine, name: str, place: Parent) -> str:
    """The end of the URL of its hook there."""
    return hook_id(KEY, uid(name, machine.births), f"{place.kind}/{place.id}")
