"""A tiny TCP balancer before several service nodes, as a deployment has one.

The key decision: it knows nothing of what it carries: each new connection goes to the next node that accepts one. A
node is taken out before it is told to stop, as a readiness probe would have done.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from types import TracebackType

CHUNK = 65_536
START_SECONDS = 10.0


class Balancer:
    """Runs in a thread of its own; `ports` are those of the nodes on the loopback interface."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = list(ports)
        self._turns: Iterator[int] = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="balancer", daemon=True)
        self._is_up = threading.Event()
        self.port = 0

    def __enter__(self) -> Balancer:
        self._thread.start()
        if not self._is_up.wait(START_SECONDS):
            raise TimeoutError("the balancer did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)

    def add(self, port: int) -> None:
        """Send connections to this node too."""
        self._ports = [*self._ports, port]

    def remove(self, port: int) -> None:
        """Send it no more; those that it has go on."""
        self._ports = [other for other in self._ports if other != port]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._carry, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end(server))
        self._loop.close()

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        while carrying := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next round

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            if (there := await self._open()) is not None:
                ends.append(there[1])
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        finally:
            for end in ends:
                end.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next node that takes one."""
        ports, turn = self._ports, next(self._turns)
        for offset in range(len(ports)):
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", ports[(turn + offset) % len(ports)])
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end; a reset goes on as a reset."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
