"""A way to a server that can go silent, be cut, lead elsewhere, or answer in its place.

To the API server it is plain on the near side and TLS on the far one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import yaml

from harness.controlplane import Servers


class Proxy:
    """What becomes of the connections through it."""

    def __init__(self, port: int, *, trust: ssl.SSLContext | None = None) -> None:
        self.port = port
        """Where new connections lead, on this machine."""
        self._trust = trust
        self._near: set[asyncio.StreamWriter] = set()
        self._flows: dict[asyncio.Task[None], asyncio.Event] = {}
        self.passing = True
        """Whether new connections get anywhere; else they are accepted, and that is all."""
        self.says = 0
        """The HTTP status with which new connections are turned away; 0: they are let through."""
        self.turned_away = 0

    @classmethod
    def of(cls, servers: Servers) -> Proxy:
        """To an API server."""
        port = urlsplit(servers.url).port
        assert port
        return cls(port, trust=ssl.create_default_context(cafile=str(servers.authority)))

    def cut(self) -> int:
        """Ends all the connections that there are. Returns how many."""
        for writer in self._near:
            writer.transport.abort()
        return len(self._near)

    def silence(self) -> int:
        """Nothing goes through the connections that there are any more, and they stay open. Returns how many."""
        for flow in self._flows.values():
            flow.clear()
        return len(self._flows)

    @contextlib.asynccontextmanager
    async def serving(self, kubeconfig: Path) -> AsyncIterator[Path]:
        """Until the block ends; yields the same kubeconfig by this way."""
        content = yaml.safe_load(kubeconfig.read_text())  # noqa: ASYNC240 - a small file
        detour = kubeconfig.with_suffix(".detour")
        async with self.listening() as port:
            content["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
            detour.write_text(yaml.safe_dump(content))
            yield detour

    @contextlib.asynccontextmanager
    async def listening(self, *, as_server: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Until the block ends; yields the near port, which speaks TLS if it is given a certificate."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=as_server)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._flows:
                task.cancel()
            await asyncio.gather(*self._flows, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, flow = cast("asyncio.Task[None]", asyncio.current_task()), asyncio.Event()
        self._flows[task] = flow
        task.add_done_callback(self._flows.pop)
        self._near.add(writer)
        task.add_done_callback(lambda _: self._near.discard(writer))
        if self.passing:
            flow.set()
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
            contextlib.closing(writer),
        ):
            if self.says:
                await reader.readuntil(b"\r\n\r\n")
                self.turned_away += 1
                writer.write(f"HTTP/1.1 {self.says} No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            far = await asyncio.open_connection("127.0.0.1", self.port, ssl=self._trust)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, far[1], flow))
                both.create_task(_copy(far[0], writer, flow))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65536):
            await flow.wait()
            writer.write(data)
            await writer.drain()
