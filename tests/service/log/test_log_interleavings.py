"""Whatever order of appends, reads, acknowledgements and crashes: each delivery is in the log exactly once."""

import asyncio

import redis as redis_client
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gitpulse_service.log.dead_letters import DeadLetters
from gitpulse_service.log.redis_log import WAITING, stream
from harness.envelopes import envelope
from harness.event_log import open_log

CONSUMERS = st.sampled_from(["a", "b", "c"])
EVERYTHING = {"count": 1000, "size": 1 << 30}


class Log(RuleBasedStateMachine):
    """The model: where each delivery that was accepted is now."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.client = redis_client.Redis.from_url(url)
        self.client.flushall()
        self.runner = asyncio.Runner()
        self.patient = open_log(url, partitions=1, claim_idle=3600)
        self.eager = open_log(url, partitions=1, claim_idle=0.001)
        self.dead = DeadLetters(self.patient._redis, 1)
        self.accepted: dict[str, str] = {}
        self.holder: dict[str, str | None] = {}
        """Deliveries in the log, and who has read them."""
        self.read: dict[str, list] = {"a": [], "b": [], "c": []}

    def run(self, coroutine):
        return self.runner.run(coroutine)

    @rule(names=st.lists(st.integers(0, 30).map(str), min_size=1, max_size=6))
    def append(self, names):
        receipts = self.run(self.patient.append([envelope(n, body=b"x" * 100) for n in names]))
        for name, receipt in zip(names, receipts, strict=True):
            assert receipt.duplicate == (name in self.accepted)
            if not receipt.duplicate:
                self.holder[name] = None
            assert self.accepted.setdefault(name, receipt.job_id) == receipt.job_id

    @rule(consumer=CONSUMERS)
    def take_all(self, consumer):
        entries = self.run(self.patient.read(0, consumer=consumer, **EVERYTHING))
        mine = [n for n, h in self.holder.items() if h in (consumer, None)]
        assert sorted(e.envelope.delivery_id for e in entries) == sorted(mine)
        self.took(consumer, entries)

    @rule(consumer=CONSUMERS, count=st.integers(1, 5), size=st.integers(1, 500), eager=st.booleans())
    def take_some(self, consumer, count, size, eager):
        log = self.eager if eager else self.patient
        entries = self.run(log.read(0, consumer=consumer, count=count, size=size))
        names = [e.envelope.delivery_id for e in entries]
        assert len(names) <= count
        assert len(set(names)) == len(names)
        assert set(names) <= set(self.holder)
        if any(h in (consumer, None) for h in self.holder.values()):
            assert names
        self.took(consumer, entries)
        # What was fetched and not returned is this consumer's too; ask for it, as its next turn would.
        self.took(consumer, self.run(self.patient.read(0, consumer=consumer, **EVERYTHING)))

    def took(self, consumer, entries):
        for entry in entries:
            self.holder[entry.envelope.delivery_id] = consumer
        self.read[consumer] = entries

    @rule(consumer=CONSUMERS, data=st.data())
    def acknowledge(self, consumer, data):
        done = (
            data.draw(st.lists(st.sampled_from(self.read[consumer]), unique_by=lambda e: e.job_id))
            if self.read[consumer]
            else []
        )
        self.run(self.patient.acknowledge(done))
        for entry in done:
            self.holder.pop(entry.envelope.delivery_id, None)  # another may have counted it before
        self.read[consumer] = [e for e in self.read[consumer] if e not in done]

    @rule(consumer=CONSUMERS, data=st.data())
    def bury(self, consumer, data):
        if self.read[consumer]:
            entry = data.draw(st.sampled_from(self.read[consumer]))
            self.run(self.patient.bury(entry, "Undecodable"))
            self.holder.pop(entry.envelope.delivery_id, None)
            self.read[consumer].remove(entry)

    @rule()
    def dig_up(self):
        """Every dead letter goes back into the log, as the same delivery under another id."""
        for letter in self.run(self.letters()):
            assert letter.envelope.delivery_id not in self.holder
            self.holder[letter.envelope.delivery_id] = None
        assert self.run(self.dead.retry_all())[1] == 0
        assert self.run(self.letters()) == []

    async def letters(self):
        return [letter async for letter in self.dead.newest()]

    @invariant()
    def the_bytes_that_wait_are_those_of_what_is_there(self):
        stored = sum(len(fields[b"entry"]) for _, fields in self.client.xrange(stream(0)))
        survey = self.run(self.patient.survey())
        assert (survey.bytes, survey.deliveries) == (stored, {0: len(self.holder)})
        assert int(self.client.hget(WAITING, 0) or 0) == stored

    @rule(consumer=CONSUMERS)
    def crash(self, consumer):
        self.read[consumer] = []

    def teardown(self):
        async def finish():
            counted = []
            for _ in range(50):
                entries = await self.eager.read(0, consumer="heir", **EVERYTHING)
                await self.eager.acknowledge(entries)
                counted += [e.envelope.delivery_id for e in entries]
                if not sum((await self.eager.backlog()).values()):
                    break
                await asyncio.sleep(0.002)  # until what the others held is idle
            backlog = await self.patient.backlog()
            await self.eager.aclose()
            await self.patient.aclose()
            return counted, backlog

        self.client.close()
        with self.runner:
            counted, backlog = self.run(finish())
        assert sorted(counted) == sorted(self.holder)
        assert backlog == {0: 0}


def test_any_interleaving_keeps_each_delivery_exactly_once(redis_url):
    run_state_machine_as_test(
        lambda: Log(redis_url),
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
