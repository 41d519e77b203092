"""A way to the API server that can go silent, or answer in its place. Plain on the near side, TLS on the far one."""

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

    def __init__(self, servers: Servers) -> None:
        self._far = urlsplit(servers.url)
        self._trust = ssl.create_default_context(cafile=str(servers.authority))
        self._flows: dict[asyncio.Task[None], asyncio.Event] = {}
        self.passing = True
        """Whether new connections get anywhere; else they are accepted, and that is all."""
        self.says = 0
        """The HTTP status with which new connections are turned away; 0: they are let through."""
        self.turned_away = 0

    def silence(self) -> int:
        """Nothing goes through the connections that there are any more, and they stay open. Returns how many."""
        for flow in self._flows.values():
            flow.clear()
        return len(self._flows)

    @contextlib.asynccontextmanager
    async def serving(self, kubeconfig: Path) -> AsyncIterator[Path]:
        """Until the block ends; yields the same kubeconfig by this way."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        content = yaml.safe_load(kubeconfig.read_text())  # noqa: ASYNC240 - a small file
        content["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        detour = kubeconfig.with_suffix(".detour")
        detour.write_text(yaml.safe_dump(content))
        try:
            yield detour
        finally:
            server.close()
            for task in self._flows:
                task.cancel()
            await asyncio.gather(*self._flows, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, flow = cast("asyncio.Task[None]", asyncio.current_task()), asyncio.Event()
        self._flows[task] = flow
        task.add_done_callback(self._flows.pop)
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
            far = await asyncio.open_connection(self._far.hostname, self._far.port, ssl=self._trust)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, far[1], flow))
                both.create_task(_copy(far[0], writer, flow))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65536):
            await flow.wait()
            writer.write(data)
            await writer.drain()
