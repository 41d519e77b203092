"""Plausible work of a small team, as it would have happened over some days, told to the hooks now.

The same seed and end make the same history of a project (numbers that the whole instance shares may differ).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from gitpulse_sim.acts import act
from gitpulse_sim.clock import Clock
from gitpulse_sim.forge import Forge
from gitpulse_sim.team import Team
from gitpulse_sim.world import Project

ACTS_A_DAY = 90.0
"""In one project, at its busiest: most are done in office hours, few at night or on a weekend."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    events: int
    """Deliveries so far."""
    fraction: float
    """Of the time to be replayed, 0 to 1."""


async def replay(
    forge: Forge,
    projects: Sequence[Project],
    *,
    days: int = 14,
    seed: int = 1,
    acts_a_day: float = ACTS_A_DAY,
    until: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Lets a team work on the projects for so many days up to `until` (now); returns how many deliveries were made.

    Archived projects are left alone. All deliveries have been answered when it returns. Raises BadRequest.
    """
    projects = [one for one in projects if not one.archived]
    end = until or forge.world.clock.now()
    start, before = end - timedelta(days=days), forge.engine.sent
    done = dict.fromkeys((project.id for project in projects), 0.0)

    async def play(project: Project) -> None:
        random, clock = Random(f"{seed} {project.full_path}"), Clock(start)  # noqa: S311
        team = Team(forge, project, random, clock, calm=True)
        await act(team, team.who)
        while (now := clock.advance(random.expovariate(acts_a_day / 86_400))) < end:
            done[project.id] = (now - start) / (end - start)
            progress(Progress(forge.engine.sent - before, sum(done.values()) / len(done)))
            who = random.choice(team.members)
            local = who.local(now)
            if random.random() < (0.9 if local.weekday() < 5 and 8 <= local.hour < 19 else 0.04):
                await act(team, who)

    await asyncio.gather(*(play(project) for project in projects))
    await forge.engine.idle()
    progress(Progress(forge.engine.sent - before, 1.0))
    return forge.engine.sent - before
