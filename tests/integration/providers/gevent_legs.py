"""Run by a test in a process of its own, patched as a worker is: local legs must stop nobody else and leave nothing.

Prints, as JSON, how many legs spoke, how soon, and how much CPU there was at most between two turns of a ticker.
"""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402 (after the patch, as in the entry points)
import json  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import structlog  # noqa: E402
from greenlet import greenlet  # noqa: E402

from scripts.launcher.waiting import wait_until  # noqa: E402
from service.fallback.backup_parts import PartsOptions  # noqa: E402
from service.fallback.local_leg import LocalLegs, Takeover  # noqa: E402
from tests.integration.providers.conftest import make_legs  # noqa: E402
from tests.integration.providers.leg_talk import LegTalk  # noqa: E402

TICK_SECONDS = 0.01
REST = "and this is the end of what I had to say to you."


def main(count: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parts, legs = make_legs(PartsOptions())
    parts.start()
    _hold(legs)  # what is only loaded once is loaded now
    before = _left()
    longest, is_over = [0.0], threading.Event()

    def tick() -> None:
        while not is_over.is_set():
            begin = time.process_time()  # what others do on this machine is not ours
            time.sleep(TICK_SECONDS)
            longest[0] = max(longest[0], time.process_time() - begin)

    ticker = threading.Thread(target=tick)
    ticker.start()
    firsts: list[float] = []
    holders = [threading.Thread(target=lambda: firsts.append(_hold(legs))) for _ in range(count)]
    for holder in holders:
        holder.start()
    for holder in holders:
        holder.join(30)
    is_over.set()
    ticker.join(10)
    wait_until(lambda: all(now <= then for now, then in zip(_left(), before, strict=True)), 20.0, "end of every leg")
    sys.stdout.write(json.dumps({"spoke": len(firsts), "first_audio": max(firsts), "longest_tick": longest[0]}))


def _hold(legs: LocalLegs) -> float:
    """One leg that is interrupted and closed; the seconds to its first sound."""
    begin = time.monotonic()
    talk = LegTalk(legs.open(Takeover(agent_id="a", conversation_id="c", rest=REST, full_text=f"Well, {REST}")))
    talk.wait_for("audio")
    first = time.monotonic() - begin
    talk.write("Thank you.")
    talk.wait_for("agent_response")
    talk.leg.socket.close()
    return first


def _left() -> tuple[int, int]:
    gc.collect()
    alive = sum(isinstance(found, greenlet) and not found.dead for found in gc.get_objects())
    return alive, len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
