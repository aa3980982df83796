"""Run by a test in a process of its own, patched as a worker is: retries, a hang and a hedge must stop nobody else.

Prints, as JSON, what was heard and how many turns a ticker of 10 ms had meanwhile.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 (after the patch, as in the entry points)
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import structlog  # noqa: E402

from service.deadline import remaining_seconds  # noqa: E402
from service.elevenlabs.elevenlabs_service import ElevenLabsService  # noqa: E402
from service.errors import UpstreamError  # noqa: E402
from service.retry import Retrier, RetryPolicy  # noqa: E402
from service.retry_budget import RetryBudget  # noqa: E402
from tests.keys import one_key  # noqa: E402

TICK_SECONDS = 0.01


def main(base_url: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    policy = RetryPolicy(total_seconds=1.0, base_seconds=0.2)
    retrier = Retrier(policy, budget=RetryBudget(share=1.0, minimum=100))
    heard: dict[str, str] = {}
    ticks: list[None] = []
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.is_set():
            time.sleep(TICK_SECONDS)
            ticks.append(None)

    def speak(voice: str) -> None:
        try:
            heard[voice] = b"".join(service.generate_audio("Hello.", voice_id=voice)).decode()
        except UpstreamError as error:
            heard[voice] = error.code
        assert remaining_seconds() is None

    with ElevenLabsService(base_url, keys=one_key("key"), retrier=retrier, hedge_after_seconds=0.2) as service:
        ticker = threading.Thread(target=tick)
        ticker.start()
        time.sleep(5 * TICK_SECONDS)
        callers = [threading.Thread(target=speak, args=(voice,)) for voice in ("busy", "hangs", "late", "well")]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join(10)
        is_over.set()
        ticker.join(10)
    sys.stdout.write(json.dumps({"heard": heard, "ticks": len(ticks)}))


if __name__ == "__main__":
    main(sys.argv[1])
