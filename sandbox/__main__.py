"""Run the sandbox: `python -m sandbox --port 8011 --plan creator`.

The key decision: this is the only file of the sandbox that knows gevent. It patches first, then imports the rest.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402  # nothing may be imported before the patch
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.pywsgi import WSGIHandler, WSGIServer  # noqa: E402

from sandbox.app import create_app  # noqa: E402
from sandbox.plans import PLANS  # noqa: E402
from sandbox.state import Options, SandboxState  # noqa: E402
from service.errors import ConfigurationError  # noqa: E402

STALL_SECONDS = 60.0
"""How long a client may leave an answer unread (or a kept-alive connection unused) before it is dropped."""


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types for it
    """A request's handler that writes at once and lets a fault cut the connection."""

    # gevent's timeout carries no number: without this, each stalled client would leave a traceback behind.
    ignored_socket_errors = (*WSGIHandler.ignored_socket_errors, "timed out")

    def get_environ(self) -> dict[str, Any]:
        self.socket.settimeout(STALL_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        environ: dict[str, Any] = super().get_environ()
        environ["sandbox.socket"] = self.socket
        return environ


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code."""
    parsed = _parser().parse_args(arguments)
    state = SandboxState(_options(parsed))
    try:
        app = create_app(state)
        state.start()
    except ConfigurationError as exc:
        sys.stderr.write(f"The sandbox cannot start: {exc}\n")
        return 2
    server = WSGIServer(
        (parsed.host, parsed.port),
        app,
        handler_class=_Handler,
        log=sys.stderr if parsed.access_log else None,
    )
    try:
        server.start()
    except OSError as exc:
        state.close()
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        sys.stderr.write(f"The sandbox cannot listen on {parsed.host}:{parsed.port}: {reason}. Use --port.\n")
        return 1
    _say(f"Sandbox of ElevenLabs on http://{parsed.host}:{server.server_port}, plan {state.plan.name}: {state.real()}")
    if parsed.warm_ears and state.ears is not None:
        gevent.spawn(state.ears.start)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    stopped.wait()
    server.stop(timeout=0)
    state.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Conversations that are still open would hold a normal exit until they end; nothing of theirs is worth saving.
    os._exit(0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options(parsed: argparse.Namespace) -> Options:
    return Options(
        plan=parsed.plan,
        api_key=parsed.api_key,
        state_folder=parsed.state_folder,
        ears=not parsed.no_ears,
        seed=parsed.seed,
        latency_scale=parsed.latency_scale,
        queue_seconds=parsed.queue_seconds,
        old_errors=parsed.old_errors,
        agents_file=parsed.agents,
        agent_slots=parsed.agent_slots,
    )


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return number


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 60:
        raise argparse.ArgumentTypeError("must be from 0 to 60")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A stand-in for ElevenLabs.")
    parser.add_argument("--port", type=_port, default=8011, help="port to listen on; 0 takes a free one (default 8011)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--plan", choices=list(PLANS), default="creator", help="the account's plan (default creator)")
    parser.add_argument("--agents", type=Path, metavar="FILE", help="YAML file of the agents (default: the built-in)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the dice behind faults with a probability")
    parser.add_argument("--api-key", metavar="KEY", help="the only key that is accepted (default: any)")
    parser.add_argument(
        "--agent-slots", type=int, metavar="N", help="conversations at once (default: the plan's, at most 30)"
    )
    parser.add_argument(
        "--latency-scale",
        type=_not_negative,
        default=1.0,
        metavar="FACTOR",
        help="multiplies every wait that imitates the real service's speed; 0 for tests (default 1)",
    )
    parser.add_argument(
        "--queue-seconds",
        type=_not_negative,
        default=1.0,
        metavar="SECONDS",
        help="how long a request waits for a slot before it gets 429 (default 1)",
    )
    parser.add_argument(
        "--state-folder",
        type=Path,
        default=Path(".vocero"),
        metavar="FOLDER",
        help="where the ears' model is put together, 150 MB (default .vocero)",
    )
    parser.add_argument("--no-ears", action="store_true", help="transcribe nothing, even if the extra is installed")
    parser.add_argument(
        "--warm-ears", action="store_true", help="load the ears at the start and not at the first speech to text"
    )
    parser.add_argument("--old-errors", action="store_true", help="answer errors with the bodies of before 2026")
    parser.add_argument("--access-log", action="store_true", help="write a line for each request to standard error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
