"""A way to S3 that a test can cut: passes bytes on, or stops answering, or refuses, as told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit


class S3Proxy:
    """`endpoint` is for the client under test. `stall_when(request line)` says which request is never answered."""

    def __init__(self, behind: str) -> None:
        self._behind = urlsplit(behind)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stall_when: Callable[[str], bool] = lambda _line: False
        self.stalled = asyncio.Event()
        self.requests: list[str] = []
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen, on the port it had before when there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """S3 is gone: connections end, new ones are refused."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind_reader, behind_writer = await asyncio.open_connection(self._behind.hostname, self._behind.port)
            answers = asyncio.create_task(self._pass(behind_reader, writer))
            try:
                await self._pass_requests(reader, behind_writer)
            finally:
                answers.cancel()
                behind_writer.close()
        writer.close()

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            line = data.split(b"\r\n", 1)[0].decode("latin-1")
            if line.endswith("HTTP/1.1"):
                self.requests.append(line)
                if self.stall_when(line):
                    self.stalled.set()
                    await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
