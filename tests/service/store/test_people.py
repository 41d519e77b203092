"""The map of people: whose what is, on both databases, for all history at once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import pytest
import sqlalchemy as sa
from hypothesis import given, strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from gitpulse_service.contract import Person, Team
from gitpulse_service.events.decode import decode
from gitpulse_service.store import forget, keys, people, rollups
from gitpulse_service.store.queries import series
from gitpulse_service.store.roster import alias, member, resolve, roster
from gitpulse_service.store.spans import Span
from gitpulse_service.store.tables import commit, delivery, identity, merge_request
from gitpulse_service.store.unmatched import unmatched
from gitpulse_service.store.write import apply
from gitpulse_service.worker.jobs import retire
from harness.samples import body, envelope


async def appear(engine: AsyncEngine, name=None, email=None, username=None, gitlab_id=None) -> int:
    """An identity as a delivery makes it; returns its key."""
    instance = "https://gitlab.example" if gitlab_id else None
    key = keys.account(instance, gitlab_id) if instance else keys.author(name, email)
    said = {"id": key, "instance": instance, "gitlab_id": gitlab_id, "name": name, "email": email, "username": username}
    async with engine.begin() as connection:
        handles = keys.handles(name, email, username, gitlab_id)
        await connection.execute(sa.insert(identity), {**said, **handles, "version": b"1"})
    return key


async def attributed(engine: AsyncEngine) -> dict[int, tuple[str | None, int]]:
    """Identity -> person, and whether it is a bot."""
    map_ = people.attribution()
    async with engine.connect() as connection:
        rows = await connection.execute(sa.select(map_.c.identity, map_.c.person, map_.c.bot))
        return {row.identity: (row.person, row.bot) for row in rows}


async def whose(engine: AsyncEngine, *who: int) -> list[str | None]:
    found = await attributed(engine)
    return [found[one][0] for one in who]


ANN = Person("Ann Arbor", emails=("ann@acme.example",), usernames=("ann",), names=("Annie",), gitlab_ids=(7,))


async def test_all_that_stands_for_somebody_is_found(engine):
    mine = [
        await appear(engine, "A.", "ANN@acme.example"),
        await appear(engine, "x", "7-whoever@users.noreply.gitlab.example"),
        await appear(engine, "y", "99-Ann@users.noreply.gitlab.example"),
        await appear(engine, username="whoever", gitlab_id=7),
        await appear(engine, username="Ann", gitlab_id=8),
        await appear(engine, "annie", "elsewhere@example.org"),
        await appear(engine, "Ann  ARBOR"),
    ]
    other = await appear(engine, "Ann", "annie@acme.example")
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    assert await whose(engine, *mine) == ["Ann Arbor"] * len(mine)
    assert await whose(engine, other) == [None]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"names": ("joe",)}, {"usernames": ("joe",)}),
        ({"usernames": ("joe",)}, {"gitlab_ids": (3,)}),
        ({"gitlab_ids": (3,)}, {"emails": ("3-joe@users.noreply.gitlab.example",)}),
        (
            {"emails": ("3-joe@users.noreply.gitlab.example",)},
            {"authors": ("Joe <3-JOE@users.noreply.gitlab.example>",)},
        ),
    ],
)
async def test_what_tells_more_goes_before(engine, less, more):
    who = await appear(engine, "Joe", "3-joe@users.noreply.gitlab.example")
    for team in (Person("Ann", **less), Person("Ben", **more)), (Person("Ben", **less), Person("Ann", **more)):
        await people.replace(engine, "file", [Team("acme", team)])
        assert await whose(engine, who) == [team[1].name]


async def test_a_change_is_true_of_everything_at_once(engine):
    who = await appear(engine, "Ann", "ann@acme.example")
    assert await whose(engine, who) == [None]
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    assert await whose(engine, who) == ["Ann Arbor"]
    await people.replace(engine, "file", [Team("acme", (Person("Cleo", emails=("ann@acme.example",)),))])
    assert await whose(engine, who) == ["Cleo"]
    await people.replace(engine, "file", [])
    assert await whose(engine, who) == [None]


async def test_numbers_that_are_rolled_up_follow_at_once(engine):
    async with engine.begin() as connection:
        await connection.run_sync(rollups.derived.create_all)
    for number, email in enumerate(["ann@acme.example", "a@home.example"]):
        await push(engine, number, name="A.", email=email)

    async def by(group: Literal["person", "team"]) -> dict[object, int]:
        points = await series(
            engine, "commits", Span(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)), group=group
        )
        return {point.group: point.count for point in points}

    assert await rollups.roll(engine, datetime(2026, 4, 1, tzinfo=UTC)) == 1
    assert await by("person") == {"A.": 2}
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    assert await by("person") == {"A.": 1, "Ann Arbor": 1}
    home = Person("Ann Arbor", emails=("ann@acme.example", "a@home.example"))
    await people.replace(engine, "file", [Team("acme", (home,)), Team("ops", (home,))])
    assert await by("person") == {"Ann Arbor": 2}
    assert await by("team") == {"acme": 2, "ops": 2}
    await forgotten(engine, "Ann Arbor")
    ((name, count),) = (await by("person")).items()
    assert (str(name).startswith("person-"), count) == (True, 2)


async def test_machines_go_by_patterns(engine):
    bots = [
        await appear(engine, username="Renovate-9", gitlab_id=1),
        await appear(engine, "R", "bot@ci.example"),
        await appear(engine, username="project_1_bot_x", gitlab_id=2),
    ]
    others = [
        await appear(engine, username="projectx1_bot_x", gitlab_id=3),
        await appear(engine, "x", "bot@ci.example.org"),
    ]
    await people.replace(engine, "file", [Team("acme", bots=("renovate*", "*@ci.example", "project_*_bot_*"))])
    found = await attributed(engine)
    assert [found[who][1] for who in (*bots, *others)] == [1, 1, 1, 0, 0]


async def test_sources_keep_to_themselves(engine):
    ben = Person("Ben", emails=("ben@acme.example",))
    who = [await appear(engine, "x", "ann@acme.example"), await appear(engine, "y", "ben@acme.example")]
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    await people.replace(engine, "kubernetes", [Team("acme", (ben,), "Asia/Tokyo"), Team("ops", (ANN, ben))])
    assert await whose(engine, *who) == ["Ann Arbor", "Ben"]
    assert await in_teams(engine) == {("acme", "Ann Arbor"), ("acme", "Ben"), ("ops", "Ann Arbor"), ("ops", "Ben")}
    assert (await people.whole(engine)).teams == {"acme": ("file", "UTC"), "ops": ("kubernetes", "UTC")}
    await people.replace(engine, "file", [])
    assert await in_teams(engine) == {("acme", "Ben"), ("ops", "Ann Arbor"), ("ops", "Ben")}


async def in_teams(engine: AsyncEngine) -> set[tuple[str, str]]:
    async with engine.connect() as connection:
        return {tuple(row) for row in await connection.execute(sa.select(member.c.team, member.c.person))}


async def test_one_spelling_is_one_person(engine):
    await people.replace(engine, "b", [Team("acme", (Person("ann ARBOR"),))])
    await people.replace(engine, "a", [Team("acme", (Person("Ann Arbor"),))])
    assert await in_teams(engine) == {("acme", "Ann Arbor")}


@given(st.permutations([("a", "Ann"), ("b", "Ben"), ("c", "Cleo")]))
def test_what_two_claim_is_always_the_same_ones(order):
    maps = {source: [Team(source, (Person(name, emails=("Team@acme.example",)),))] for source, name in order}
    found = resolve(maps)
    assert found.aliases["email", "team@acme.example"] == "Ann"
    assert found.conflicts == {("email", "team@acme.example"): ["Ann", "Ben", "Cleo"]}


async def test_a_map_that_says_the_same_is_not_written_again(engine):
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    with statements(engine) as seen:
        await people.replace(engine, "file", [Team("acme", (ANN,))])
    assert seen
    assert not [sql for sql in seen if sql.startswith(("DELETE", "INSERT"))]


@contextlib.contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """What is sent to the database until the block ends."""
    seen: list[str] = []

    def note(_, __, sql, *___):
        seen.append(sql)

    sa.event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine.sync_engine, "before_cursor_execute", note)


# --- who is nobody yet ------------------------------------------------------------------------------------------------


async def commits(engine: AsyncEngine, author: int, count: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"project": 1, "sha": f"{author}-{n}", "author": author, "seen_at": now, "version": b"1"} for n in range(count)
    ]
    async with engine.begin() as connection:
        await connection.execute(sa.insert(commit), rows)


async def test_who_matches_nobody_is_told_with_who_it_may_be(engine):
    await people.replace(engine, "file", [Team("acme", (ANN, Person("Dmitri Doležal")), bots=("bot*",))])
    local, alike, stranger, bot, known, idle = [
        await appear(engine, "A", "ann@home.example"),
        await appear(engine, "Dolezal, Dmitry", "dd@home.example"),
        await appear(engine, "Zoë", "zoe@home.example"),
        await appear(engine, "B", "bot@home.example"),
        await appear(engine, "Annie", "x@home.example"),
        await appear(engine, "Idle", "idle@home.example"),
    ]
    for who, count in {local: 2, alike: 3, stranger: 1, bot: 9, known: 9}.items():
        await commits(engine, who, count)
    async with engine.begin() as connection:
        rows = {
            "project": 1,
            "id": 1,
            "author": stranger,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "version": b"1",
        }
        await connection.execute(sa.insert(merge_request), rows)
    found = await unmatched(engine)
    assert [(it.identity, it.commits, it.other) for it in found] == [
        (alike, 3, 0),
        *sorted([(local, 2, 0), (stranger, 1, 1)]),
    ]
    assert idle not in {it.identity for it in found}
    maybe = {it.identity: list(it.suggestions) for it in found}
    assert maybe == {local: ["Ann Arbor"], alike: ["Dmitri Doležal"], stranger: []}
    assert len(await unmatched(engine, limit=1)) == 1
    await forgotten(engine, "Zoë")
    assert stranger not in {it.identity for it in await unmatched(engine)}


# --- forgetting -------------------------------------------------------------------------------------------------------


async def delivered(engine: AsyncEngine, *bodies: dict[str, object] | bytes) -> None:
    raw = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [{"received_at": moment, "hook_id": "h", "delivery_id": str(n), "body": body} for n, body in enumerate(raw)]
    async with engine.begin() as connection:
        await connection.execute(sa.delete(delivery))
        await connection.execute(sa.insert(delivery), rows)


async def bodies(engine: AsyncEngine) -> list[bytes]:
    async with engine.connect() as connection:
        return list(await connection.scalars(sa.select(delivery.c.body).order_by(delivery.c.delivery_id)))


async def shown(engine: AsyncEngine, *who: int) -> list[tuple[str, str, str]]:
    i = identity.c
    async with engine.connect() as connection:
        rows = await connection.execute(sa.select(i.id, i.name, i.email, i.username).where(i.id.in_(who)))
        found = {row.id: (row.name, row.email, row.username) for row in rows}
    return [found[one] for one in who]


async def forgotten(engine: AsyncEngine, who: str, *, erase: bool = False) -> dict[str, object]:
    return await forget.forget(engine, await forget.find(engine, who), erase=erase)


@pytest.mark.parametrize("who", ["ann arbor", "Ann@Acme.example", "ANN", "Annie"])
async def test_all_that_somebody_is_called_goes_and_their_work_stays(engine, who):
    await people.replace(engine, "file", [Team("acme", (ANN, Person("Ben")))])
    mine = [await appear(engine, "Annie", "ann@acme.example"), await appear(engine, "A", username="ann", gitlab_id=7)]
    ben = await appear(engine, "Ben", "ben@acme.example")
    await commits(engine, mine[0], 3)
    done = await forgotten(engine, who)
    assert done["identities"] == 2
    assert done["sources"] == ["file"]
    assert str(done["now"]).startswith("person-")
    assert await shown(engine, *mine, ben) == [(done["now"], "", "")] * 2 + [("Ben", "ben@acme.example", None)]
    assert await in_teams(engine) == {("acme", "Ben")}
    assert await whose(engine, *mine) == [None, None]
    assert "ann" not in str((await people.whole(engine)).aliases)
    async with engine.connect() as connection:
        assert "ann" not in str((await connection.execute(sa.select(roster))).all()).casefold()
        assert await connection.scalar(sa.select(sa.func.count()).where(commit.c.author == mine[0])) == 3


async def test_erased_is_nobody_and_again_changes_nothing(engine):
    who = await appear(engine, "Zoë", "zoe@acme.example")
    first = await forgotten(engine, "zoe@acme.example")
    assert await forgotten(engine, "zoe@acme.example") == {**first, "identities": 0}
    assert await shown(engine, who) == [(first["now"], "", "")]
    await forgotten(engine, "zoe@acme.example", erase=True)
    assert await shown(engine, who) == [("", "", "")]


async def test_two_persons_are_not_forgotten_for_one(engine):
    await people.replace(engine, "file", [Team("acme", (ANN, Person("Ben", names=("ann",))))])
    with pytest.raises(forget.WrongPerson, match="Ann Arbor or Ben"):
        await forget.find(engine, "ann")


async def test_a_blank_is_nobody(engine):
    with pytest.raises(forget.WrongPerson, match="give a name"):
        await forget.find(engine, "  ")


async def test_raw_deliveries_that_name_them_go(engine, monkeypatch):
    kept = [{"ref": "annual", "user": "Anne"}, {"text": "mean annoying"}, b"\xff no JSON"]
    theirs = [
        {"email": "ANN@acme.example"},
        {"user_name": "Ann Arbor"},
        {"text": "thanks to @ann!"},
        {"username": "ann"},
        {"text": "by Ann Arbor <x@y>"},
    ]
    await people.replace(engine, "file", [Team("acme", (ANN,))])
    await delivered(engine, *kept, *theirs)
    monkeypatch.setattr(forget, "CHUNK", 2)
    with statements(engine) as seen:
        assert (await forgotten(engine, "Ann Arbor"))["deliveries"] == len(theirs)
    assert len({sql for sql in seen if sql.startswith("SELECT delivery")}) == 2, "they grow with each chunk"
    assert len(await bodies(engine)) == len(kept)


async def test_escaped_names_are_found_too(engine):
    await appear(engine, "Zoë Öz", "zoe@acme.example")
    await delivered(
        engine, {"name": "Zoë Öz"}, {"name": "Zo"}, json.dumps({"n": "ZOË ÖZ"}, ensure_ascii=False).encode()
    )
    assert (await forgotten(engine, "Zoë Öz"))["deliveries"] == 2


async def test_who_is_forgotten_stays_so_whatever_the_map_says(engine):
    await people.replace(engine, "kubernetes", [Team("acme", (ANN,))])
    await forgotten(engine, "Ann Arbor")
    await people.replace(engine, "kubernetes", [Team("acme", (ANN,))])
    assert await in_teams(engine) == set()
    other = await appear(engine, "A. Arbor", "ann@acme.example")
    await retire({"engine": engine, "kept": {}})
    assert await forget.stay_forgotten(engine) == 0
    ((name, email, _),) = await shown(engine, other)
    assert (name.startswith("person-"), email) == (True, "")


# --- where addresses are not kept -------------------------------------------------------------------------------------


async def push(engine: AsyncEngine, number: int, **author: str) -> bytes:
    """One commit is told of; returns the body as it is kept."""
    content = body("push/two_commits")
    content["commits"] = [{**content["commits"][0], "id": f"{number:040x}", "author": author}]
    told = envelope(content, delivery_id=str(number), event="Push Hook")
    await apply(engine, [(told, decode(told))])
    async with engine.connect() as connection:
        return await connection.scalar(sa.select(delivery.c.body).where(delivery.c.delivery_id == str(number)))


async def committer(engine: AsyncEngine, number: int) -> int:
    async with engine.connect() as connection:
        return await connection.scalar(sa.select(commit.c.author).where(commit.c.sha == f"{number:040x}"))


@pytest.mark.parametrize("kept", [True, False])
async def test_people_are_known_and_forgotten_with_and_without_addresses(engine, kept):
    engine = engine.execution_options(gitpulse_keep_emails=kept)
    ann = Person("Ann Arbor", emails=("ann@acme.example",), usernames=("ann",))
    await people.replace(engine, "file", [Team("acme", (ann, Person("Ben", authors=("root <root@build>",))))])
    authors = {
        "A. A.": "ANN@acme.example",
        "hidden": "99-ann@users.noreply.gitlab.example",
        "root": "root@build",
        "Zoë": "zoe@acme.example",
    }
    for number, (name, email) in enumerate(authors.items()):
        raw = await push(engine, number, name=name, email=email)
        assert (email.encode() in raw) == kept
    who = [await committer(engine, number) for number in range(len(authors))]
    assert await whose(engine, *who) == ["Ann Arbor", "Ann Arbor", "Ben", None]
    async with engine.connect() as connection:
        rows = [await connection.execute(sa.select(table)) for table in (roster, alias, identity)]
        text = str([row.all() for row in rows]).casefold()
    assert ("ann@acme.example" in text) == ("zoe@acme.example" in text) == ("root@build" in text) == kept
    assert (await forgotten(engine, "ann@acme.example"))["deliveries"] == 2
    assert (await forgotten(engine, "zoe@acme.example"))["deliveries"] == 1
    for number, (name, email) in enumerate(authors.items()):  # sent again, and redacted
        await push(engine, number + 10, name=name, email=email)
        await push(engine, number + 20, name=name, email="[REDACTED]")
    redacted = [await committer(engine, number + 20) for number in range(len(authors))]
    for identities in who, redacted:
        names = await shown(engine, *identities)
        assert [name.startswith("person-") for name, *_ in names] == [True, True, False, True]
