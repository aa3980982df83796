"""An upstream that repeats every message: `python -m soak.echo_server --port N`.

It is made with the `websockets` library, whose own conformance is known, and shares no code with the relay.
"""

from __future__ import annotations

import argparse
import asyncio

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def _repeat(peer: ServerConnection) -> None:
    try:
        async for message in peer:
            await peer.send(message)
    except ConnectionClosed:  # the relay ends conversations in every way there is
        return


async def _serve(port: int) -> None:
    async with serve(_repeat, "127.0.0.1", port, compression=None, max_size=None, ping_interval=None) as server:
        await server.serve_forever()


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description="Repeat every message.")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
