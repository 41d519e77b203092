"""The world to start with: group `acme`, two projects, six people and a token."""

from __future__ import annotations

from gitpulse_sim.clock import Clock
from gitpulse_sim.people import Role
from gitpulse_sim.world import World

DEMO_TOKEN = "demo-token"  # noqa: S105 - public on purpose; it opens nothing but the simulator

TEAM = (
    ("alice", "Alice Andersson", "Europe/Stockholm", Role.OWNER),
    ("bob", "Bob Brandt", "Europe/Berlin", Role.MAINTAINER),
    ("chiara", "Chiara Conti", "Europe/Rome", Role.DEVELOPER),
    ("dmitri", "Dmitri Doležal", "Europe/Prague", Role.DEVELOPER),
    ("emeka", "Emeka Eze", "America/New_York", Role.DEVELOPER),
    ("fatima", "Fatima Farouk", "Asia/Kolkata", Role.DEVELOPER),
)


def demo_world(clock: Clock | None = None) -> World:
    """`acme/website` and `acme/api`, owned by alice, whose token has the scope `api`."""
    world = World(clock=clock)
    acme = world.add_group("acme", "Acme")
    for username, name, zone, role in TEAM:
        user = world.add_user(username, name, f"{username}@acme.example", zone=zone)
        acme.members[user.id] = role
    world.add_project("website", acme, name="Website", description="What customers see")
    world.add_project("api", acme, name="API", description="What the website asks")
    world.add_token(world.user("alice"), DEMO_TOKEN, name="gitpulse")
    return world
