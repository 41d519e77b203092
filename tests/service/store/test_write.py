"""What the tables say after recorded deliveries, whichever comes first."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime

import msgspec
import pytest
import sqlalchemy as sa

from gitpulse_service.errors import StoreRefused
from gitpulse_service.events import fetched
from gitpulse_service.events.decode import decode
from gitpulse_service.events.privacy import pseudonym
from gitpulse_service.events.timestamps import parse
from gitpulse_service.store import keys, tables
from gitpulse_service.store.compare import differing
from gitpulse_service.store.engine import create_engine, writing
from gitpulse_service.store.migrate import migrate
from gitpulse_service.store.recompute import recompute
from gitpulse_service.store.rows import version
from gitpulse_service.store.telling import rows_of
from gitpulse_service.store.write import apply, put
from harness.dumps import count, dump, wipe
from harness.samples import INSTANCE, body, envelope


def at(*args):
    return datetime(*args, tzinfo=UTC)


def deliveries(*names, **more):
    return [envelope(body(name), delivery_id=name, received_at=1_769_900_000_000, **more) for name in names]


async def write(engine, envelopes):
    await apply(engine, [(e, decode(e)) for e in envelopes])


async def write_each(engine, envelopes):
    for e in envelopes:
        await write(engine, [e])


async def only(engine, table):
    async with engine.connect() as connection:
        rows = (await connection.execute(sa.select(table))).mappings().all()
    assert len(rows) == 1
    return dict(rows[0])


async def all_of(engine, table):
    async with engine.connect() as connection:
        return (await connection.execute(sa.select(table).order_by(*table.primary_key))).mappings().all()


async def every_order(engine, *names, orders=12):
    """Writes the deliveries in several orders, one by one, checks that the tables are the same; and returns nothing."""
    envelopes = deliveries(*names)
    await write(engine, envelopes)
    first = await dump(engine)
    permutations = list(itertools.permutations(envelopes))
    for order in permutations[:: max(1, len(permutations) // orders)]:
        await wipe(engine)
        await write_each(engine, [*order, order[0]])
        assert await dump(engine) == first


async def test_a_merge_request_in_any_order(engine):
    await every_order(
        engine, *(f"merge_request/{n}" for n in ("open", "close", "reopen", "merge", "label_after_merge"))
    )
    row = await only(engine, tables.merge_request)
    assert (row["state"], row["iid"]) == ("merged", 12)
    assert row["created_at"] == at(2026, 1, 31, 17, 58, 3)
    assert row["merged_at"] == at(2026, 1, 31, 18, 3, 54)


async def test_a_test_delivery_of_a_merge_request_changes_nothing(engine):
    await write(engine, deliveries("merge_request/open", "merge_request/merge"))
    before = await only(engine, tables.merge_request)
    await write(engine, deliveries("merge_request/test_delivery"))
    assert await only(engine, tables.merge_request) == before


async def test_what_merged_it_is_kept_when_only_later_events_follow(engine):
    await write(engine, deliveries("merge_request/label_after_merge"))
    assert (await only(engine, tables.merge_request))["merged_at"] is None  # merged, nobody knows when
    await write(engine, deliveries("merge_request/merge_gitlab_19"))
    assert (await only(engine, tables.merge_request))["merged_at"] == at(2026, 1, 31, 18, 3, 54)


async def test_an_issue_closed_twice_was_closed_the_last_time(engine):
    await every_order(engine, "issue/open", "issue/close", "issue/reopen", "issue/close_without_closed_at")
    row = await only(engine, tables.issue)
    assert (row["state"], row["closed_at"]) == ("closed", at(2026, 1, 31, 12))


async def test_a_reopened_issue_is_open(engine):
    await every_order(engine, "issue/open", "issue/close", "issue/reopen")
    assert (await only(engine, tables.issue))["state"] == "opened"


async def test_a_retried_pipeline_in_any_order(engine):
    await every_order(engine, *(f"pipeline/{n}" for n in ("pending", "running", "failed", "retried", "success")))
    row = await only(engine, tables.pipeline)
    assert (row["status"], row["finished_at"]) == ("success", at(2026, 1, 31, 17, 52, 1))


@pytest.mark.parametrize("name", ["pipeline/with_variables", "push/with_options"])
async def test_what_may_be_secret_is_not_stored(engine, name):
    assert "glpat" in str(body(name))
    await write(engine, deliveries(name))
    assert b"glpat" not in (await only(engine, tables.delivery))["body"]


async def test_pushes_in_any_order(engine):
    names = ("two_commits", "force_push", "branch_created", "branch_deleted", "resent", "test_delivery")
    await every_order(engine, *(f"push/{n}" for n in names))
    assert await count(engine, "push") == 4  # `resent` is `two_commits` again, `test_delivery` is nobody's push
    assert await count(engine, "commit") == 3


@pytest.mark.parametrize("order", [("push/two_commits", "push/resent"), ("push/resent", "push/two_commits")])
async def test_a_known_author_stays_and_a_redacted_one_goes(engine, order):
    await write_each(engine, deliveries(*order))
    async with engine.connect() as connection:
        authors = sa.join(tables.commit, tables.identity, tables.commit.c.author == tables.identity.c.id)
        found = await connection.execute(sa.select(tables.identity.c.email).select_from(authors).order_by("email"))
        assert list(found.scalars()) == ["ben@acme.example", "zoe@acme.example"]


async def test_a_push_that_is_made_again_is_whose_it_was_first(engine):
    content = body("push/two_commits")
    told = [
        envelope({**content, "user_id": user}, received_at=1_769_900_000_000 + user // 10, delivery_id=str(user))
        for user in (7, 11)
    ]
    for order in itertools.permutations(told):
        for batches in [[*order]], [[one] for one in order]:
            await wipe(engine)
            for batch in batches:
                await write(engine, batch)
            assert (await only(engine, tables.push))["who"] == keys.account(INSTANCE, 7)


async def test_project_and_group_hook_both_firing_count_once(engine):
    for hook in ("project-hook", "group-hook"):
        await write(engine, deliveries("push/two_commits", "merge_request/merge", hook_id=hook))
    assert [await count(engine, t) for t in ("push", "commit", "merge_request", "delivery")] == [1, 2, 1, 4]


async def test_the_same_project_id_on_two_instances_is_two_projects(engine):
    await write(engine, deliveries("push/two_commits"))
    await write(engine, deliveries("push/two_commits", instance="https://other.example", hook_id="hook-2"))
    assert [await count(engine, t) for t in ("project", "push", "commit")] == [2, 2, 4]


async def test_a_renamed_project_has_its_newest_name(engine):
    renamed = body("push/two_commits")
    renamed["project"]["path_with_namespace"] = "acme/site"
    newer = envelope(renamed, delivery_id="newer", received_at=1_769_900_999_000)
    unnamed = envelope(body("push/minimal"), delivery_id="unnamed", received_at=1_769_901_999_000)
    for e in (newer, *deliveries("push/two_commits"), unnamed):
        await write(engine, [e])
    row = await only(engine, tables.project)
    assert (row["path"], row["gitlab_id"], row["instance"]) == ("acme/site", 42, INSTANCE)
    assert row["last_event_at"] == datetime.fromtimestamp(1_769_901_999, UTC)


async def test_an_uncounted_kind_is_kept_raw(engine):
    emoji = envelope({"object_kind": "emoji", "project_id": 42})
    assert decode(emoji) is None
    await write(engine, [emoji])
    assert [await count(engine, t) for t in ("delivery", "project")] == [1, 0]


async def test_a_batch_is_written_whole_or_not_at_all(engine):
    (bad,) = deliveries("issue/open")
    event = decode(bad)
    attributes = msgspec.structs.replace(event.object_attributes, iid=2**70)  # what no decoder lets through
    bad_event = msgspec.structs.replace(event, object_attributes=attributes)
    with pytest.raises(StoreRefused):
        await apply(engine, [*((e, decode(e)) for e in deliveries("push/two_commits")), (bad, bad_event)])
    assert await count(engine, "delivery") == 0


def test_a_project_key_is_stable_and_fits_a_signed_column():
    assert keys.project("https://gitlab.example.com", 42) == 7147083693731576325
    assert 0 <= keys.project("", 0) < 2**63


def test_a_version_orders_by_time_then_rank():
    early, late = at(2026, 1, 1), at(2026, 1, 2)
    assert version(None, 9) < version(early, 0) < version(early, 1) < version(late, 0)


async def test_two_events_of_one_second_are_joined_alike_in_any_order(engine):
    contents = [body("issue/labelled_confidential") | {"labels": [{"title": title}]} for title in ("bug", "wish", "ci")]
    told = [envelope(content, delivery_id=str(number)) for number, content in enumerate(contents)]
    found = set()
    for order in itertools.permutations(told):
        await wipe(engine)
        await write_each(engine, order)
        found.add((await only(engine, tables.issue))["labels"])
    assert len(found) == 1


async def test_a_review_is_the_first_note_or_approval(engine):
    """Of one GitLab that tells when an approval was, and one that does not: then it was when it was received."""
    names = ("open", "approved", "approval_gitlab_19")
    others = ("note/on_confidential_issue_test_delivery", "note/on_commit_gitlab_16", "note/on_epic")
    await every_order(engine, *(f"merge_request/{name}" for name in names), *others)
    rows = await all_of(engine, tables.review)
    zoe, ben = (keys.account(INSTANCE, number) for number in (7, 8))
    received = datetime.fromtimestamp(1_769_900_000, UTC)
    assert {row["who"]: row["at"] for row in rows} == {zoe: received, ben: at(2026, 1, 31, 18, 2, 10)}
    assert {row["merge_request"] for row in rows} == {930}
    await wipe(engine)
    await every_order(engine, "merge_request/approval_gitlab_19", "note/on_merge_request")
    assert (await only(engine, tables.review))["at"] == at(2026, 1, 31, 17, 59)


async def test_the_machines_notes_are_no_reviews(engine):
    content = body("note/on_merge_request")
    content["object_attributes"]["system"] = True
    await write(engine, [envelope(content)])
    assert await all_of(engine, tables.review) == []


async def test_issues_and_other_work_items(engine):
    names = ("issue/open", "issue/labelled_confidential", "issue/open_gitlab_13", "work_item/close_incident")
    await every_order(engine, *names, "work_item/open_epic")
    rows = await all_of(engine, tables.issue)
    assert [(row["id"], row["type"], row["labels"]) for row in rows] == [
        (301, "Issue", '["bug","wish"]'),
        (302, "Issue", "[]"),
        (303, "Incident", "[]"),
    ]
    assert (rows[2]["state"], rows[2]["closed_at"]) == ("closed", at(2026, 1, 31, 11, 30))


async def test_a_reopening_is_told_by_whoever_did_it(engine):
    await every_order(engine, "issue/open", "issue/close", "issue/reopen")
    row = await only(engine, tables.reopening)
    assert (row["issue"], row["who"], row["reopened_at"]) == (301, keys.account(INSTANCE, 7), at(2026, 1, 31, 11))


async def test_jobs_by_their_own_events_and_those_of_pipelines(engine):
    names = ("build/pending", "build/running", "build/success", "build/test_delivery", "build/failed_gitlab_13")
    await every_order(engine, *names, "pipeline/running")
    rows = {row["id"]: row for row in await all_of(engine, tables.job)}
    done, failed = rows[9001], rows[9002]
    assert (done["status"], done["duration"], done["queued_duration"], done["pipeline"]) == ("success", 61, 2, 501)
    assert (done["who"], done["finished_at"]) == (keys.account(INSTANCE, 7), at(2026, 1, 31, 17, 47, 3))
    assert (failed["status"], failed["duration"], failed["queued_duration"]) == ("failed", 30, None)
    assert (failed["stage"], failed["name"], failed["who"]) == ("deploy", "deploy", None)


async def test_a_deployment_succeeded_the_first_time_that_it_did(engine):
    await every_order(engine, "deployment/running", "deployment/success", "deployment/test_delivery")
    row = await only(engine, tables.deployment)
    assert (row["status"], row["tier"], row["succeeded_at"]) == ("success", "production", at(2026, 1, 31, 18, 45))
    await write(engine, deliveries("deployment/failed_review"))
    assert (await all_of(engine, tables.deployment))[1]["succeeded_at"] is None


async def test_a_release_is_as_it_was_changed_and_goes_for_good(engine):
    await every_order(engine, "release/create", "release/update", "release/test_delivery")
    row = await only(engine, tables.release)
    assert (row["tag"], row["released_at"], row["deleted"]) == ("v1.0", at(2026, 2, 1, 8), None)
    await write_each(engine, deliveries("release/delete", "release/update"))
    assert (await only(engine, tables.release))["deleted"] == 1


async def test_tags_are_pushes_and_their_commits_count(engine):
    await every_order(engine, "tag_push/created", "tag_push/deleted")
    assert {row["ref"] for row in await all_of(engine, tables.push)} == {"refs/tags/v1.0"}
    assert await count(engine, "commit") == 1


async def test_a_push_knows_who_and_a_commit_its_files(engine):
    await write(engine, deliveries("push/two_commits"))
    push = await only(engine, tables.push)
    assert (push["who"], push["forced"]) == (keys.account(INSTANCE, 7), None)
    commits = await all_of(engine, tables.commit)
    assert [(row["added"], row["modified"], row["removed"]) for row in commits] == [(0, 1, 0), (1, 0, 0)]
    assert [row["author"] for row in commits] == [
        keys.author("Ben Okafor", "ben@acme.example"),
        keys.author("Zoë Ångström", "zoe@acme.example"),
    ]
    assert {row["seen_at"] for row in commits} == {datetime.fromtimestamp(1_769_900_000, UTC)}


async def test_a_member_is_somebody_and_its_group_no_project(engine):
    await write(engine, deliveries("group/member_added", "group/subgroup_created", "group/project_created"))
    assert [await count(engine, t) for t in ("project", "identity", "delivery")] == [0, 1, 3]
    row = await only(engine, tables.identity)
    assert (row["id"], row["username"], row["email"]) == (keys.account(INSTANCE, 9), "cleo", "cleo@acme.example")


HOUR = 3_600_000


def member(received_at, **user):
    return envelope(body("group/member_added") | user, delivery_id=str(received_at), received_at=received_at)


async def test_an_account_is_called_as_it_was_last_and_keeps_its_email(engine):
    told = [
        member(HOUR, user_name="Cleo Li"),
        member(2 * HOUR, user_name="Cleo Ray", user_email="[REDACTED]"),
        member(3 * HOUR, user_name="cleo@acme.example", user_username=None, user_email=None),
    ]
    for order in itertools.permutations(told):
        await wipe(engine)
        await write_each(engine, order)
        row = await only(engine, tables.identity)
        assert (row["name"], row["username"], row["email"]) == ("Cleo Ray", "cleo", "cleo@acme.example")


async def test_somebody_forgotten_stays_so(engine):
    await write(engine, [member(1_000)])
    async with engine.begin() as connection:
        gone = {"name": "", "email": "", "username": "", "version": b"\xff" * 17}
        await connection.execute(sa.update(tables.identity).values(gone))
    before = await only(engine, tables.identity)
    await write(engine, [member(2 * HOUR)])
    assert await only(engine, tables.identity) == before


def todo(*envelopes):
    return rows_of([(e, decode(e)) for e in envelopes]).get(tables.todo, [])


LISTED = "98f13708210194c475687be6106a3b84d2e5b7c2"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("push/two_commits", {("push", True)}),
        ("push/resent", {("push", False)}),
        ("push/of_523_commits", {("push", False)}),
        ("push/branch_created", set()),
        ("push/branch_deleted", {("push", True)}),
        ("push/test_delivery", set()),
        ("tag_push/created", {("push", False)}),
        ("merge_request/open", set()),
        ("merge_request/merge", {("merge_request", 12)}),
        ("merge_request/merge_gitlab_19", set()),
        ("merge_request/label_after_merge", {("merge_request", 12)}),
        ("merge_request/approved", {("merge_request", 12)}),
        ("merge_request/approval_gitlab_19", set()),
        ("deployment/running", set()),
        ("deployment/success", {("deployment", 15)}),
        ("deployment/failed_review", set()),
    ],
)
def test_what_gitlab_is_to_be_asked(name, asked):
    rows = todo(*deliveries(name))
    items = [(row["kind"], json.loads(row["item"])) for row in rows]
    assert {
        (kind, item[3] if kind == "push" else item[0] if kind == "deployment" else item) for kind, item in items
    } == asked
    for row in rows:
        assert (row["hook_id"], row["since"].timestamp()) == ("hook-1", 1_769_900_000)
    if name == "deployment/success":
        assert items[0][1][1] == parse(body(name)["status_changed_at"]).timestamp()
    if name == "push/two_commits":
        it = body(name)
        assert items[0][1] == [it["ref"], it["before"], it["after"], True]


def test_a_commit_without_its_files_is_asked_for():
    content = body("push/two_commits")
    del content["commits"][0]["added"]
    assert [row["item"] for row in todo(envelope(content)) if row["kind"] == "files"] == [LISTED]


async def test_without_emails_there_is_none_and_authors_stay_apart(database_url):
    engine = create_engine(database_url, keep_emails=False)
    await migrate(engine)
    content = body("push/two_commits")
    content["commits"][1]["author"]["name"] = "Ben <BEN@acme.example>"
    content["commits"][0]["message"] = "Co-authored-by: Cleo <cleo@acme.example>"
    await write(engine, [envelope(content), *deliveries("group/member_added", "push/resent")])
    everything = str(await dump(engine))
    assert "@acme.example" not in everything.lower()
    assert "Co-authored-by: Cleo" in everything
    known = {row["email"]: row["id"] for row in await all_of(engine, tables.identity) if row["email"]}
    assert set(known) == {pseudonym(f"{name}@acme.example") for name in ("zoe", "ben", "cleo")}
    assert known[pseudonym("zoe@acme.example")] == keys.author("Zoë Ångström", pseudonym("Zoe@Acme.example"))
    async for _ in recompute(engine):
        pass
    assert str(await dump(engine)) == everything
    await engine.dispose()


async def test_what_would_be_new_or_otherwise_is_counted(engine):
    rows = rows_of([(e, decode(e)) for e in deliveries("push/two_commits")])
    total = sum(len(some) for table, some in rows.items() if table not in (tables.delivery, tables.todo))
    async with writing(engine) as connection:
        assert await differing(connection, rows) == (total, 0)
        await put(connection, rows)
        assert await differing(connection, rows) == (0, total)
        later = rows_of([(e, decode(e)) for e in deliveries("push/two_commits", hook_id="the-other")])
        assert await differing(connection, later) == (0, total), "another hook tells the same"
        rows[tables.commit][0] |= {"committed_at": at(2020, 1, 1)}
        assert (await differing(connection, {tables.commit: rows[tables.commit]})) == (1, 1)


@pytest.mark.parametrize("kind", ["pipeline", "deployment"])
async def test_a_fetched_row_takes_nothing_away(engine, kind):
    """A list does not say when a pipeline ended, nor a deployment's tier, though it may be newer than what was told."""
    await write(engine, deliveries(f"{kind}/success"))
    known = await only(engine, tables.metadata.tables[kind])
    assert known["finished_at" if kind == "pipeline" else "tier"]
    row = {"id": known["id"], "status": "success", "updated_at": "2026-02-01T00:00:00Z"}
    if kind == "pipeline":
        content = fetched.pipeline(row | {"iid": known["iid"], "created_at": "2026-01-31T17:46:00Z"})
    else:
        content = fetched.deployment(row | {"environment": {"name": known["environment"]}}, {})
    source = fetched.Source(body(f"{kind}/success")["project"], INSTANCE, "hook", at(2026, 2, 2))
    await write(engine, [source.delivery(content)])
    assert await only(engine, tables.metadata.tables[kind]) == known
