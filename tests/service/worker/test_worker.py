"""The worker process on real Redis and real databases, and what it survives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest
import redis as redis_client

from gitpulse_service.errors import LogFull
from gitpulse_service.log.redis_log import DEAD, RedisEventLog
from gitpulse_service.receiver.doorbell import Doorbell
from gitpulse_service.settings import ServiceSettings
from gitpulse_service.store.engine import create_engine
from harness.dumps import count
from harness.postgres import postgres_server, stopped
from harness.processes import SCRIPTS, free_port, running, stop, wait_until
from harness.redis import redis_server
from harness.samples import body, envelope

GITPULSE = SCRIPTS / "gitpulse"


@pytest.fixture(autouse=True)
def this_tests_services(service_environment, monkeypatch, database_url) -> None:
    """Each test runs on both databases, and takes over from a dead worker soon."""
    monkeypatch.setenv("GITPULSE_DATABASE_URL", database_url)
    monkeypatch.setenv("GITPULSE_CLAIM_IDLE", "0.5")
    monkeypatch.setenv("GITPULSE_BATCH_EVENTS", "50")


@pytest.fixture
def redis(redis_url) -> Iterator[redis_client.Redis]:
    with redis_client.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def worker(tmp_path, metrics_port):
    """Starts `gitpulse worker`; its metrics answer as soon as it works."""

    def start():
        url = f"http://127.0.0.1:{metrics_port}/metrics"
        return running(
            [GITPULSE, "worker", "--metrics-port", str(metrics_port)],
            log=tmp_path / "worker.log",
            ready=lambda: "gitpulse_events_total" in answer(url),
        )

    return start


def answer(url):
    try:
        return httpx2.get(url).text
    except httpx2.TransportError:
        return ""


def push(number, *, hooks=40):
    content = {**body("push/two_commits"), "before": f"{number:040x}", "after": f"{number + 1:040x}"}
    content["commits"] = [{**content["commits"][0], "id": f"{number + 1:040x}"}]
    return envelope(content, delivery_id=f"delivery-{number}", hook_id=f"hook-{number % hooks}", event="Push Hook")


async def accept(envelopes, *, ring=True):
    """What a receiver does with deliveries."""
    settings = ServiceSettings.load()
    log, doorbell = RedisEventLog.from_settings(settings), Doorbell(settings.redis_url)
    try:
        for start in range(0, len(envelopes), 500):
            for receipt in await log.append(envelopes[start : start + 500]):
                if ring:
                    doorbell.ring(receipt)
    finally:
        await doorbell.aclose()
        await log.aclose()


async def counted(table="push"):
    engine = create_engine(os.environ["GITPULSE_DATABASE_URL"])
    try:
        return await count(engine, table)
    finally:
        await engine.dispose()


def counts(table="push"):
    return asyncio.run(counted(table))


def burst(timeout=60, **environment):
    return subprocess.run(
        [GITPULSE, "worker", "--burst", "--metrics-port", str(free_port())],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_delivery_is_counted_as_soon_as_the_doorbell_rings(worker, metrics_port):
    with worker():
        for number in range(3):
            asyncio.run(accept([push(number)]))
            wait_until(lambda n=number: counts() == n + 1, timeout=2, what="counted")
        text = answer(f"http://127.0.0.1:{metrics_port}/metrics")
    assert 'gitpulse_events_total{kind="push",outcome="counted"} 3.0' in text
    assert "gitpulse_counted_after_seconds_count 3.0" in text


def test_what_no_doorbell_announced_is_swept_up(worker):
    with worker():
        asyncio.run(accept([push(1)], ring=False))
        wait_until(lambda: counts() == 1, timeout=10, what="swept")


def test_burst_empties_the_log_and_ends_well(redis):
    asyncio.run(accept([push(n) for n in range(200)], ring=False))
    done = burst()
    assert (done.returncode, counts(), counts("commit")) == (0, 200, 200), done.stderr
    assert sum(redis.xlen(key) for key in redis.scan_iter("gitpulse:log:*")) == 0


def test_burst_waits_for_what_a_dead_worker_held(redis):
    asyncio.run(accept([push(n, hooks=1) for n in range(20)], ring=False))
    (key,) = redis.scan_iter("gitpulse:log:*")
    redis.xgroup_create(key, "drain", "0")
    redis.xreadgroup("drain", "the dead", {key: ">"}, count=10)
    assert burst().returncode == 0
    assert counts() == 20


def test_a_killed_worker_loses_nothing_and_counts_nothing_twice(worker, redis):
    deliveries = [push(n) for n in range(2000)]
    with worker() as process:
        asyncio.run(accept(deliveries))
        wait_until(lambda: counts() > 100, what="in the middle")
        process.send_signal(signal.SIGKILL)
        process.wait()
    in_the_middle = counts()
    assert 100 < in_the_middle < 2000
    with worker():
        wait_until(lambda: counts() == 2000, timeout=40, what="all counted")
        wait_until(lambda: not sum(redis.xlen(k) for k in redis.scan_iter("gitpulse:log:*")), what="log empty")
    assert (counts(), counts("commit"), counts("delivery")) == (2000, 2000, 2000)
    assert redis.xlen(DEAD) == 0


def test_a_worker_that_is_stopped_finishes_its_batch(worker, redis):
    with worker() as process:
        asyncio.run(accept([push(n) for n in range(2000)]))
        wait_until(lambda: counts() > 0, what="begun")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert counts() + sum(redis.xlen(key) for key in redis.scan_iter("gitpulse:log:*")) == 2000


def refuse_a_ref(url, ref):
    """Makes the database refuse one push for its content, as only a surprise would."""
    statements = {
        "sqlite": [
            f"CREATE TRIGGER refuse BEFORE INSERT ON push WHEN NEW.ref = '{ref}'"
            " BEGIN SELECT RAISE(ABORT, 'unwelcome'); END"
        ],
        "postgresql": [f"ALTER TABLE push ADD CONSTRAINT welcome CHECK (ref <> '{ref}')"],
    }

    async def execute():
        engine = create_engine(url)
        async with engine.begin() as connection:
            for statement in statements[engine.dialect.name]:
                await connection.exec_driver_sql(statement)
        await engine.dispose()

    asyncio.run(execute())


def test_poison_is_buried_and_its_neighbours_count(redis, database_url):
    assert burst().returncode == 0  # makes the tables
    refuse_a_ref(database_url, "refs/heads/poison")
    poison = {**body("push/two_commits"), "ref": "refs/heads/poison"}
    wrong = {**body("push/two_commits"), "commits": "none"}
    asyncio.run(
        accept(
            [
                *[push(n, hooks=1) for n in range(20)],
                envelope(poison, delivery_id="poison", hook_id="hook-0", event="Push Hook"),
                envelope(wrong, delivery_id="wrong", hook_id="hook-0", event="Push Hook"),
                *[push(n, hooks=1) for n in range(20, 40)],
            ],
            ring=False,
        )
    )
    done = burst()
    assert (done.returncode, counts(), counts("delivery")) == (0, 40, 40), done.stderr
    reasons = sorted(fields[b"reason"].decode() for _, fields in redis.xrange(DEAD))
    assert [reason.partition(":")[0] for reason in reasons] == ["StoreRefused", "Undecodable"]
    assert "`$.commits`" in reasons[1]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_stops_midway_loses_nothing(worker, monkeypatch, redis, tmp_path):
    with postgres_server() as (url, folder):
        monkeypatch.setenv("GITPULSE_DATABASE_URL", url)
        with worker():
            asyncio.run(accept([push(n) for n in range(600)]))
            wait_until(lambda: counts() > 50, what="in the middle")
            with stopped(folder):
                asyncio.run(accept([push(n) for n in range(600, 700)]))
                wait_until(lambda: "waits:" in (tmp_path / "worker.log").read_text(), what="noticed")
            wait_until(lambda: counts() == 700, timeout=40, what="all counted")
    assert redis.xlen(DEAD) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_redis_that_goes_away_for_a_while_does_not_end_the_worker(worker, monkeypatch, tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, appendonly=True) as server:
        monkeypatch.setenv("GITPULSE_REDIS_URL", server.url)
        with worker() as process:
            asyncio.run(accept([push(1)]))
            wait_until(lambda: counts() == 1, what="counted")
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: "starting over" in (tmp_path / "worker.log").read_text(), what="noticed")
            with redis_server(folder, port=server.port, appendonly=True):
                asyncio.run(accept([push(2)]))
                wait_until(lambda: counts() == 2, timeout=30, what="counted again")
            assert process.poll() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_must_be_named(monkeypatch):
    monkeypatch.delenv("GITPULSE_DATABASE_URL")
    done = burst()
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "GITPULSE_DATABASE_URL: is not set")


ARQ = [SCRIPTS / "arq", "gitpulse_service.worker.main.WorkerSettings"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_arqs_own_command_runs_it_too(tmp_path, redis):
    alive = lambda: redis.keys("gitpulse:worker:*")  # noqa: E731
    with running(ARQ, log=tmp_path / "arq.log", ready=alive) as process:
        asyncio.run(accept([push(1)]))
        wait_until(lambda: counts() == 1, what="counted")
        assert subprocess.run([*ARQ, "--check"], check=False, capture_output=True).returncode == 0
        stop(process)
    assert process.returncode == 0
    assert "Traceback" not in (tmp_path / "arq.log").read_text()


BURST = [GITPULSE, "worker", "--burst", "--metrics-port", "0"]
# the same program, with fewer tries to reach what is not there
IMPATIENT = [
    sys.executable,
    "-c",
    "import gitpulse_service.worker.main as m; m.START_TRIES = 2; import gitpulse_cli.main as c; c.run()",
]
WRONG = [
    (BURST, {"GITPULSE_DATABASE_URL": ""}, 2, "GITPULSE_DATABASE_URL: must start with postgresql:// or sqlite:///"),
    (BURST, {"GITPULSE_DATABASE_URL": "sqlite:////absent/folder/x.db"}, 1, "there is no folder /absent/folder"),
    ([*IMPATIENT, *BURST[1:]], {"GITPULSE_REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "127.0.0.1:1"),
    (ARQ, {"GITPULSE_DATABASE_URL": "mysql://"}, 2, "GITPULSE_DATABASE_URL: must start with"),
    (ARQ, {"GITPULSE_DATABASE_URL": "sqlite:////absent/folder/x.db"}, 1, "there is no folder /absent/folder"),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_wrong_at_start_is_one_line_and_an_exit_code():
    started = [
        subprocess.Popen(program, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)
        for program, environment, _, _ in WRONG
    ]
    for process, (_, environment, code, says) in zip(started, WRONG, strict=True):
        _, output = process.communicate(timeout=30)
        assert (process.returncode, says in output) == (code, True), (environment, output)
        assert "Traceback" not in output


def test_importing_the_worker_needs_no_environment():
    done = subprocess.run(
        [sys.executable, "-c", "import gitpulse_service.worker.main"], env={"PATH": os.environ["PATH"]}, check=False
    )
    assert done.returncode == 0


def test_burst_empties_a_redis_without_memory(service_environment, redis_url):
    """The way out where limit and maxmemory do not fit: arq's own jobs need memory, this does not."""
    asyncio.run(accept([push(number) for number in range(40)], ring=False))
    assert burst().returncode == 0, "from now on every partition has its consumer group"
    asyncio.run(accept([push(number) for number in range(40, 300)], ring=False))
    with redis_client.Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", redis.info("memory")["used_memory"] - 100_000)
        try:
            with pytest.raises(LogFull):
                asyncio.run(accept([push(300)], ring=False))
            done = burst()
            assert done.returncode == 0, done.stderr
            assert counts() == 300
            asyncio.run(accept([push(300)], ring=False))
        finally:
            redis.config_set("maxmemory", 0)
