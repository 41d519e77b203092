"""Thousands of half-open connections, and authentic deliveries beside them that do not notice.

1,000 of them by default, for machines that allow few open files; the promise is `GITPULSE_SLOW_CLIENTS=5000`.
"""

import asyncio
import http.client
import itertools
import json
import os
import resource
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from gitpulse_service.contract import WEBHOOK_PATH
from harness.processes import SCRIPTS, answers, free_port, running
from harness.receiver import PUSH, SECRET, eventually

COUNT = int(os.environ.get("GITPULSE_SLOW_CLIENTS", "1000"))
HEAD = f"POST {WEBHOOK_PATH} HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\n".encode()
KINDS = {
    "silent": (b"", b""),
    "a head that dribbles": (HEAD, b"X-Slow: x\r\n"),
    "a head that stops": (HEAD, b""),
    "a body that dribbles": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
    "a body that never comes": (HEAD + b"Content-Length: 1000\r\n\r\n", b""),
}


class Slow(asyncio.Protocol):
    """Sends how it begins, and then a piece now and then."""

    def __init__(self, begin, piece):
        self.begin, self.piece, self.answer, self.open = begin, piece, b"", True

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.begin)

    def data_received(self, data):
        self.answer += data

    def connection_lost(self, _):
        self.open = False


class Deliveries(threading.Thread):
    """A GitLab: a connection for each delivery, about a hundred a second, until it is told to end."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.statuses, self.took, self.end = port, [], [], threading.Event()

    def run(self):
        headers = {"X-Gitlab-Token": SECRET, "X-Gitlab-Event": "Push Hook"}
        while not self.end.wait(0.01):
            started = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("POST", WEBHOOK_PATH, json.dumps(PUSH), headers)
                self.statuses.append(connection.getresponse().status)
            except OSError as error:
                self.statuses.append(repr(error))
            connection.close()
            self.took.append(time.perf_counter() - started)

    def p99_ms(self):
        return sorted(self.took)[int(len(self.took) * 0.99)] * 1000


class Process:
    """What the receiver holds."""

    def __init__(self, pid):
        self.folder = Path(f"/proc/{pid}")

    def files(self):
        return len(list((self.folder / "fd").iterdir()))

    def megabytes(self):
        status = (self.folder / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def wave(port, process):
    """All slow clients at once, until the receiver is rid of them; returns how many files it held at most."""
    loop = asyncio.get_running_loop()
    kinds = itertools.islice(itertools.cycle(KINDS.values()), COUNT)
    slow = [(await loop.create_connection(lambda k=kind: Slow(*k), "127.0.0.1", port))[1] for kind in kinds]
    held = 0
    async with asyncio.timeout(90):
        while any(each.open for each in slow):
            for each in slow:
                if each.open and each.piece:
                    each.transport.write(each.piece)
            held = max(held, process.files())
            await asyncio.sleep(0.5)  # that is how they dribble
    for each in slow:
        expected = b"HTTP/1.1 408 " if b"Content-Length" in each.begin else b""
        # One that is still sending may be reset, and lose it.
        assert each.answer[:13] == expected or (each.piece and not each.answer), each.answer
    return held


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        return page.read().decode()


@pytest.fixture
def files():
    """As many files as we may have."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < COUNT * 2:
        pytest.fail(f"{COUNT} slow clients need a hard limit of {COUNT * 2} open files (ulimit -Hn), not {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.timeout(300)
async def test_half_open_connections_disturb_nobody(tmp_path, redis_url, files, capsys):
    port, metrics_port = free_port(), free_port()
    environment = {"GITPULSE_REDIS_URL": redis_url, "GITLAB_WEBHOOK_SECRET": SECRET}
    # A soft limit that the receiver has to raise.
    argv = ["sh", "-c", 'ulimit -Sn 256; exec "$0" "$@"', SCRIPTS / "gitpulse", "receiver"]
    argv += ["--port", str(port), "--metrics-port", str(metrics_port)]
    with running(argv, log=tmp_path / "log", env=environment, ready=lambda: answers(port)) as child:
        process = Process(child.pid)
        deliveries = Deliveries(port)
        deliveries.start()
        before = process.files()
        held = await wave(port, process)
        first = process.megabytes()
        held = min(held, await wave(port, process))
        second = process.megabytes()
        deliveries.end.set()
        await asyncio.to_thread(deliveries.join)

        async def back():
            return process.files() <= before + 5

        await eventually(back)
        metrics = await asyncio.to_thread(scrape, metrics_port)
    with capsys.disabled():
        sys.stdout.write(
            f"\nslow clients: {COUNT} twice, {held} files held at once; {len(deliveries.took)} deliveries beside them,"
            f" p99 {deliveries.p99_ms():.1f} ms, slowest {max(deliveries.took) * 1000:.0f} ms; {first:.0f} MB after the"
            f" first wave, {second:.0f} after the second\n"
        )
    assert held > COUNT / 2  # all of them, where the machine is not too slow
    assert set(deliveries.statuses) == {200}
    assert deliveries.p99_ms() < 1000  # 250 on a machine of one's own
    assert second < first + 10 + COUNT / 100
    assert f'gitpulse_connections_cut_total{{reason="slow_head"}} {2 * COUNT * 3 / 5}' in metrics
    assert f'gitpulse_connections_cut_total{{reason="slow_body"}} {2 * COUNT * 2 / 5}' in metrics
    assert "Traceback" not in (tmp_path / "log").read_text()
