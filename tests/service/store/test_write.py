"""What the tables say after recorded deliveries, whichever comes first."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import msgspec
import pytest
import sqlalchemy as sa

from gitpulse_service.errors import StoreRefused
from gitpulse_service.events import fetched
from gitpulse_service.events.decode import decode
from gitpulse_service.store import tables
from gitpulse_service.store.rows import project_key, version
from gitpulse_service.store.write import apply
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


async def test_a_pipelines_variables_are_not_stored(engine):
    await write(engine, deliveries("pipeline/with_variables"))
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
        found = await connection.execute(sa.select(tables.commit.c.author_email).order_by(sa.text("author_email")))
        assert list(found.scalars()) == ["ben@acme.example", "zoe@acme.example"]


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


async def test_of_a_delivery_that_came_twice_the_first_is_kept(engine):
    late = envelope(body("push/resent"), delivery_id="push/two_commits", received_at=1_769_999_000_000)
    (early,) = deliveries("push/two_commits")
    for order in ((late, early), (early, late)):
        await wipe(engine)
        await write_each(engine, order)
        assert (await only(engine, tables.delivery))["body"] == early.body


async def test_an_uncounted_kind_is_kept_raw(engine):
    await write(engine, deliveries("note/on_merge_request", "work_item/open_task"))
    assert [await count(engine, t) for t in ("delivery", "project", "issue")] == [2, 0, 0]


async def test_a_batch_is_written_whole_or_not_at_all(engine):
    (bad,) = deliveries("issue/open")
    event = decode(bad)
    attributes = msgspec.structs.replace(event.object_attributes, iid=2**70)  # what no decoder lets through
    bad_event = msgspec.structs.replace(event, object_attributes=attributes)
    with pytest.raises(StoreRefused):
        await apply(engine, [*((e, decode(e)) for e in deliveries("push/two_commits")), (bad, bad_event)])
    assert await count(engine, "delivery") == 0


def test_a_project_key_is_stable_and_fits_a_signed_column():
    assert project_key("https://gitlab.example.com", 42) == 7147083693731576325
    assert 0 <= project_key("", 0) < 2**63


def test_a_version_orders_by_time_then_rank_then_always_the_same_way():
    early, late = at(2026, 1, 1), at(2026, 1, 2)
    assert version(None, 9) < version(early, 0, "b") < version(early, 1, "a") < version(late, 0, "a")
    assert version(early, 0, "a") == version(early, 0, "a") != version(early, 0, "b")
    assert len(version(early, 0)) == 17


async def test_it_says_how_many_rows_are_new_or_know_more(engine):
    first = [(e, decode(e)) for e in deliveries("push/two_commits")]
    assert (await apply(engine, first))["commit"] == 2
    again = await apply(engine, first)
    assert set(again.values()) == {0}, again
    later = [(e, decode(e)) for e in deliveries("push/two_commits", hook_id="another")]
    assert await apply(engine, later) == {"delivery": 1, "project": 0, "push": 0, "commit": 0}


async def test_a_fetched_row_takes_nothing_away(engine):
    """A list of pipelines does not say when one ended, though it may be newer than the last delivery."""
    await write(engine, deliveries("pipeline/success"))
    known = await only(engine, tables.pipeline)
    assert known["finished_at"]
    row = {"id": 501, "iid": known["iid"], "status": "success", "created_at": "2026-01-31T17:46:00Z"}
    row["updated_at"] = "2026-02-01T00:00:00Z"
    project = body("pipeline/success")["project"]
    gap = at(2026, 1, 30), at(2026, 2, 2)
    found = fetched.delivery(fetched.KINDS["pipelines"], row, project, "hook", INSTANCE, gap)
    assert (await apply(engine, [(found, decode(found))]))["pipeline"] == 1
    assert (await only(engine, tables.pipeline))["finished_at"] == known["finished_at"]
