"""What deliveries do not tell is asked: a simulated GitLab with real git, real Redis, both databases."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from gitpulse_service.errors import GitLabFailed
from gitpulse_service.events.decode import decode
from gitpulse_service.store import keys
from gitpulse_service.store.engine import writing
from gitpulse_service.store.tables import merge_request, push, release, review, todo
from gitpulse_service.store.todo import done, waiting
from gitpulse_service.store.write import apply
from gitpulse_service.worker import fetcher
from gitpulse_sim import ci, discussions, releases
from gitpulse_sim.faults import Fault
from gitpulse_sim.repository import Draft, Person
from harness.asking import desk
from harness.samples import INSTANCE, body, envelope
from harness.target import running_target

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def at(simulator, engine, redis_url):
    with running_target() as target:
        simulator.world.add_hook(simulator.website, target.url)
        async with desk(simulator, target, engine, redis_url) as it:
            yield it


async def forced(at) -> list[int | None]:
    return [one for (one,) in await at.rows(sa.select(push.c.forced).order_by(push.c.received_at))]


async def agrees(at) -> None:
    assert await at.commits(at.simulator.website) == at.true_commits(at.simulator.website)


async def test_a_push_of_500_is_fetched(at):
    at.simulator.push(commits=2)
    at.simulator.push(commits=500)
    await at.heard()
    assert len(await at.commits(at.simulator.website)) == 22
    await at.ask()
    await agrees(at)
    assert await forced(at) == [0, 0]
    at.simulator.push(branch="wide", commits=230)
    await at.heard()
    await at.ask()
    await agrees(at)


async def test_a_rebase_takes_the_old_commits_away(at):
    at.simulator.push(commits=2)
    at.simulator.push(branch="topic", commits=3)
    at.simulator.push(commits=1)
    at.simulator.run(at.simulator.forge.rebase(at.simulator.website, at.simulator.world.user("bob"), "topic", at=NOW))
    await at.heard()
    assert len(await at.commits(at.simulator.website)) == 9
    await at.ask()
    await agrees(at)
    assert await forced(at) == [0, 0, 0, 1]


async def test_clocks_that_are_wrong_make_no_force_push(at):
    """Of commits that are dated long before their parent, git's range lists that parent too."""
    website, bob = at.simulator.website, at.simulator.world.user("bob")
    at.simulator.push(commits=2, at=NOW)
    before = website.repository.tip("main")
    early = NOW - timedelta(days=40)
    drafts = [
        Draft(message=str(n), author=Person("Bob", "bob@acme.example"), at=early, files={f"{n}": "x\n"})
        for n in range(30)
    ]
    at.simulator.run(at.simulator.forge.push(website, bob, "main", drafts))
    assert website.repository.log(f"main..{before}"), "git is not misled"
    await at.heard()
    await at.ask()
    await agrees(at)
    assert await forced(at) == [0, 0]


async def test_what_another_branch_has_stays(at):
    at.simulator.push(commits=2)
    at.simulator.push(branch="topic", commits=5)
    bob, website = at.simulator.world.user("bob"), at.simulator.website
    (third, *_) = website.repository.git("rev-parse", "topic~2").split()
    website.repository.point("refs/heads/kept", third)
    at.simulator.run(at.simulator.forge.delete(website, bob, "refs/heads/topic"))
    await at.heard()
    await at.ask()
    assert len(await at.commits(website)) == 5
    await agrees(at)


async def test_an_unmerged_branch_goes_and_comes_back(at):
    at.simulator.push(commits=2)
    at.simulator.push(branch="topic", commits=3)
    bob, website = at.simulator.world.user("bob"), at.simulator.website
    tip = website.repository.tip("topic")
    gone = at.simulator.run(at.simulator.forge.delete(website, bob, "refs/heads/topic"))
    await at.heard()
    await at.ask()
    assert gone.before == tip
    assert len(await at.commits(website)) == 2
    await agrees(at)
    drafts = [Draft(message="More", author=Person("Bob", "bob@acme.example"), at=NOW, files={"a": "b\n"})]
    at.simulator.run(at.simulator.forge.push(website, bob, "again", drafts, onto=tip))
    await at.heard()
    assert len(await at.commits(website)) == 6
    await at.ask()
    await agrees(at)


@pytest.mark.parametrize("late", ["before", "after"])
async def test_who_hears_of_it_late_does_not_count_it(at, late):
    at.simulator.push(commits=2)
    at.simulator.push(branch="topic", commits=3)
    pushes = at.hear()
    at.simulator.run(
        at.simulator.forge.delete(at.simulator.website, at.simulator.world.user("bob"), "refs/heads/topic")
    )
    await at.heard()
    if late == "after":
        await at.ask()
        pushes = [replace(each, received_at=int(time.time() * 1000)) for each in pushes]
    await at.count(pushes)
    await at.ask()
    await agrees(at)


async def test_a_redacted_push_learns_its_authors(at):
    at.simulator.push(commits=3)
    (one,) = at.hear(_redacted)
    await at.count([one])
    assert set((await at.commits(at.simulator.website)).values()) == {None}
    await at.ask()
    await agrees(at)


async def test_what_is_delivered_again_changes_nothing(at):
    at.simulator.push(commits=30)
    at.simulator.push(branch="topic", commits=25)
    at.simulator.run(at.simulator.forge.rebase(at.simulator.website, at.simulator.world.user("bob"), "main", at=NOW))
    deliveries = at.hear()
    await at.count(deliveries)
    await at.ask()
    before = await at.commits(at.simulator.website), await forced(at)
    await at.count(reversed(deliveries))
    await at.ask()
    assert (await at.commits(at.simulator.website), await forced(at)) == before
    await agrees(at)


async def test_a_tag_holds_commits_and_lets_them_go(at):
    at.simulator.push(commits=2)
    at.simulator.push(branch="topic", commits=3)
    bob, website, forge = at.simulator.world.user("bob"), at.simulator.website, at.simulator.forge
    tip = website.repository.tip("topic")
    at.simulator.run(forge.delete(website, bob, "refs/heads/topic"))
    await at.heard()
    await at.ask()
    at.simulator.run(forge.tag(website, bob, "v1", at=NOW, target=tip, message="Kept"))
    await at.heard()
    await at.ask()
    assert len(await at.commits(website)) == 5
    await agrees(at)
    at.simulator.run(forge.delete(website, bob, "refs/tags/v1"))
    await at.heard()
    await at.ask()
    assert len(await at.commits(website)) == 2
    await agrees(at)


async def test_a_merge_request_of_an_old_gitlab(at):
    """Neither the merge's moment nor the approval's is in its deliveries."""
    at.simulator.push(commits=1)
    at.simulator.push(branch="topic", commits=1)
    website, forge = at.simulator.website, at.simulator.forge
    bob, alice = at.simulator.world.user("bob"), at.simulator.world.user("alice")
    run, past = at.simulator.run, NOW - timedelta(days=2)
    mr = run(discussions.open_merge_request(forge, website, bob, "topic", title="One", at=past))
    run(discussions.approve(forge, website, alice, mr, at=past + timedelta(hours=1)))
    run(discussions.merge(forge, website, bob, mr, at=past + timedelta(hours=2)))
    await at.count(at.hear(_untimed))
    ((approved,),) = await at.rows(sa.select(review.c.at))
    assert approved >= NOW, "as received"
    assert await at.rows(sa.select(merge_request.c.merged_at)) != [(past + timedelta(hours=2),)]
    await at.ask()
    assert await at.rows(sa.select(merge_request.c.merged_at)) == [(past + timedelta(hours=2),)]
    assert await at.rows(sa.select(review.c.at)) == [(past + timedelta(hours=1),)]


async def test_a_question_that_comes_up_again_while_it_is_asked_is_asked_again(engine):
    names = "merge_request/approved", "merge_request/label_after_merge"
    told = [envelope(body(name), received_at=1_769_900_000_000 + i) for i, name in enumerate(names)]
    for again in (True, False):
        await apply(engine, [(told[0], decode(told[0]))])
        (task,) = await waiting(engine, INSTANCE, but=(), limit=9)
        if again:  # GitLab has answered: not merged
            await apply(engine, [(told[1], decode(told[1]))])
        async with writing(engine) as connection:
            await done(connection, task, ())
        assert len(await waiting(engine, INSTANCE, but=(), limit=9)) == again


def _untimed(body):
    if body["object_kind"] == "merge_request":
        for name in ("merged_at", "actioned_at"):
            body["object_attributes"].pop(name, None)
        body["object_attributes"]["updated_at"] = str(NOW - timedelta(days=1))
    return body


async def test_a_merge_request_was_deployed_when_it_first_came_into_production(at):
    at.simulator.push(commits=1)
    at.simulator.push(branch="topic", commits=1)
    here, bob = (at.simulator.forge, at.simulator.website), at.simulator.world.user("bob")
    run, past = at.simulator.run, NOW - timedelta(days=2)
    mr = run(discussions.open_merge_request(*here, bob, "topic", title="One", at=past))
    run(discussions.merge(*here, bob, mr, at=past + timedelta(hours=1)))
    commit = run(at.simulator.forge.newest(at.simulator.website, "main"))
    for hours, place, status in (
        (2, "staging", "success"),
        (3, "production", "failed"),
        (4, "production", "success"),
        (5, "prod-eu", "success"),
    ):
        one = run(ci.deploy(*here, bob, place, at=past, commit=commit))
        run(ci.change_deployment(*here, one, status, at=past + timedelta(hours=hours)))
    deliveries = at.hear()
    for told in (deliveries, reversed(deliveries)):
        await at.count(told)
        await at.ask()
        assert await at.rows(sa.select(merge_request.c.deployed_at)) == [(past + timedelta(hours=4),)]


async def test_a_tag_of_no_commit_holds_up_no_backfill(at):
    at.simulator.push(commits=1)
    repository = at.simulator.website.repository
    key = repository.git("hash-object", "-w", "--stdin", stdin=b"a public key").strip()
    repository.point("refs/tags/key", key)
    at.hear()  # and nobody else
    assert (await at.backfill(at.simulator.website)).state == "Done"
    await agrees(at)


async def test_production_is_found_among_many_environments(at):
    at.simulator.push(commits=1)
    forge, website, bob = at.simulator.forge, at.simulator.website, at.simulator.world.user("bob")
    for number in range(100):
        at.simulator.world.environment(website, f"review/{number}")
    commit = at.simulator.run(forge.newest(website, "main"))
    one = at.simulator.run(ci.deploy(forge, website, bob, "production", at=NOW, commit=commit))
    at.simulator.run(ci.change_deployment(forge, website, one, "success", at=NOW))
    at.hear()  # and nobody else
    await at.backfill(website)
    assert "deployments" not in await at.disagreements(website)


async def test_releases_whose_end_nobody_heard_of(at):
    """One was taken back, one made again for the same tag, and of one a change was missed."""
    at.simulator.push(commits=1)
    here, alice, run = (at.simulator.forge, at.simulator.website), at.simulator.world.user("alice"), at.simulator.run
    past = NOW - timedelta(days=3)
    taken, made_again, changed = (run(releases.create(*here, alice, tag, at=past)) for tag in ("v1", "v2", "v3"))
    changed.released_at = past + timedelta(hours=1)
    run(releases.tell(*here, changed, "update"))
    await at.count(replace(each, received_at=each.received_at - 60_000) for each in at.hear())
    for gone in (taken, made_again):
        run(releases.delete(*here, gone))
    run(releases.create(*here, alice, "v2", at=past + timedelta(days=1)))
    changed.released_at = past + timedelta(hours=2)
    at.hear()  # and nobody else
    await at.backfill(at.simulator.website)
    c = release.c
    there = sa.select(c.tag, c.released_at).where(c.deleted.is_(None)).order_by(c.tag)
    assert await at.rows(there) == [("v2", past + timedelta(days=1)), ("v3", past + timedelta(hours=2))]
    assert "releases" not in await at.disagreements(at.simulator.website)


async def test_what_was_fetched_is_told_live(at):
    updates = at.live.updates()
    waiting = asyncio.ensure_future(anext(updates))
    while not waiting.done():
        await at.live.tell([], [])
        await asyncio.wait([waiting], timeout=0.05)
    at.simulator.push(commits=30)
    await at.heard()
    project = keys.project(at.simulator.url, at.simulator.website.id)
    for asked in (at.ask, lambda: at.backfill(at.simulator.website, days=1)):
        await asked()
        async with asyncio.timeout(20):
            while (news := await anext(updates)) == (set(), set()):
                pass
        assert news == ({project}, {"push"})
    await updates.aclose()


async def test_a_project_that_is_gone_ends_its_questions(at):
    at.simulator.push(commits=30)
    await at.heard()
    at.simulator.world.faults.append(Fault(path="/api/v4/projects/1/*", status=404, count=-1))
    await at.ask()
    assert len(await at.commits(at.simulator.website)) == 20


async def test_a_broken_project_waits_and_others_do_not(at):
    at.simulator.push(commits=30)
    await at.heard()
    at.simulator.world.faults.append(broken := Fault(path="/api/v4/projects/1/*", status=500, count=-1))
    assert await at.fetcher.run(at.simulator.url, seconds=5)
    assert broken.matched == 1
    assert await at.rows(sa.select(sa.func.count()).select_from(todo)) == [(1,)]


async def test_a_question_that_fails_holds_up_no_other(at, monkeypatch):
    monkeypatch.setattr(fetcher, "PATIENCE", 0.05)
    monkeypatch.setattr(fetcher, "MORE_PATIENCE", 0.5)
    at.simulator.push(commits=1)
    at.simulator.push(branch="topic", commits=30)
    at.simulator.push(commits=30)
    await at.heard()
    at.simulator.world.faults.append(Fault(path="/api/v4/projects/1", status=500, count=-1))  # asked of a new branch
    while await at.rows(sa.select(sa.func.count()).select_from(todo)) != [(1,)]:
        assert await at.fetcher.run(at.simulator.url, seconds=5)
    assert len(await at.commits(at.simulator.website)) == 51
    at.simulator.world.faults.clear()
    while await at.rows(sa.select(todo)):
        assert await at.fetcher.run(at.simulator.url, seconds=5)
    await agrees(at)


async def test_gitlab_may_ask_for_patience(at):
    at.simulator.push(commits=30)
    await at.heard()
    at.simulator.world.faults.append(Fault(path="/api/v4/projects/1/*", status=429, retry_after=7, count=1))
    with pytest.raises(GitLabFailed) as refused:
        await at.ask()
    assert refused.value.retry_after == 7
    await at.ask()
    await agrees(at)


def _redacted(body):
    for one in body["commits"]:
        one["author"]["email"] = "[REDACTED]"
    return body
