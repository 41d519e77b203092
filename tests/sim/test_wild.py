"""Random histories: real, repeatable, with everything in them that a metric counts; with and without a server."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import aiohttp

from gitpulse_sim.deliver import Answer, Engine
from gitpulse_sim.forge import Forge
from gitpulse_sim.instance import Instance
from gitpulse_sim.repository import ZEROS
from gitpulse_sim.server import serving
from gitpulse_sim.truth import facts
from gitpulse_sim.wild import play, wild_world
from harness.definitions import METRICS


class Kept:
    """What hooks would have got."""

    def __init__(self, status=200):
        self.all, self.status = [], status

    async def __call__(self, hook, headers, body):
        self.all.append((hook.id, headers["X-Gitlab-Event"], json.loads(body)))
        return Answer(self.status)

    def of(self, kind):
        return [payload for _, _, payload in self.all if payload.get("object_kind") == kind]


async def history(seed, steps=60, **settings):
    random = Random(seed)
    world, kept = wild_world(random, Instance(**settings)), Kept()
    world.url = "https://gitlab.example.com"
    for parent in world.parents:
        if parent.kind == "project":
            world.add_hook(parent, "https://example.com/hook")
    await play(Forge(world, Engine(world, kept)), random, steps)
    return world, kept


async def test_what_hooks_heard_is_what_git_says():
    """Each move of a ref was told, with the commits that were new; the refs are where git has them."""
    for seed in range(4):
        world, kept = await history(seed)
        for project in world.projects.values():
            git, pushes = project.repository.git, [one for one in kept.of("push") if one["project_id"] == project.id]
            told = [(one["ref"], one["before"], one["after"]) for one in pushes]
            assert told == [(one.ref, one.before, one.after) for _, _, one in project.pushes if not one.is_tag]
            tips = [line.split() for line in git("show-ref", "--heads", "--tags").splitlines()]
            assert {ref: tip for tip, ref in tips} == project.repository.tips
            for one in pushes:
                if ZEROS not in (one["before"], one["after"]):
                    span = git("rev-list", f"{one['before']}..{one['after']}").split()
                    assert one["total_commits_count"] == len(span)
                    assert [commit["id"] for commit in one["commits"]] == span[:20][::-1]


async def test_the_same_seed_is_the_same_history():
    (one, heard), (two, again), (three, _) = await history(5), await history(5), await history(6)
    tips = [[project.repository.tips for project in world.projects.values()] for world in (one, two, three)]
    assert tips[0] == tips[1] != tips[2]
    assert heard.all == again.all


KINDS = "push tag_push merge_request note issue work_item pipeline build deployment release"
ACTIONS = "open close reopen update merge approval approved unapproval unapproved"


async def test_all_that_is_counted_occurs():
    """Every metric has facts, every family events, and the corners that are easily forgotten are there."""
    found, kinds, pushes, actions = Counter(), Counter(), [], Counter()
    for seed in range(16):
        if set(found) == METRICS and len(actions) == len(ACTIONS.split()):
            break
        world, kept = await history(seed, 100)
        kinds.update(payload["object_kind"] for _, _, payload in kept.all)
        pushes += kept.of("push")
        actions.update(one["object_attributes"]["action"] for one in kept.of("merge_request"))
        for project in world.projects.values():
            there = await facts(project, to=world.clock.now())
            found.update({metric: len(each) for metric, each in there.items()})
            assert "Co-authored-by" in project.repository.git("log", "--all") or project.repository.count("--all") < 20
    assert set(found) == METRICS
    assert set(kinds) == set(KINDS.split())
    assert max(one["total_commits_count"] for one in pushes) > 100
    assert set(actions) == set(ACTIONS.split())
    authors = {commit["author"]["name"] for one in pushes for commit in one["commits"]}
    assert "José Núñez" in authors
    offsets = {commit["timestamp"][-6:] for one in pushes for commit in one["commits"]}
    assert offsets >= {"+05:30", "+02:00"}
    assert offsets & {"-04:00", "-05:00"}


async def test_it_can_be_served_while_deliveries_are_kept():
    """For completion: what hooks would have got stays here, the API answers over HTTP."""
    random, kept = Random(3), Kept(status=503)
    world = wild_world(random)
    async with serving(world, port=0, post=kept) as forge, aiohttp.ClientSession() as session:
        hook = world.add_hook(world.groups[1], "https://example.com/hook")
        await play(forge, random, 40)
        assert hook.recent_failures == len(kept.all) or hook.recent_failures == 40
        assert [row.response_status for row in hook.log.rows] == ["503"] * len(kept.all)
        project = world.projects[1]
        url = f"{world.url}/api/v4/projects/1/repository/commits?all=true&per_page=100&private_token=wild-token&page="
        found, page = [], "1"
        while page:
            async with session.get(url + page) as answer:
                found += [one["id"] for one in await answer.json()]
                page = answer.headers["x-next-page"]
        assert found == project.repository.git("rev-list", "--all").split()
