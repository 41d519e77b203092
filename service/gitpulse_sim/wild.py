"""Histories that hold what git and GitLab allow, for whoever has numbers to be proved: made at random, and real."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from gitpulse_sim import groups
from gitpulse_sim.acts import act
from gitpulse_sim.clock import Clock
from gitpulse_sim.forge import Forge
from gitpulse_sim.instance import Instance
from gitpulse_sim.people import Role
from gitpulse_sim.team import Team
from gitpulse_sim.world import World

PEOPLE = (
    ("ann", "Ann Archer", "America/New_York", "utf-8"),
    ("jose", "José Núñez", "Europe/Madrid", "latin-1"),
    ("bjorn", "Björn Åkesson", "Europe/Stockholm", "utf-8"),
    ("chandra", "Chandra Iyer", "Asia/Kolkata", "utf-8"),
    ("moana", "Moana Tūī", "Pacific/Chatham", "utf-8"),
)
BRANCHES = ("main", "master", "trunk")
PAUSES = (20, 600, 5_000, 40_000, 200_000)
"""Seconds between two acts, about."""


def wild_world(random: Random, instance: Instance | None = None) -> World:
    """Two or three projects, of a group and one below it, in some month of 2026; the clock stands until it is moved."""
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.uniform(0, 300 * 86_400))
    world = World(instance, Clock(start))
    acme = world.add_group("acme")
    below = world.add_group("deep", parent=acme)
    for username, name, zone, encoding in PEOPLE:
        user = world.add_user(username, name, f"{username}@acme.example", zone=zone, encoding=encoding)
        acme.members[user.id] = Role.OWNER if username == "ann" else Role.DEVELOPER
    world.add_user("ci-bot", "CI Bot", "ci-bot@acme.example", bot=True)
    world.add_token(world.user("ann"), "wild-token")
    for number, group in enumerate(random.sample((acme, acme, below), random.randint(2, 3))):
        world.add_project(f"project-{number}", group).default_branch = random.choice(BRANCHES)
    return world


async def play(forge: Forge, random: Random, steps: int) -> None:
    """Lets people do so many things, here and there; the world's clock moves with them. May be called again."""
    world = forge.world
    teams = [Team(forge, project, random, world.clock, calm=False) for project in world.projects.values()]
    for step in range(steps):
        world.clock.advance(random.choice(PAUSES) * random.uniform(0.1, 2))
        if random.random() < 0.02:
            user = world.add_user(f"new-{world.next_id('new')}", "New Comer", f"new-{step}@acme.example")
            await groups.add_member(forge, world.groups[1], user, Role.DEVELOPER)
        team = random.choice(teams)
        await act(team, random.choice(team.members))
        await forge.engine.idle()  # what happened is told before the clock moves on
