# ruff: noqa: E402  # gevent patches before anything else is imported
"""Run by `test_greenlets.py` in a process of its own: tells spans in a patched worker.

Prints the longest tick of 10 ms while the spans were sent, in milliseconds, and how long `close` took.
"""

from gevent import get_hub, monkey

monkey.patch_all()

import sys
import threading
import time

from service.traces import Traces
from tests.integration.traces.conftest import conversation_span, leg_span, turn_span

SECONDS = 1.5


def main(endpoint: str) -> None:
    traces = Traces(endpoint, instance="node-1")
    traces.start()
    told = threading.Event()

    def tell_in_a_callback_of_the_loop() -> None:
        for number in range(1, 101):
            name = f"conv_{number}"
            for span in (turn_span(1, 1, name), leg_span(1, name), conversation_span(name)):
                traces.record(span)
        told.set()

    get_hub().loop.run_callback(tell_in_a_callback_of_the_loop)
    told.wait(10.0)
    longest, last = 0.0, time.monotonic()
    end = last + SECONDS
    while last < end:
        time.sleep(0.01)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    begun = time.monotonic()
    traces.close(1.0)
    print(round(longest * 1000), round((time.monotonic() - begun) * 1000))


if __name__ == "__main__":
    main(*sys.argv[1:])
