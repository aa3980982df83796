"""`OrderTaker`: takes the orders that are for this worker, has them carried out, and answers.

The key decision: one thread looks four times a second and does what is done in a moment; what takes time gets a thread
of its own, a few of them at most, so that an order that hangs holds up no other. Whatever an order says and whatever
becomes of it, the answer is a sentence and the worker goes on. Without Redis nothing is taken.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog

from service.errors import RequestError
from service.metrics_platform import OrderKind, OrderOutcome, order_answered
from service.orders.feed import FoundOrder, OrderFeed
from service.orders.order import (
    EVERYBODY,
    KEPT_SECONDS,
    MOST_BYTES,
    SOUND_KEPT_SECONDS,
    Order,
    OrderAnswer,
    answers_key,
    sound_key,
)

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25
OUTAGE_SECONDS = 1.0
"""Between two looks while Redis does not answer."""

MOST_AT_A_TIME = 4
"""Of the orders that take their time."""

MOST_SOUND_BYTES = 500_000


@dataclass(frozen=True)
class Done:
    """What came of an order; not `is_done`: it was tried, and failed. `sound` is a WAV for whoever ordered it.

    `said` names the sentence that `text` is, for whoever says it in another language (`OrderAnswer`).
    """

    text: str
    is_done: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)
    sound: bytes | None = None
    said: str = ""


@dataclass(frozen=True)
class Deed:
    """How one kind of order is carried out. `carry_out` returns None if the order is another worker's affair.

    It raises RequestError if the arguments make no sense. `takes_time`: it may wait for something.
    """

    carry_out: Callable[[Order], Done | None]
    takes_time: bool = False


class OrderTaker:
    """Carries out orders for `worker` ("node/worker") by `deeds`. `store` needs short timeouts."""

    def __init__(self, store: redis.Redis, *, worker: str, deeds: Mapping[OrderKind, Deed]) -> None:
        self._store = store
        self._worker = worker
        self._deeds = deeds
        self._feed = OrderFeed(store)
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._under_way = 0
        self._is_heard = True

    def start(self) -> None:
        """Note where the orders are now, and take those that come."""
        self.look()
        self._thread = threading.Thread(target=self._look_on, name="orders", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Take none any more; waits `timeout` s at most. What is under way goes on by itself."""
        self._leaves.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def look(self) -> bool:
        """Take what there is; whether Redis answered."""
        try:
            found = self._feed.look()
        except redis.RedisError as exc:
            if self._is_heard:  # once, not several times in every second of an outage
                log.warning("orders are not heard", error=type(exc).__name__)
            self._is_heard = False
            return False
        if not self._is_heard:
            log.info("orders are heard again")
        self._is_heard = True
        for each in found:
            self._take(each)
        return True

    def _look_on(self) -> None:
        pause = LOOK_SECONDS
        while not self._leaves.wait(pause):
            pause = LOOK_SECONDS if self.look() else OUTAGE_SECONDS

    def _take(self, found: FoundOrder) -> None:
        order = found.order
        if order.target not in {EVERYBODY, self._worker}:
            return
        deed = self._deeds.get(order.kind) if isinstance(order.kind, OrderKind) else None
        if found.is_late:
            self._answer(
                order, OrderOutcome.LATE, Done("It came too late, and was not done.", is_done=False, said="late")
            )
        elif deed is None:
            text = "This worker's version does not know such an order."
            self._answer(order, OrderOutcome.UNKNOWN, Done(text, is_done=False, said="unknown"))
        elif not deed.takes_time:
            self._carry_out(order, deed)
        elif self._begins():
            threading.Thread(target=self._carry_out_and_end, args=(order, deed), name="order", daemon=True).start()
        else:
            text = f"This worker is busy with {MOST_AT_A_TIME} other orders; try again."
            done = Done(text, is_done=False, details={"most": MOST_AT_A_TIME}, said="busy")
            self._answer(order, OrderOutcome.BUSY, done)

    def _begins(self) -> bool:
        with self._lock:
            if self._under_way >= MOST_AT_A_TIME:
                return False
            self._under_way += 1
            return True

    def _carry_out_and_end(self, order: Order, deed: Deed) -> None:
        try:
            self._carry_out(order, deed)
        finally:
            with self._lock:
                self._under_way -= 1

    def _carry_out(self, order: Order, deed: Deed) -> None:
        outcome = OrderOutcome.FAILED
        try:
            done = deed.carry_out(order)
        except RequestError as exc:
            outcome = OrderOutcome.REFUSED
            done = Done(exc.message, is_done=False, details={"reason": exc.message}, said=exc.code)
        except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: the others must be taken all the same)
            frames = traceback.extract_tb(exc.__traceback__)
            where = [f"{frame.filename}:{frame.lineno}" for frame in frames[-3:]]
            log.error("an order failed", kind=str(order.kind), error=type(exc).__name__, where=where)  # noqa: TRY400 (its text may quote)
            text = f"It failed: {type(exc).__name__}. The worker's log says where."
            done = Done(text, is_done=False, details={"error": type(exc).__name__}, said="failed")
        if done is None:
            return
        if done.is_done:
            outcome = OrderOutcome.DONE
        self._answer(order, outcome, done)

    def _answer(self, order: Order, outcome: OrderOutcome, done: Done) -> None:
        order_answered(str(order.kind), outcome)
        log.info(
            "an order was taken", kind=str(order.kind)[:40], order=order.id, author=order.author, outcome=outcome.value
        )
        answer = OrderAnswer(self._worker, done.is_done, done.text, self._feed.now(), done.details, done.said)
        written = answer.as_json()
        if len(written) > MOST_BYTES:
            written = OrderAnswer(self._worker, done.is_done, done.text[:500], self._feed.now()).as_json()
        # If Redis is away it was done all the same; whoever waits for the answer sees that.
        with suppress(redis.RedisError), self._store.pipeline(transaction=True) as pipeline:
            if done.sound is not None and len(done.sound) <= MOST_SOUND_BYTES:
                pipeline.set(sound_key(order.id), done.sound, ex=SOUND_KEPT_SECONDS)
            pipeline.hset(answers_key(order.id), self._worker, written)
            pipeline.expire(answers_key(order.id), KEPT_SECONDS)
            pipeline.execute()
