"""A relay as one writes it with `websockets` and asyncio: `python -m benchmarks.peers.websockets_relay --help`."""

from __future__ import annotations

import argparse
import asyncio

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def _pump(source: ServerConnection | ClientConnection, sink: ServerConnection | ClientConnection) -> None:
    try:
        while True:
            # As bytes: a text message is neither decoded nor encoded, which is the cheapest that the library offers.
            await sink.send(await source.recv(decode=False), text=True)
    except ConnectionClosed:
        await sink.close()


async def _serve(port: int, upstream_port: int) -> None:
    async def relay(client: ServerConnection) -> None:
        path = client.request.path if client.request else "/"
        address = f"ws://127.0.0.1:{upstream_port}{path}"
        async with connect(address, compression=None, max_size=None, proxy=None) as agent:
            await asyncio.gather(_pump(client, agent), _pump(agent, client))

    async with serve(relay, "127.0.0.1", port, compression=None, max_size=None) as server:
        await server.serve_forever()


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description="A relay made of websockets and asyncio, for benchmarks.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream-port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(_serve(options.port, options.upstream_port))


if __name__ == "__main__":
    main()
