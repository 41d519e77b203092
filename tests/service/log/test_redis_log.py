"""The event log on a real Redis: what is stored, once, and where it goes."""

import asyncio
import os
import zlib

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gitpulse_service.contract import feedback_key
from gitpulse_service.errors import LogFull
from gitpulse_service.log.codec import encode
from gitpulse_service.log.redis_log import DEAD, FEEDBACK_KEPT, WAITING, seen_key, stream
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.redis import redis_server

PARTITION = zlib.crc32(b"hook") % 4


async def read(log, consumer="a", *, partition=PARTITION, count=100, size=1 << 20):
    return await log.read(partition, consumer=consumer, count=count, size=size)


def ids(entries):
    return [e.envelope.delivery_id for e in entries]


async def test_a_stored_delivery_is_read_as_it_was(log):
    sent = envelope(body=b'{"object_kind":"push"}')
    (receipt,) = await log.append([sent])
    assert (receipt.duplicate, receipt.partition, receipt.epoch) == (False, PARTITION, 0)
    (entry,) = await read(log)
    assert entry.job_id == receipt.job_id
    assert entry.envelope == sent
    assert receipt.job_id.startswith(f"{PARTITION}-")


async def test_the_same_delivery_is_stored_once(log, redis):
    first, again = await log.append([envelope("one"), envelope("one")])
    assert (first.duplicate, again.duplicate) == (False, True)
    (later,) = await log.append([envelope("one")])
    assert later.duplicate
    assert first.job_id == again.job_id == later.job_id
    assert await redis.xlen(stream(PARTITION)) == 1


async def test_another_hooks_delivery_of_the_same_id_is_another(log):
    receipts = await log.append([envelope("one"), envelope("one", hook_id="other")])
    assert [r.duplicate for r in receipts] == [False, False]


async def test_a_counted_delivery_is_still_a_duplicate_until_the_window_ends(redis_url, redis):
    log = open_log(redis_url, dedupe_window=60)
    await log.append([envelope()])
    await log.acknowledge(await read(log))
    assert (await log.append([envelope()]))[0].duplicate
    assert 0 < await redis.ttl(seen_key(envelope())) <= 60
    await redis.delete(seen_key(envelope()))  # as the window's end does
    assert not (await log.append([envelope()]))[0].duplicate
    await log.aclose()


async def test_a_hook_stays_in_its_partition_and_hooks_spread(log):
    receipts = await log.append([envelope(str(i), hook_id=f"hook{i % 20}") for i in range(60)])
    assert {r.partition for r in receipts} == {0, 1, 2, 3}
    assert len({(i % 20, r.partition) for i, r in enumerate(receipts)}) == 20
    assert await log.backlog() == {p: sum(r.partition == p for r in receipts) for p in range(4)}


async def test_the_operator_finds_what_was_accepted_and_refused(log, redis):
    await log.append([envelope("one", generation=1), envelope("two", generation=2), envelope("two", generation=2)])
    await log.note_refused("hook", "wrong_token")
    notes = await redis.hgetall(feedback_key("hook"))
    assert notes[b"accepted:1"] == notes[b"accepted:2"] == b"1780000000000"
    assert notes[b"refused:reason"] == b"wrong_token"
    assert int(notes[b"refused"]) > 1_700_000_000_000
    assert 0 < await redis.ttl(feedback_key("hook")) <= FEEDBACK_KEPT


async def test_the_operator_finds_that_a_group_has_changed(log, redis):
    await log.append([envelope("one")])
    assert b"changed" not in await redis.hgetall(feedback_key("hook"))
    for event in ("Member Hook", "Subgroup Hook", "Project Hook"):
        await log.append([replace(envelope(event, hook_id=event), event=event), envelope(f"a push beside {event}")])
        assert (await redis.hgetall(feedback_key(event)))[b"changed"] == b"1780000000000"
    assert b"changed" not in await redis.hgetall(feedback_key("hook"))


async def test_a_duplicate_proves_its_secret_too(log, redis):
    await log.append([envelope(generation=1)])
    await log.append([envelope(generation=2)])  # resent, after the secret has changed
    assert b"accepted:2" in await redis.hgetall(feedback_key("hook"))


async def test_a_full_log_takes_nothing_and_forgets_nothing(redis_url, redis):
    log = open_log(redis_url, max_backlog=3)
    await log.append([envelope("one"), envelope("two"), envelope("elsewhere", hook_id="other")])
    before = sorted(await redis.keys())
    with pytest.raises(LogFull, match="GITPULSE_MAX_BACKLOG"):
        await log.append([envelope("three", hook_id="third")])
    assert sorted(await redis.keys()) == before
    await log.acknowledge(await read(log))
    assert not (await log.append([envelope("three", hook_id="third")]))[0].duplicate
    await log.aclose()


async def test_a_log_with_enough_bytes_takes_nothing_until_some_are_counted(redis_url, redis):
    """Of what is random, and so takes as much room compressed."""
    log = open_log(redis_url, max_backlog_bytes=50_000)
    await log.append([envelope(f"{i}", body=os.urandom(10_000)) for i in range(4)])
    survey = await log.survey()
    assert 40_000 < survey.bytes < 41_000
    before = sorted(await redis.keys())
    with pytest.raises(LogFull, match="GITPULSE_MAX_BACKLOG"):
        await log.append([envelope("more", body=os.urandom(10_000))])
    assert sorted(await redis.keys()) == before
    await log.append([envelope("small", body=b"{}")])
    await log.acknowledge((await read(log))[:1])
    assert not (await log.append([envelope("more", body=os.urandom(10_000))]))[0].duplicate
    await log.aclose()


async def test_bytes_are_taken_off_once_however_often_they_are_acknowledged(log):
    await log.append([envelope("one"), envelope("two"), envelope("two")])
    one, two = await read(log)
    assert (await log.survey()).bytes == one.size + two.size
    for _ in range(3):
        await log.acknowledge([one])
    assert (await log.survey()).bytes == two.size
    await log.bury(one, "Undecodable")
    await log.bury(two, "Undecodable")
    await log.bury(two, "Undecodable")
    survey = await log.survey()
    assert (survey.bytes, survey.dead_letters) == (0, 1)


async def test_a_count_that_was_wrong_is_right_once_the_partition_was_empty(redis_url, redis):
    """As after entries that somebody deleted by hand, or that an older version stored or counted."""
    log = open_log(redis_url, max_backlog_bytes=1000)
    await redis.hset(WAITING, mapping={str(PARTITION): 10**9, "200": 10**9, "3": -5})
    await log.append([envelope("one")])
    (one,) = await read(log)
    assert (await log.survey()).bytes == one.size
    await redis.hset(WAITING, str(PARTITION), -(10**9))
    assert (await log.survey()).bytes == 0
    await log.acknowledge([one])
    await log.append([envelope("two")])
    assert (await log.survey()).bytes == one.size
    await log.aclose()


async def test_a_redis_without_memory_lets_workers_count_and_so_gets_some(tmp_path):
    """It refuses all that takes memory, and every transaction; if counting were one, it would stay full for ever."""
    with redis_server(tmp_path) as server:
        log = open_log(server.url)
        await log.append([envelope("first")])
        await log.acknowledge(await read(log))
        await log.append([envelope(f"{i}", body=os.urandom(100_000)) for i in range(50)])
        async with Redis.from_url(server.url) as redis:
            await redis.config_set("maxmemory", (await redis.info("memory"))["used_memory"] - 1_000_000)
        with pytest.raises(LogFull, match="out of memory"):
            await log.append([envelope("more")])
        bad, *batch = await read(log, size=1 << 30)
        await log.bury(bad, "Undecodable")
        await log.acknowledge(batch)
        survey = await log.survey()
        assert (len(batch), survey.bytes, survey.dead_letters) == (49, 0, 1)
        assert not (await log.append([envelope("more")]))[0].duplicate
        await log.aclose()


async def test_a_consumer_gets_back_what_it_held_and_then_what_is_new(log):
    await log.append([envelope("one"), envelope("two")])
    assert ids(await read(log)) == ["one", "two"]
    await log.append([envelope("three")])
    assert ids(await read(log)) == ["one", "two", "three"]
    assert ids(await read(log, "b")) == []


async def test_what_a_dead_worker_held_goes_to_another_after_a_while(redis_url, redis):
    slow, quick = open_log(redis_url, claim_idle=60), open_log(redis_url, claim_idle=0.01)
    names = [str(i) for i in range(70)]
    await slow.append([envelope(name) for name in names])
    await read(slow, "dead")
    assert await read(slow, "heir") == []
    await asyncio.sleep(0.03)  # the time that makes it idle is what is tested
    assert ids(await read(quick, "heir")) == names
    assert await read(slow, "dead") == []
    await slow.aclose()
    await quick.aclose()


async def test_an_acknowledged_delivery_is_gone(log, redis):
    await log.append([envelope(str(i)) for i in range(3)])
    first, *rest = await read(log)
    await log.acknowledge([first])
    assert ids(await read(log)) == ids(rest)
    await log.acknowledge(rest)
    assert await log.backlog() == dict.fromkeys(range(4), 0)
    assert (await redis.xpending(stream(PARTITION), "drain"))["pending"] == 0


async def test_a_batch_is_cut_by_count_and_by_bytes_and_nothing_is_left_behind(log):
    await log.append([envelope(str(i), body=b"x" * 1000) for i in range(100)])
    assert ids(await read(log, count=7)) == [str(i) for i in range(7)]
    some = await read(log, size=2500)
    assert ids(some) == ["0", "1", "2"]
    seen = []
    while batch := await read(log, count=40):
        seen += ids(batch)
        await log.acknowledge(batch)
    assert seen == [str(i) for i in range(100)]


async def test_one_delivery_larger_than_a_batch_still_comes(log):
    await log.append([envelope("huge", body=b"x" * 300_000), envelope("next")])
    assert ids(await read(log, size=1000)) == ["huge"]


async def test_a_buried_delivery_is_kept_with_its_reason_and_blocks_nobody(log, redis):
    await log.append([envelope("bad"), envelope("good")])
    bad, good = await read(log)
    await log.bury(bad, "Undecodable")
    assert ids(await read(log)) == ["good"]
    ((_, letter),) = await redis.xrange(DEAD)
    assert letter[b"job"].decode() == bad.job_id
    assert letter[b"reason"] == b"Undecodable"
    await log.bury_unread(envelope("refused"), "not_json")
    assert (await redis.xrange(DEAD))[-1][1][b"reason"] == b"not_json"
    assert good.envelope.delivery_id == "good"


async def test_an_entry_that_nobody_can_read_goes_to_the_dead_letters(log, redis):
    await redis.xadd(stream(PARTITION), {"entry": b"garbage"})
    await redis.xadd(stream(PARTITION), {"what": b"garbage"})
    await log.append([envelope("one")])
    assert ids(await read(log)) == ["one"]
    assert [f[b"reason"] for _, f in await redis.xrange(DEAD)] == [b"Corrupt", b"Corrupt"]
    assert (await log.backlog())[PARTITION] == 1


async def test_an_entry_deleted_by_hand_is_let_go(log, redis):
    await log.append([envelope("one"), envelope("two")])
    first, _ = await read(log)
    await redis.xdel(stream(PARTITION), first.job_id.partition("-")[2])
    assert ids(await read(log)) == ["two"]
    assert (await redis.xpending(stream(PARTITION), "drain"))["pending"] == 1


async def test_a_closed_epoch_gives_the_next_delivery_a_new_one(log):
    assert (await log.append([envelope("one")]))[0].epoch == 0
    await log.close_epoch(PARTITION)
    assert [r.epoch for r in await log.append([envelope("two"), envelope("one")])] == [1, 1]
    other = envelope("three", hook_id="other")
    assert (await log.append([other]))[0].epoch == (1 if zlib.crc32(b"other") % 4 == PARTITION else 0)


async def test_a_script_that_redis_forgot_is_loaded_again(log, redis):
    await log.append([envelope("one")])
    await redis.script_flush()
    assert not (await log.append([envelope("two")]))[0].duplicate


async def test_what_waits_is_surveyed_with_the_age_of_the_oldest(log, redis):
    nothing = await log.survey()
    assert (nothing.deliveries, nothing.oldest) == (dict.fromkeys(range(4), 0), dict.fromkeys(range(4), 0.0))
    entry = encode(envelope())
    seconds, _ = await redis.time()
    await redis.xadd(stream(PARTITION), {"entry": entry}, id=f"{(seconds - 90) * 1000}-7")
    await log.append([envelope("younger")])
    await read(log)  # what somebody holds waits too
    survey = await log.survey()
    assert survey.deliveries[PARTITION] == 2
    assert 89 < survey.oldest[PARTITION] < 120
    assert sum(survey.oldest.values()) == survey.oldest[PARTITION]


async def test_no_deliveries_is_no_call(log):
    assert await log.append([]) == []
    await log.acknowledge([])


async def test_two_workers_that_start_together_share_a_new_partition(log):
    await log.append([envelope(str(i)) for i in range(50)])
    batches = await asyncio.gather(*(read(log, f"worker{i}", count=50) for i in range(5)))
    assert sorted(i for batch in batches for i in ids(batch)) == sorted(map(str, range(50)))
