"""What was before a hook, or while it was off, is fetched: by the facts of random histories it is all there."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa

from gitpulse_service import metrics
from gitpulse_service.contract import Backfill
from gitpulse_service.store import tables
from gitpulse_service.worker.jobs import check
from gitpulse_sim.wild import play, wild_world
from harness.asking import desk, heard_at
from harness.simulator import simulator_in
from harness.target import running_target

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def wild(simulators):
    """A GitLab with two or three projects in which 80 things happened, all of them in the past."""

    @contextlib.contextmanager
    def wild(seed: int, hook: str = ""):
        random = Random(seed)
        with simulator_in(simulators, lambda: wild_world(random)) as simulator:
            simulator.token = "wild-token"
            for project in simulator.world.projects.values() if hook else ():
                simulator.world.add_hook(project, hook)
            simulator.run(play(simulator.forge, random, 80))
            yield simulator

    return wild


@pytest.mark.parametrize("seed", [0, 1])
async def test_a_project_that_nobody_told_of(wild, engine, redis_url, seed):
    with wild(seed) as simulator, running_target() as target:
        async with desk(simulator, target, engine, redis_url) as it:
            for project in simulator.world.projects.values():
                filling = await it.backfill(project, days=730)
                assert (filling.state, filling.finished, filling.of) == ("Done", 1, 1), filling
                wrong = await it.disagreements(project)
                assert wrong == {}, report(wrong)


async def test_a_project_in_which_nothing_has_happened(simulator, engine, redis_url):
    with running_target() as target:
        async with desk(simulator, target, engine, redis_url) as it:
            simulator.website.last_event_at = NOW - timedelta(days=2)
            filling = await it.backfill(simulator.website)
            assert (filling.state, filling.finished, set(filling.counts.values())) == ("Done", 1, {0})
            (known,) = await it.rows(sa.select(tables.project.c.path, tables.project.c.last_event_at))
            assert known == ("acme/website", NOW - timedelta(days=2))


async def test_a_backfill_that_waits_for_an_answer_holds_up_no_other(simulator, engine, redis_url):
    """Nobody can be asked about a project that the tables do not have."""
    with running_target() as target:
        async with desk(simulator, target, engine, redis_url) as it:
            until = int(time.time())
            for name, project in (("waiting", simulator.website), ("other", simulator.world.project("acme/api"))):
                request = Backfill(name, name, simulator.url, f"project/{project.id}", until - 86400, until)
                await it.backfills.ask(request)
            question = {"project": 1, "kind": "backfill/releases", "item": "[]", "hook_id": "waiting", "since": NOW}
            async with engine.begin() as connection:
                await connection.execute(sa.insert(tables.todo).values(question))
            assert await it.fetcher.run(simulator.url, seconds=20)
            assert (await it.backfills.filling(request)).state == "Done"


@pytest.mark.parametrize("seed", [0, 1])
async def test_deliveries_that_came_late_twice_or_never(wild, engine, redis_url, seed):
    random = Random(seed)
    with running_target() as target, wild(seed, target.url) as simulator:
        async with desk(simulator, target, engine, redis_url) as it:
            deliveries = it.hear()
            came = [one for one in deliveries for _ in range(random.choice([0, 1, 1, 1, 1, 2]))]
            random.shuffle(came)
            await it.count(came[: len(came) // 2])
            await it.ask()
            await it.count(came[len(came) // 2 :])
            await it.ask()
            heard = await heard_at(it.engine)
            for project in simulator.world.projects.values():
                await it.backfill(project, days=730)
                wrong = await it.disagreements(project, heard)
                assert wrong == {}, report(wrong)
                again = await it.backfill(project, days=729)
                assert set(again.counts.values()) == {0}
                assert await it.disagreements(project, heard) == {}


async def test_a_check_finds_what_is_wrong_and_repairs_it(wild, engine, redis_url):
    with wild(0) as simulator, running_target() as target:
        async with desk(simulator, target, engine, redis_url) as it:
            project = next(iter(simulator.world.projects.values()))
            simulator.push(project=project.full_path, user="ann", branch="secret", commits=2)
            await it.backfill(project, days=730)
            before = checked()
            await it.backfill(project, days=729, check=True)
            assert (checked() - before)["different"] == 0
            assert (checked() - before)["same"] > 50
            project.repository.delete("refs/heads/secret")  # nobody is told
            async with engine.begin() as connection:
                for table in (tables.merge_request, tables.review, tables.job):
                    await connection.execute(sa.delete(table))
                await connection.execute(sa.update(tables.issue).values(state="opened", version=b""))
            assert {"commits", "merge_requests_opened", "jobs"} <= (await it.disagreements(project)).keys()
            before = checked()
            await it.backfill(project, days=728, check=True)
            assert (checked() - before)["different"] > 5
            wrong = await it.disagreements(project)
            assert wrong == {}, report(wrong)
            assert await it.backfills.shown() == [], "metrics tell of it"
            assert 0 < metrics.CHECK_ERROR.collect()[0].samples[0].value < 1


async def test_some_projects_are_checked_each_night(wild, engine, redis_url):
    with wild(1) as simulator, running_target() as target:
        async with desk(simulator, target, engine, redis_url) as it:
            projects = list(simulator.world.projects.values())
            for project in projects:
                await it.backfill(project, days=730)
            await check({"fetcher": it.fetcher, "check_projects": 1})
            (request,) = await it.backfills.pending(simulator.url)
            assert request.check
            assert request.parent in {f"project/{project.id}" for project in projects}
            await it.ask()
            assert await it.backfills.pending(simulator.url) == []


def checked() -> Counter[str]:
    """Rows compared so far, by outcome."""
    found: Counter[str] = Counter()
    for sample in metrics.CHECK_ROWS.collect()[0].samples:
        if sample.name.endswith("_total"):
            found[sample.labels["outcome"]] += int(sample.value)
    return found


def report(wrong) -> str:
    return "\n".join(
        f"{name}: -{len(lost)} +{len(more)}: {lost[:2]} {more[:2]}" for name, (lost, more) in wrong.items()
    )
