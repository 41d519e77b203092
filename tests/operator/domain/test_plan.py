"""From the hooks that there are to the one that there should be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from gitpulse_operator.domain.hooks import DesiredHook, ObservedHook, desired_hook, drift, is_ours
from gitpulse_operator.domain.plan import Create, Delete, Pushed, Update, make_plan, ours_among
from gitpulse_operator.domain.spec import parse_project

PATH = "/api/v1/webhooks/gitlab/abc"
SPEC = parse_project({"project": "acme/website", "connectionRef": {"name": "gitlab"}})
DESIRED = desired_hook(SPEC, base="https://gitpulse.example.com", path=PATH, name="GitPulse 1: a/b")
SIGNED = {"token_present": False, "signing_token_present": True, "alert_status": "executable"}


def observed(number: int = 5, **attributes: object) -> ObservedHook:
    """A hook as desired but for these attributes."""
    return ObservedHook(number, {**DESIRED.attributes, **SIGNED, **attributes})


def planned(*hooks: ObservedHook, pushed: Pushed | None = Pushed(5, 1, "SigningToken"), **facts):  # noqa: B008
    facts = {"generation": 1, "verification": "SigningToken", **facts}
    return make_plan(DESIRED, hooks, pushed=pushed, **facts)


def test_nothing_to_do():
    plan = planned(observed())
    assert (plan.actions, plan.keep) == ((), observed())


def test_create_where_none_is_ours():
    foreign = ObservedHook(
        9, {"url": "https://gitpulse.example.com/api/v1/webhooks/gitlab/xyz", "name": "GitPulse 2: a/b"}
    )
    assert planned(foreign).actions == (Create(DESIRED.attributes),)
    assert planned(pushed=None).actions == (Create(DESIRED.attributes),)


@pytest.mark.parametrize(
    ("hook", "pushed", "facts"),
    [
        pytest.param(observed(), None, {}, id="adopted: who knows what it holds"),
        pytest.param(observed(), Pushed(4, 1, "SigningToken"), {}, id="it went to another hook"),
        pytest.param(observed(), Pushed(5, 1, "SigningToken"), {"generation": 2}, id="a new generation"),
        pytest.param(observed(), Pushed(5, 1, "Token"), {}, id="a token so far"),
        pytest.param(observed(signing_token_present=False), Pushed(5, 1, "SigningToken"), {}, id="taken away"),
        pytest.param(observed(token_present=True), Pushed(5, 1, "SigningToken"), {}, id="a token beside it"),
        pytest.param(
            observed(signing_token_present=False),
            Pushed(5, 1, "Token"),
            {"verification": "Token"},
            id="token taken away",
        ),
        pytest.param(
            observed(token_present=True),
            Pushed(5, 1, "Token"),
            {"verification": "Token"},
            id="a signing token beside it: receivers would go by that",
        ),
    ],
)
def test_secrets_are_sent_when_gitlab_may_not_have_them(hook, pushed, facts):
    assert planned(hook, pushed=pushed, **facts).actions == (Update(5, {}, secrets=True),)


def test_a_token_is_left_beside_the_signing_token_while_one_gives_way_to_the_other():
    both = observed(token_present=True)
    assert planned(both, leave_token=True).actions == ()
    assert planned(both).actions == (Update(5, {}, secrets=True),)
    gone = observed(signing_token_present=False)
    assert planned(gone, leave_token=True).actions == (Update(5, {}, secrets=True),)


def test_an_older_gitlab_says_nothing_of_secrets_and_gets_them_once():
    silent = ObservedHook(5, dict(DESIRED.attributes))
    facts = {"verification": "Token"}
    assert planned(silent, pushed=Pushed(5, 1, "Token"), **facts).actions == ()
    assert planned(silent, pushed=None, **facts).actions == (Update(5, {}, secrets=True),)


@pytest.mark.parametrize("attribute", [name for name in DESIRED.attributes if name != "url"])
def test_every_readable_attribute_is_put_right(attribute):
    wanted = DESIRED.attributes[attribute]
    changed = observed(**{attribute: not wanted if isinstance(wanted, bool) else "changed"})
    assert planned(changed).actions == (Update(5, {attribute: wanted}, secrets=False),)


def test_a_changed_url_carries_the_secrets():
    moved = observed(url=f"https://old.example.com{PATH}")
    assert planned(moved).actions == (Update(5, {"url": DESIRED.url}, secrets=True),)


@pytest.mark.parametrize(
    ("hooks", "pushed", "facts", "drifted"),
    [
        pytest.param([], Pushed(5, 1, "SigningToken"), {}, True, id="deleted"),
        pytest.param([], None, {}, False, id="never made"),
        pytest.param([], Pushed(0, 1, "SigningToken"), {}, False, id="one for all in the place of one each"),
        pytest.param([observed(name="x")], Pushed(5, 1, "SigningToken"), {}, True, id="changed"),
        pytest.param([observed(name="x")], Pushed(5, 1, "SigningToken"), {"generation": 2}, True, id="and due anyway"),
        pytest.param([observed(name="x")], None, {}, False, id="adopted"),
        pytest.param([observed(), observed(7)], Pushed(5, 1, "SigningToken"), {}, True, id="doubled"),
        pytest.param([observed(token_present=True)], Pushed(5, 1, "SigningToken"), {}, True, id="another secret"),
        pytest.param([observed()], Pushed(5, 1, "SigningToken"), {"generation": 2}, False, id="a new generation"),
        pytest.param([observed()], Pushed(5, 1, "Token"), {}, False, id="a token so far"),
        pytest.param([observed()], Pushed(5, 1, "SigningToken"), {}, False, id="as it was"),
    ],
)
def test_what_is_no_more_as_we_left_it_has_drifted(hooks, pushed, facts, drifted):
    assert planned(*hooks, pushed=pushed, **facts).drifted is drifted


def test_what_gitlab_does_not_show_is_no_drift():
    shown = {k: v for k, v in DESIRED.attributes.items() if k not in ("name", "description", "milestone_events")}
    old = ObservedHook(5, {**shown, "push_events_branch_filter": None, "custom_webhook_template": None})
    assert drift(DESIRED, old) == {}


def test_the_best_of_duplicates_stays():
    wrong_url, ours, later = observed(3, url="https://x.example"), observed(5), observed(7)
    plan = planned(wrong_url, later, ours)
    assert plan.keep == ours
    assert plan.actions == (Delete(7), Delete(3))
    assert planned(later, observed(6), pushed=None).keep == observed(6)


def test_a_removal_takes_all_of_ours_and_only_those():
    hooks = [
        observed(1),
        ObservedHook(2, {"url": "https://ci.example.com"}),
        observed(3, name="x"),
        observed(4, url="y"),
    ]
    assert ours_among(DESIRED, hooks) == (Delete(1), Delete(3), Delete(4))


urls = st.sampled_from([DESIRED.url, f"https://old.example.com{PATH}", "https://ci.example.com", f"{DESIRED.url}x"])
names = st.sampled_from([DESIRED.name, "CI", None, f"{DESIRED.name}2"])
worlds = st.lists(st.tuples(urls, names, st.booleans(), st.booleans()), max_size=6)


def apply(desired: DesiredHook, hooks: dict[int, ObservedHook], actions) -> dict[int, ObservedHook]:
    """What GitLab does."""
    after = dict(hooks)
    for action in actions:
        match action:
            case Create():
                after[100] = ObservedHook(100, {**action.attributes, **SIGNED})
            case Update():
                secrets = SIGNED if action.secrets else {}
                before = after[action.hook_id]
                after[before.id] = replace(before, attributes={**before.attributes, **action.attributes, **secrets})
            case Delete():
                del after[action.hook_id]
    return after


@given(worlds, st.integers(1, 6) | st.none())
def test_from_any_world_one_plan_is_enough(world, pushed_to):
    hooks = {
        number: observed(number, url=url, name=name, push_events=push, token_present=token)
        for number, (url, name, push, token) in enumerate(world, 1)
    }
    pushed = Pushed(pushed_to, 1, "SigningToken") if pushed_to else None
    foreign = {number: hook for number, hook in hooks.items() if not is_ours(DESIRED, hook)}
    after = apply(DESIRED, hooks, planned(*hooks.values(), pushed=pushed).actions)
    (ours,) = [hook for hook in after.values() if is_ours(DESIRED, hook)]
    assert drift(DESIRED, ours) == {}
    assert {number: hook for number, hook in after.items() if hook is not ours} == foreign
    assert planned(*after.values(), pushed=Pushed(ours.id, 1, "SigningToken")).actions == ()
