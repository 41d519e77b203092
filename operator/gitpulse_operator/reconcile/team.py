"""Looks after a GitPulseTeam: is it right and free of contradictions? Then workers are told of it."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import asdict

from gitpulse_operator.domain.conditions import READY, Condition, failure
from gitpulse_operator.domain.spec import TeamSpec, parse_team
from gitpulse_operator.errors import AliasTaken, NameTaken, OperatorError, SpecInvalid
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Body, Outcome, Ref, Resource, mapping
from gitpulse_service.contract import Person, Team


async def reconcile_team(resource: Resource, world: World) -> Outcome:
    """Publishes the team unless spec or name are wrong, and says whether it is in use as it is written."""
    error: OperatorError | None = None
    status: dict[str, object] = {}
    try:
        spec = parse_team(resource.spec)
        status["members"] = len(spec.members)
        await _publish(resource.ref, spec, world)
        conditions = [Condition(READY, "True", "InUse", f"{len(spec.members)} members are known by their names.")]
    except OperatorError as caught:
        error = caught
        conditions = [*failure(reason=caught.reason, message=str(caught), passing=caught.retryable)]
    return Outcome(status | resource.answer(conditions, world.clock()), error=error)


def record(name: str, spec: TeamSpec, namespace: str = "") -> Team:
    """The team as workers and the store know it."""
    members = tuple(Person(**asdict(member)) for member in spec.members)
    return Team(name, members, spec.time_zone, spec.bots, namespace)


async def _publish(ref: Ref, spec: TeamSpec, world: World) -> None:
    others = [other for other in world.inventory.refs(ref.kind) if other != ref]
    older = [other for other in others if other.name == ref.name and _age(other, world) < _age(ref, world)]
    if older:
        await world.directory.withdraw_team(ref.namespace, ref.name)
        raise NameTaken(f"{older[0]} is older and has this name; rename one of them")
    await world.directory.publish_team(record(ref.name, spec, ref.namespace))
    claims: defaultdict[str, dict[str, Ref]] = defaultdict(dict)
    for team in (*others, ref):
        with contextlib.suppress(SpecInvalid):  # which is told there
            for member in parse_team(mapping(_body(team, world).get("spec"))).members:
                for alias in member.aliases():
                    claims[alias][member.name.casefold()] = team
    for alias in sorted(set().union(*(member.aliases() for member in spec.members))):
        if len(claims[alias]) > 1:
            whose = " and ".join(f"{name} ({team})" for name, team in sorted(claims[alias].items()))
            raise AliasTaken(f"{alias} is claimed by {whose}; it counts for the first of them")


def _age(ref: Ref, world: World) -> tuple[str, str]:
    return str(mapping(_body(ref, world).get("metadata")).get("creationTimestamp")), ref.namespace


def _body(ref: Ref, world: World) -> Body:
    return world.inventory.get(ref) or {}
