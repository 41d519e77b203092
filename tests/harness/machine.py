"""Random lives of an operator: users, GitLab, strangers, clocks and crashes, in any order. See `settled` for the end.

At every step, also between any two steps of a run, a delivery that GitLab makes with what we gave it would be taken;
and whatever is not ours, or is to be left alone, stays as it is.
"""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gitpulse_service.contract import hook_id, installation_id
from gitpulse_service.receiver.verification import Refusal
from gitpulse_sim.faults import Fault
from gitpulse_sim.hook import WRITABLE, Hook
from gitpulse_sim.world import Group, Parent
from harness import settled
from harness.ground import KEY, Fate, Ground, Operator, uid
from harness.house import resource
from harness.mortal import Killed

NAMES = ("web", "web-2", "all")
INSTALLATION = installation_id(KEY)
VERSIONS = ("17.3.0", "18.5.0", "19.0.0", "19.1.0")
PLAIN, SIGNED = "plain-token", "whsec_" + 43 * "A" + "="
MINE = (None, PLAIN, "another-token", SIGNED, "whsec_" + 42 * "A" + "E=", "no good")
SECRETS: tuple[dict[str, Any], ...] = (
    {},
    {"type": "Token"},
    {"type": "SigningToken"},
    {"secretRef": {"name": "mine"}},
    {"secretRef": {"name": "mine"}, "type": "Token"},
    {"rotationInterval": "24h", "overlap": "5m"},
)
EDITS = st.one_of(
    st.tuples(st.just("events"), st.sampled_from((["Push"], ["Push", "Issue", "TagPush"], ["Deployment"]))),
    st.tuples(st.just("sslVerification"), st.booleans()),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("adoptionPolicy"), st.sampled_from(("Adopt", "Observe"))),
    st.tuples(st.just("deletionPolicy"), st.sampled_from(("Delete", "Orphan"))),
    st.tuples(st.just("secret"), st.sampled_from(SECRETS)),
    st.tuples(st.just("groupMode"), st.sampled_from(("Auto", "ProjectHooks"))),
)
STRANGERS = (
    ("GitPulse", "https://elsewhere.example/api/v1/webhooks/gitlab"),
    ("GitPulse 00000000: default/web", "https://elsewhere.example/api/v1/webhooks/gitlab/" + 32 * "a"),
    (f"GitPulse {INSTALLATION}: default/web-3", "https://elsewhere.example/"),
    (None, "{base}/api/v1/webhooks/gitlab"),
)
STEPS = st.integers(1, 60)
WHICH = st.integers(0, 5)


def look_of(hook: Hook) -> tuple[object, ...]:
    """All of a hook that a hand can change."""
    return (*(str(getattr(hook, name)) for name in WRITABLE if name != "events"), *sorted(hook.events))


class Machine(RuleBasedStateMachine):
    """One sequence. `ground` is set in a subclass."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self.ground.wipe()
        self.world = self.ground.world
        self.specs: dict[str, dict[str, Any]] = {}
        self.gone: dict[str, dict[str, Any]] = {}
        """Deleted by their users, and not yet cleaned up."""
        self.births: dict[str, int] = {}
        self.annotations: dict[str, dict[str, str]] = {}
        self.mine: str | None = None
        self.token_valid = True
        self.former: dict[str, Parent] = {}
        """Places by the paths that they had."""
        self.alien: dict[int, tuple[object, ...]] = {}
        """Hooks that another hand has made or changed, or that were left behind: what they send may be refused."""
        self.on_their_way: dict[tuple[int, str], list[tuple[str | None, str | None]]] = {}
        """With what deliveries of a hook were made a moment ago, and may arrive now."""
        self.left: set[int] = set()
        self.lost: set[str] = set()
        """Routes to places of which the operator may have died before it noted that it was there."""
        self.violations: list[str] = []
        self.count = 0
        self.fate = Fate(self.watch)
        self.operator = Operator(self.ground, self.births, self.fate)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.settle()
        finally:
            self.operator.end()

    # --- what is so ---------------------------------------------------------------------------------------------------

    @property
    def places(self) -> list[Parent]:
        return self.world.parents

    def hooks(self) -> list[Hook]:
        """Those that GitLab has; of a group's it knows nothing without a licence for them."""
        known = self.world.parents if self.world.instance.has_group_hooks else self.world.projects.values()
        return [hook for place in known for hook in place.hooks.values()]

    def owner(self, hook: Hook) -> str | None:
        """Whose hook it is, by its name or the end of its URL."""
        place = f"{hook.parent_kind}/{hook.parent_id}"
        for name in NAMES:
            ends = f"/api/v1/webhooks/gitlab/{hook_id(KEY, uid(name, self.births), place)}"
            if hook.name == f"GitPulse {INSTALLATION}: default/{name}" or hook.url.endswith(ends):
                return name
        return None

    def ours(self, which: int) -> Hook | None:
        """One of our hooks, if there is any."""
        found = [hook for hook in self.hooks() if self.owner(hook)]
        return found[which % len(found)] if found else None

    def estrange(self, hook: Hook) -> None:
        self.alien[hook.id] = (hook.url, hook.token, hook.signing_token)

    def lose(self, name: str) -> None:
        """The target changes: what was made at the old one in the moment before a crash is not found again."""
        place = settled.meant(self, name)
        if place and not settled.is_remembered(self, name, place):
            for each in {place, *settled.tree(self, place)}:
                self.lost.add(settled.route_id(self, name, each))
                for hook in each.hooks.values():
                    if self.owner(hook) == name:
                        self.left.add(hook.id)
                        self.estrange(hook)

    def left_alone(self) -> dict[int, tuple[object, ...]]:
        """What no run may touch."""
        alone = {n for n, spec in self.specs.items() if spec.get("suspend") or spec.get("adoptionPolicy") == "Observe"}
        return {hook.id: look_of(hook) for hook in self.hooks() if self.owner(hook) in {None, *alone}}

    def watch(self) -> None:
        """Would anything be refused at this moment?"""
        for hook in self.hooks():
            given = self.alien.get(hook.id) != (hook.url, hook.token, hook.signing_token)
            if given and self.owner(hook) not in self.gone:
                sent = self.on_their_way.setdefault((hook.id, hook.url), [])
                now = hook.token, hook.signing_token
                for verdict in self.ground.verdicts(hook, [now, *sent]):
                    if isinstance(verdict, Refusal):
                        self.violations.append(f"a delivery of {hook.name} would be refused: {verdict}")
                if now not in sent:
                    sent.append(now)
            else:
                self.on_their_way.pop((hook.id, hook.url), None)

    def check(self) -> None:
        self.watch()
        assert not self.violations, self.violations[0]

    # --- the operator -------------------------------------------------------------------------------------------------

    def documents(self) -> list[dict[str, Any]]:
        url = {"url": self.ground.simulator.url, "tokenSecretRef": {"name": "token"}, "requestsPerSecond": 1000}
        secrets = {"token": self.ground.simulator.token} | ({"mine": self.mine} if self.mine else {})
        documents = [
            resource("GitLabConnection", "gitlab", url),
            *(resource("GitPulseProject", name, spec) for name, spec in self.specs.items()),
            *({"kind": "Secret", "metadata": {"name": n}, "stringData": {"token": v}} for n, v in secrets.items()),
        ]
        for document in documents:
            document["metadata"]["annotations"] = dict(self.annotations.get(document["metadata"]["name"], {}))
        return documents

    def run(self, names: set[str] | None = None) -> None:
        before = self.left_alone()
        try:
            self.operator.look_after(self.documents(), names)
        except Killed:
            self.restart()
        finally:
            self.fate.set()
        after = {hook.id: look_of(hook) for hook in self.hooks()}
        for number, look in before.items():
            assert after.get(number) == look, f"hook {number} was not to be touched: it was {look}"
        for name in [name for name in self.gone if not self.operator.cluster.knows(name)]:
            policy = self.gone.pop(name).get("deletionPolicy", "Delete")
            for hook in [hook for hook in self.hooks() if self.owner(hook) == name]:
                if hook.id not in self.left:
                    assert policy == "Orphan" or not self.token_valid, f"hook {hook.id} of {name} was left behind"
                self.left.add(hook.id)
                self.estrange(hook)
        self.check()

    @initialize(version=st.sampled_from(VERSIONS))
    def begin(self, version: str) -> None:
        self.world.instance.version = version
        self.make("web", 0)

    @rule(delivers=st.booleans())
    def round(self, delivers: bool) -> None:
        self.run()
        if delivers:
            self.ground.deliver()
            self.run()

    @rule(which=st.sampled_from(NAMES))
    def run_over(self, which: str) -> None:
        self.run({which})

    @rule(step=STEPS)
    def killed(self, step: int) -> None:
        self.fate.set(step)
        self.run()

    @rule(step=STEPS)
    def stumbles(self, step: int) -> None:
        """One request fails: it never arrives, or its answer is lost."""
        self.fate.set(step, stumbles=True)
        self.run()

    @rule()
    def restart(self) -> None:
        self.operator.end()
        self.operator = Operator(self.ground, self.births, self.fate)

    # --- users --------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), which=WHICH)
    def make(self, name: str, which: int) -> None:
        if name in self.specs or name in self.gone:
            return
        self.births[name] = self.births.get(name, 0) + 1
        self.specs[name] = {"connectionRef": {"name": "gitlab"}}
        self.target(name, which)

    @rule(name=st.sampled_from(NAMES), which=WHICH)
    def target(self, name: str, which: int) -> None:
        if name not in self.specs:
            return
        place = self.places[which % len(self.places)]
        kind = "group" if isinstance(place, Group) else "project"
        self.lose(name)
        spec = {key: value for key, value in self.specs[name].items() if key not in ("project", "group", "groupMode")}
        self.specs[name] = {**spec, kind: place.full_path if which < len(self.places) else str(place.id)}

    @rule(name=st.sampled_from(NAMES), edit=EDITS)
    def edit(self, name: str, edit: tuple[str, Any]) -> None:
        if name in self.specs and (edit[0] != "groupMode" or "group" in self.specs[name]):
            self.specs[name] = {**self.specs[name], edit[0]: edit[1]}

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.specs:
            self.lose(name)
            spec = self.specs.pop(name)
            if self.operator.cluster.knows(name):
                self.gone[name] = spec

    @rule(mine=st.sampled_from(MINE))
    def bring(self, mine: str | None) -> None:
        self.mine = mine

    @rule(name=st.sampled_from((*NAMES, "gitlab")), what=st.sampled_from(("rotate", "rotate", "reconcile")))
    def ask(self, name: str, what: str) -> None:
        self.count += 1
        self.annotations.setdefault(name, {})[f"gitpulse.io/{what}-requested-at"] = str(self.count)

    # --- GitLab -------------------------------------------------------------------------------------------------------

    @rule(
        status=st.sampled_from((500, 502, 429)),
        wait=st.sampled_from((None, 30)),
        method=st.sampled_from(("*", "GET", "POST", "PUT", "DELETE")),
        count=st.integers(1, 3),
    )
    def fault(self, status: int, wait: int | None, method: str, count: int) -> None:
        self.world.faults.append(Fault(status=status, retry_after=wait, method=method, count=count))

    @rule(valid=st.booleans())
    def token(self, valid: bool) -> None:
        self.token_valid = valid
        self.ground.token(valid=valid)

    @rule(version=st.sampled_from(VERSIONS))
    def upgrade(self, version: str) -> None:
        self.world.instance.version = max(version, self.world.instance.version)

    @rule(which=WHICH, moved=st.booleans())
    def rename(self, which: int, moved: bool) -> None:
        project = list(self.world.projects.values())[which % len(self.world.projects)]
        self.count += 1
        for name in self.specs:
            self.lose(name)
        self.former[project.full_path] = project
        groups = list(self.world.groups.values())
        group = groups[(groups.index(project.group) + moved) % len(groups)]
        self.world.move(project, group=group, path=f"{self.ground.names[project]}-{self.count}")

    @rule(which=WHICH)
    def archive(self, which: int) -> None:
        """Or take out of the archive."""
        project = list(self.world.projects.values())[which % len(self.world.projects)]
        project.archived = not project.archived

    @rule(tier=st.sampled_from(("free", "premium")))
    def license(self, tier: Any) -> None:
        """Without one for group hooks nobody hears of those that there are; they are back with it, as they were."""
        self.world.instance.tier = tier
        for hook in [hook for group in self.world.groups.values() for hook in group.hooks.values()]:
            self.left.add(hook.id)
            self.estrange(hook)

    @rule(which=WHICH, failures=st.sampled_from((3, 5, 40)))
    def fail(self, which: int, failures: int) -> None:
        """Deliveries fail, by which GitLab may switch a hook off."""
        if hook := self.ours(which):
            hook.recent_failures = failures
            hook.failed(self.world.instance, self.world.clock.now())

    # --- strangers ----------------------------------------------------------------------------------------------------

    @rule(
        which=WHICH, how=st.sampled_from(("host", "path", "name", "events", "ssl", "token", "delete", "copy", "copy"))
    )
    def meddle(self, which: int, how: str) -> None:
        hook = self.ours(which)
        if hook is None:
            return
        self.count += 1
        hooks = self.world.parent_of(hook).hooks
        match how:
            case "host" | "path":
                path = hook.url.partition("/api/")[2] if how == "host" else "gone"
                hook.url, hook.token = f"https://mirror-{self.count}.example/api/{path}", None
                self.estrange(hook)
            case "name":
                hook.name = f"Renamed {self.count}"
            case "events":
                hook.events = hook.events ^ {"push_events", "wiki_page_events"}
            case "ssl":
                hook.enable_ssl_verification = not hook.enable_ssl_verification
            case "token" if self.world.instance.at_least(19, 0):  # before, GitLab does not show it
                hook.token = hook.signing_token = None
                self.estrange(hook)
            case "delete":
                del hooks[hook.id]
            case "copy":
                self.add(hook.parent_kind, hook.parent_id, hook.name, hook.url)

    @rule(which=WHICH, what=st.sampled_from(STRANGERS))
    def stranger(self, which: int, what: tuple[str | None, str]) -> None:
        place = self.places[which % len(self.places)]
        self.add(place.kind, place.id, what[0], what[1].format(base=self.ground.public_url))

    def add(self, kind: Any, parent: int, name: str | None, url: str) -> None:
        hook = Hook(
            id=self.world.next_id("hook"), parent_kind=kind, parent_id=parent, created_at=self.world.clock.now(),
            url=url, name=name,
        )  # fmt: skip
        self.world.parent_of(hook).hooks[hook.id] = hook
        self.estrange(hook)

    # --- receivers and time -------------------------------------------------------------------------------------------

    @rule()
    def deliver(self) -> None:
        self.ground.deliver()

    @rule(asked=st.booleans())
    def lag(self, asked: bool) -> None:
        self.ground.lag()
        if asked:
            self.ask("web", "rotate")

    @precondition(lambda self: self.ground.laggard)
    @rule()
    def catch_up(self) -> None:
        self.ground.laggard = None

    @rule()
    def flush(self) -> None:
        """Redis loses all it had; with it what is known of hooks made in the moment before a crash."""
        for hook in self.hooks():
            if (name := self.owner(hook)) in self.specs and not settled.is_remembered(
                self, name, self.world.parent_of(hook)
            ):
                self.estrange(hook)
        self.ground.laggard = None
        self.ground.redis.flushall()

    @rule(seconds=st.sampled_from((30, 61, 600, 4000, 300_000, 8_000_000)))
    def wait(self, seconds: int) -> None:
        self.advance(seconds)

    def advance(self, seconds: int) -> None:
        self.ground.advance(seconds)
        if seconds > 60:
            self.on_their_way.clear()

    # --- the end ------------------------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        """Nothing stands in the way any more."""
        self.world.faults.clear()
        self.token(valid=True)
        self.ground.laggard = None
        settled.come_to_rest(self)
        wrong = settled.wrongs(self)
        assert not wrong, wrong[0]
