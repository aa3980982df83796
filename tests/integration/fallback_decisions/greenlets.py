# ruff: noqa: E402  # gevent patches before anything else is imported
"""Run by `test_greenlets.py` in a process of its own: decides in a patched worker while Redis and the primary hang.

Prints how many ticks of 10 ms there were, the longest one in milliseconds, and the state that the breaker came to.
"""

from gevent import monkey

monkey.patch_all()

import sys
import threading
import time

from scripts.launcher.waiting import wait_until
from service.config import Settings
from service.elevenlabs.faults import fault_of
from service.errors import UpstreamUnavailableError
from service.fallback.fallback_service import make_fallback_service
from service.storage import Capability, open_database
from tests.integration.fallback_decisions.conftest import client

SECONDS = 1.5


def main(redis_url: str, database_url: str) -> None:
    probed, leaves = threading.Event(), threading.Event()

    def hang(_provider: str, _capability: Capability) -> None:
        probed.set()
        leaves.wait(10.0)

    service = make_fallback_service(
        Settings(breaker_open_seconds=0.1),  # type: ignore[call-arg]
        database=open_database(database_url),
        store=client(redis_url),
        canary=hang,
    )
    service.start()
    fault = fault_of(UpstreamUnavailableError("It is down.", code="http_500"))
    for _ in range(5):
        service.failed("elevenlabs", Capability.CONVERSATION, fault)
    ticks, longest = 0, 0.0
    last = time.monotonic()
    end = last + SECONDS
    while last < end:
        time.sleep(0.01)
        service.plan(Capability.CONVERSATION, key=f"conv_{ticks}")
        now = time.monotonic()
        ticks, longest, last = ticks + 1, max(longest, now - last), now
    wait_until(probed.is_set, 10.0)
    state = service.breakers()[0].state
    leaves.set()
    service.close()
    print(ticks, round(longest * 1000), state)


if __name__ == "__main__":
    main(*sys.argv[1:])
