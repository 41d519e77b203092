"""One hook's secrets over one run: made, rotated step by step, and dropped again.

What comes next is decided by `domain.rotation`; here it is done. The order of the writes is what makes a crash
harmless: the Kubernetes Secret knows a generation before receivers do, they before GitLab, and the status comes last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gitpulse_operator.domain import rotation
from gitpulse_operator.domain.conditions import timestamp
from gitpulse_operator.domain.credentials import (
    ROOT_BYTES,
    SIGNS_WHEN_SWITCHED_ON,
    Generation,
    HookSecret,
    Verification,
    brought_verification,
    check_brought,
    choose_verification,
    generations,
)
from gitpulse_operator.domain.delivery import Feedback, delivering
from gitpulse_operator.domain.hooks import ObservedHook, Parent
from gitpulse_operator.domain.plan import Pushed
from gitpulse_operator.domain.revival import triggers
from gitpulse_operator.domain.rotation import Decision, Facts, Wish
from gitpulse_operator.domain.spec import ProjectSpec
from gitpulse_operator.domain.versions import parse_version
from gitpulse_operator.errors import (
    ClusterUnavailable,
    HookSecretMissing,
    OperatorError,
    RateLimited,
    SignatureUnavailable,
)
from gitpulse_operator.metrics import ROTATIONS
from gitpulse_operator.names import secret_name
from gitpulse_operator.reconcile.findings import Findings
from gitpulse_operator.reconcile.ports import GitLab, World
from gitpulse_operator.reconcile.resource import Note, Resource

NO_SIGNATURE = (
    "this GitLab takes no signing token, which it does from 19.0 on. "
    'Update it, or set `secret.type` to "Token" if plain tokens will do'
)
ACKNOWLEDGED_WITHIN = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between looks at what receivers have taken over, within a run: usually milliseconds are enough."""


@dataclass(slots=True)
class Rotation:
    """The secrets of one hook, in one run."""

    resource: Resource
    spec: ProjectSpec
    found: Findings
    gitlab: GitLab
    parent: Parent
    route_id: str
    pushed: Pushed | None
    """What the hook at this parent was given, by the status."""
    brought: bytes | None = field(repr=False)
    verification: Verification
    """How deliveries are to be verified in the end."""
    world: World
    data: Mapping[str, bytes] = field(repr=False)
    """What the Kubernetes Secret holds."""
    held: list[Generation]
    """The generations in it, newest first; all of them are published."""
    feedback: Feedback
    lagging: tuple[str, ...] = ()
    wish: Wish | None = None
    turn: float | None = None
    """Seconds until it may begin, where many want to."""

    @classmethod
    async def load(
        cls,
        resource: Resource,
        spec: ProjectSpec,
        found: Findings,
        gitlab: GitLab,
        parent: Parent,
        route_id: str,
        pushed: Pushed | None,
        world: World,
    ) -> Rotation:
        """Reads what there is; makes the first generation if there is none."""
        data = await stored(resource, world)
        held = generations(data)
        if not resource.ref.member:
            brought = await _brought(resource, spec, world)
        elif held:
            brought = held[0].material if held[0].brought else None
        else:
            raise ClusterUnavailable("its group has no secret yet")
        verification = _verification(spec, brought, pushed, parse_version(await gitlab.version()))
        (feedback,) = await world.directory.feedback(route_id)
        if not held:
            # In place of a Secret that was lost comes a number that nothing speaks of yet.
            number = max([found.pushed.generation if found.pushed else 0, *feedback.accepted]) + 1
            held = [_made(number, brought, world)]
            data = held[0].entry
            await world.cluster.create_secret(resource, secret_name(resource.ref.name), data)
        place = gitlab, parent, route_id
        return cls(resource, spec, found, *place, pushed, brought, verification, world, data, held, feedback)

    @property
    def secrets(self) -> list[HookSecret]:
        """The credentials of all generations, the newest first."""
        return [generation.secret(self.parent.key) for generation in self.held]

    @property
    def weakest(self) -> Verification:
        """The least by which a delivery is authentic at the moment."""
        numbers = tuple(generation.number for generation in self.held)
        return rotation.weakest(numbers, self.pushed, self.found.previous)

    @property
    def settled(self) -> bool:
        """Whether there is one generation, so that what it needs no longer is not taken either."""
        return len(self.held) == 1

    # --- before the hook is looked after ------------------------------------------------------------------------------

    @property
    def led(self) -> bool:
        """Whether it is one of many with the same generations, which their group begins and ends."""
        return self.resource.ref.member != 0

    async def lead(self, pushed: Pushed, *, proven: bool) -> bool:
        """Begins and ends it for all projects of a group. Returns whether the generations have changed.

        `pushed` is what all of them were given, `proven`: whether each has delivered with it.
        """
        before, self.pushed = self.held, pushed
        self.feedback = Feedback({pushed.generation: 1} if proven else {}, None, "")
        await self.begin(None)
        if self.held == before:
            self.given(pushed)
            if rotation.decide(self._facts(None)).step == "Drop":
                await self.drop()
        self._stand(rotation.decide(self._facts(None)))
        return self.held != before

    async def begin(self, hook: ObservedHook | None) -> None:
        """Stores a new generation beside the old one, if it is time for that."""
        if self.led:
            return
        self.wish = self._wish()
        facts = self._facts(hook)
        decision = rotation.decide(facts)
        if decision.step == "Begin" and facts.wish and facts.wish.shared:
            place = self.resource.ref.namespace, self.spec.connection
            if wait := self.world.connections.rotation_turn(*place, self.resource.ref):
                self.turn = wait
                return
        if decision.step != "Begin" or facts.wish is None:
            return
        new = _made(self.held[0].number + 1, self.brought, self.world)
        await self._change(new.entry)
        ROTATIONS.labels("begun").inc()
        text = f"Secret generation {new.number} takes the place of {self.held[1].number}: {facts.wish.why}"
        self.found.notes.append(Note("Normal", "RotationBegun", text))
        self.wish = None

    async def aim(self, hook: ObservedHook | None) -> tuple[HookSecret, Verification]:
        """What GitLab is to be given in this run, now that receivers are told of all generations."""
        if not self.settled and self._facts(hook).pushed != self.held[0].number:
            self.lagging = await self._wait_for_receivers()
        facts = self._facts(hook)
        number = rotation.aim(facts)
        self._stand(rotation.decide(facts))
        secret = next(secret for secret in self.secrets if secret.generation == number)
        if self.pushed and number == self.pushed.generation:
            return secret, self.pushed.verification
        if not (secret.token and secret.signing_key):  # what was brought is one of the two
            return secret, "Token" if secret.token else "SigningToken"
        return secret, self.verification

    def attributes(self, secret: HookSecret, verification: Verification) -> dict[str, str]:
        """What GitLab is sent: while a signature takes the place of the token, both."""
        sent = secret.attributes(verification)
        pushed = self.pushed
        if self.leaves_token(verification) and pushed and pushed.verification == "Token":
            sent["token"] = next((it.token for it in self.secrets if it.generation == pushed.generation), "")
        return sent

    def leaves_token(self, verification: Verification) -> bool:
        """Whether a plain token that the hook has beside the signing token is left there for now."""
        return verification == "SigningToken" and not self.settled

    # --- after --------------------------------------------------------------------------------------------------------

    def given(self, pushed: Pushed) -> None:
        """GitLab has taken it. With a new generation all that was asked for until now is done."""
        before = self.found.pushed
        if before is None or pushed.generation != before.generation or self.found.rotated_at is None:
            self.found.rotated_at = timestamp(self.world.clock())
            self.found.rotations_answered = self._requests()
        if before and pushed.generation != before.generation:
            self.found.previous = before.verification
            self.wish = None
        self.pushed = self.found.pushed = pushed
        self._stand(rotation.decide(self._facts(self.found.hook)))

    async def prove(self, hook: ObservedHook) -> bool:
        """Looks for a delivery with the new generation, or asks for one. Returns whether the old ones may go."""
        (self.feedback,) = await self.world.directory.feedback(self.route_id)
        decision = rotation.decide(self._facts(hook))
        if decision.step == "Test":
            trouble, again = await self._test(hook)
            (self.feedback,) = await self.world.directory.feedback(self.route_id)
            decision = rotation.decide(self._facts(hook))
            if decision.step == "Test" and trouble:
                waits = f"{decision.standing.waits}, and test deliveries do not work: {trouble}"
                decision = Decision("Wait", replace(decision.standing, waits=waits), max(again, rotation.NEXT_TEST))
        self._stand(decision)
        return decision.step == "Drop"

    async def drop(self) -> None:
        """Forgets the old generations. GitLab must hold nothing but the new one."""
        old = [key for generation in self.held[1:] for key in generation.entry]
        await self._change(dict.fromkeys(old))
        ROTATIONS.labels("completed").inc()
        self.found.notes.append(
            Note("Normal", "SecretRotated", f"Secret generation {self.held[0].number} is the only one in use now")
        )
        self._stand(rotation.decide(self._facts(self.found.hook)))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _facts(self, hook: ObservedHook | None) -> Facts:
        now = self.world.clock()
        return Facts(
            held=tuple(generation.number for generation in self.held),
            pushed=self.pushed.generation if self.pushed else None,
            proven=self.feedback.accepted,
            lagging=self.lagging,
            healthy=hook is None or delivering(hook, self.feedback, None, None, now).status != "False",
            switched_on=hook is None or hook.state == "executable",
            wish=self.wish,
            phase=self.found.phase,
            since=self.found.phase_since or now,
            now=now,
            overlap=self.spec.secret.overlap,
            pace=self.world.pace,
        )

    def _wish(self) -> Wish | None:
        answered = self.found.rotations_answered
        return rotation.wish(
            self.held[0],
            self.pushed,
            brought=self.brought,
            verification=self.verification,
            requests={asker: (asked, answered.get(asker)) for asker, asked in self._requests().items()},
            made_at=self.found.rotated,
            interval=self.spec.secret.rotation_interval,
            now=self.world.clock(),
        )

    def _requests(self) -> dict[str, str | None]:
        place = self.resource.ref.namespace, self.spec.connection
        return {
            "resource": self.resource.rotation_requested,
            "connection": self.world.connections.rotation_requested(*place),
        }

    def _stand(self, decision: Decision) -> None:
        self.found.standing = decision.standing
        self.found.again = self.turn if decision.again is None else decision.again

    async def _change(self, changes: Mapping[str, bytes | None]) -> None:
        name = secret_name(self.resource.ref.name)
        await self.world.cluster.change_secret(self.resource, name, self.data, changes)
        after = {**self.data, **changes}
        self.data = {key: value for key, value in after.items() if value is not None}
        self.held = generations(self.data)

    async def _wait_for_receivers(self) -> tuple[str, ...]:
        directory = self.world.directory
        version = await directory.version()
        behind: tuple[str, ...] = ()
        for pause in ACKNOWLEDGED_WITHIN:
            await asyncio.sleep(pause)
            behind = rotation.lagging(version, await directory.acknowledgements(), self.world.clock())
            if not behind:
                break
        return behind

    async def _test(self, hook: ObservedHook) -> tuple[str, float]:
        """Asks for test deliveries until one is taken. Returns what was in the way of the last one, and a pause."""
        trouble = ""
        for trigger in triggers(hook.attributes):
            try:
                attempt = await self.gitlab.test_hook(self.parent, hook.id, trigger)
            except RateLimited as error:
                return "GitLab asks for fewer of them", error.retry_after or 0.0
            except OperatorError as error:
                return str(error), 0.0
            if attempt.result == "delivered":
                return "", 0.0
            trouble = attempt.said
        return trouble, 0.0


async def stored(resource: Resource, world: World) -> Mapping[str, bytes]:
    """What its Kubernetes Secret holds; for a project of a group, what that of the group held when it was last read."""
    if resource.ref.member:
        return world.memory.group(resource.ref.whole).secret
    return await world.cluster.secret(resource.ref.namespace, secret_name(resource.ref.name)) or {}


def _made(number: int, brought: bytes | None, world: World) -> Generation:
    if brought is not None:
        return Generation(number, brought, brought=True)
    return Generation(number, world.entropy(ROOT_BYTES))


async def _brought(resource: Resource, spec: ProjectSpec, world: World) -> bytes | None:
    """What `secret.secretRef` names; None where it names nothing."""
    ref = spec.secret.ref
    if ref is None:
        return None
    data = await world.cluster.secret(resource.ref.namespace, ref.name)
    if not data or ref.key not in data:
        raise HookSecretMissing(f'there is no Secret "{ref.name}" with a key "{ref.key}", as `secret.secretRef` has it')
    return check_brought(data[ref.key])


def _verification(
    spec: ProjectSpec, brought: bytes | None, pushed: Pushed | None, version: tuple[int, int]
) -> Verification:
    wanted = (
        choose_verification(spec.secret.type, version=version, before=pushed.verification if pushed else None)
        if brought is None
        else brought_verification(brought, spec.secret.type)
    )
    if wanted == "SigningToken" and version < SIGNS_WHEN_SWITCHED_ON:
        raise SignatureUnavailable(NO_SIGNATURE)
    return wanted
