"""A few thousand cases of what `make soak SUITE=fuzz` runs by the million, and whether the fuzzer itself is right."""

import asyncio
import importlib.util
import random
import sys
from collections import Counter

import pytest
import redis as redis_client
from hypothesis import given, settings, strategies as st

from gitpulse_service.errors import LogFull
from gitpulse_service.log.redis_log import RedisEventLog
from gitpulse_service.receiver.verification import Refusal, verify
from harness.envelopes import envelope
from harness.event_log import open_log
from harness.fuzzer import Found, fuzz
from harness.memory_log import MemoryLog
from harness.nearly_right import NOW, attempt


@pytest.fixture
def atheris():
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this machine or Python; Linux on x86-64 has")
    assert sys.platform == "linux"


@pytest.mark.parametrize("target", ["app", "pure"])
def test_thousands_of_cases_find_nothing(atheris, tmp_path, target):
    figures = fuzz(target, 5000, tmp_path)
    assert figures["cases"] >= 5000
    assert figures["rss_growth_mib"] < 64


def test_a_planted_mistake_is_found_and_its_case_kept(atheris, tmp_path):
    with pytest.raises(Found, match="AssertionError"):
        fuzz("planted", 1_000_000, tmp_path)
    assert list(tmp_path.glob("planted-crash-*"))


class Dealt:
    """Choices of a plain random generator."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def ConsumeIntInRange(self, low, high):  # noqa: N802
        return self._random.randint(low, high)

    def ConsumeBytes(self, count):  # noqa: N802
        return self._random.randbytes(count)


def test_what_is_nearly_right_is_often_right_and_wrong_in_every_way():
    attempts = [attempt(Dealt(seed)) for seed in range(3000)]
    answers = Counter(next(iter(sorted(a.expected())), 0) for a in attempts)
    assert set(answers) == {0, 200, 401, 405, 413, 503}
    assert answers[200] > 500
    verdicts = {verify(a.route, dict(a.headers), a.body, now=NOW) for a in attempts}
    assert verdicts > set(Refusal)


NAMES = st.sampled_from(["a", "b"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.tuples(NAMES, NAMES), max_size=3)),
        st.tuples(st.sampled_from(["read", "acknowledge", "bury", "close"]), NAMES),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_the_log_in_memory_does_as_the_real_one(redis_process, steps):
    with redis_client.Redis.from_url(redis_process.url) as client:
        client.flushall()
    assert asyncio.run(_told(MemoryLog(partitions=1, max_backlog=5), steps)) == asyncio.run(
        _told(open_log(redis_process.url, partitions=1, max_backlog=5), steps)
    )


async def _told(log, steps):
    """What a log answers to each step, job ids by the order in which they came."""
    told, jobs, held = [], {}, []
    for step, about in steps:
        if step == "append":
            try:
                receipts = await log.append([envelope(name, hook_id=hook) for hook, name in about])
            except LogFull:
                told.append("full")
                continue
            told.append([(jobs.setdefault(r.job_id, len(jobs)), r.duplicate, r.partition, r.epoch) for r in receipts])
        elif step == "read":
            held = await log.read(0, consumer=about, count=2, size=1000)
            told.append([(jobs[entry.job_id], entry.envelope) for entry in held])
        elif step == "acknowledge":
            await log.acknowledge(held)
        elif step == "bury" and held:
            await log.bury(held.pop(0), "why")
        elif step == "close":
            await log.close_epoch(0)
        told.append(await log.backlog())
    if isinstance(log, RedisEventLog):
        await log.aclose()
    return told
