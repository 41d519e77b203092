"""What receivers have noted since the last look: which resources would now say something else of their deliveries.

One look is a few pipelined reads of Redis, however many hooks there are, and no request to GitLab or Kubernetes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gitpulse_operator.domain.conditions import DELIVERING, READY, find
from gitpulse_operator.domain.delivery import Feedback, is_news
from gitpulse_operator.domain.revival import anyone_alive
from gitpulse_operator.metrics import HOOKS
from gitpulse_operator.names import PROJECT
from gitpulse_operator.reconcile.backfill import is_over
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import World
from gitpulse_operator.reconcile.resource import Ref, Resource, mapping
from gitpulse_service.contract import hook_id

AT_ONCE = 200
"""Hooks in one read, so that nothing else waits long for its turn."""
LOOKED_AFTER = {"Installed", "HookDisabled", "ReceiverUnreachable", "SecretRefused"}
"""Reasons of `Ready` with which a run comes to its end. With any other the next one has a date of its own."""
STATES = ("desired", "installed", "delivering", "disabled", "failing")
"""Of `status.hooks`."""
OF_REASON = {"SecretRefused": "refused", "ReceiverUnreachable": "unreachable"}
"""States that the reason of `Delivering` tells."""
OFF_FOR_GOOD = "disabled_for_good"
SHOWN = (*STATES, OFF_FOR_GOOD, *OF_REASON.values())


class News:
    """Looks at all projects that an inventory knows."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._inventory = world.inventory
        self._seen: dict[str, Feedback] = {}

    async def look(self) -> list[Ref]:
        """Those that are worth a run now; counts the hooks by the way. Raises DirectoryUnavailable."""
        acknowledged = [moment for _, moment in (await self._world.directory.acknowledgements()).values()]
        received = anyone_alive(acknowledged, self._world.clock())
        refs = self._inventory.refs(PROJECT)
        worth: list[Ref] = []
        seen: dict[str, Feedback] = {}
        states = Counter(dict.fromkeys(SHOWN, 0))
        for start in range(0, len(refs), AT_ONCE):
            bodies = [body for ref in refs[start : start + AT_ONCE] if (body := self._inventory.get(ref))]
            hooks = self._hooks([Resource.from_body(body) for body in bodies], states)
            states[OFF_FOR_GOOD] += sum(self._world.memory.of(hook).off_for_good for hook in hooks)
            feedback = await self._world.directory.feedback(*hooks)
            seen.update(zip(hooks, feedback, strict=True))
            worth += [
                resource.ref for hook, resource in hooks.items() if self._is_worth(resource, seen, hook, received)
            ]
        self._seen = seen
        self._world.memory.keep(seen)
        for state in SHOWN:
            HOOKS.labels(state).set(states[state])
        return worth

    def _hooks(self, resources: Sequence[Resource], states: Counter[str]) -> dict[str, Resource]:
        """By the id in the hook's URL, of those that have one."""
        found: dict[str, Resource] = {}
        for resource in resources:
            if self._inventory.members(resource.ref):
                continue  # they are looked at one by one
            counts = mapping(resource.status.get("hooks"))
            states.update({state: count for state in STATES if isinstance(count := counts.get(state), int)})
            arrives = find(resource.conditions, DELIVERING)
            if arrives and arrives.status == "False" and arrives.reason in OF_REASON:
                states[OF_REASON[arrives.reason]] += 1
            remembered = Findings.remembered(resource)
            if (parent := remembered.parent) and remembered.single:
                found[hook_id(self._world.installation_key, resource.uid, parent.key)] = resource
        return found

    def _is_worth(self, resource: Resource, feedback: dict[str, Feedback], hook: str, received: bool) -> bool:
        ready, before = find(resource.conditions, READY), find(resource.conditions, DELIVERING)
        if resource.deleted_at or ready is None or ready.reason not in LOOKED_AFTER:
            return False
        memory = self._world.memory.of(hook)
        if received and memory.waits_for_receiver:
            memory.waits_for_receiver = False
            return True
        if is_over(resource.status, feedback[hook]):
            return True
        seen = self._seen.get(hook)
        return feedback[hook] != seen and is_news(before, feedback[hook], seen, self._world.clock())
