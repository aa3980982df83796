"""Orders on their way through a real Valkey: who takes them, how often, how late, and what is answered."""

from __future__ import annotations

import threading
from collections import Counter

import orjson
import pytest
import redis
from prometheus_client import REGISTRY
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.launcher.waiting import wait_until
from service import redis_keys
from service.errors import RequestError
from service.metrics_platform import OrderKind
from service.orders import Order, OrderAnswer, OrderDesk
from service.orders.order import STREAM_KEY
from service.orders.taker import MOST_AT_A_TIME, Deed, Done, OrderTaker
from tests.integration.orders.conftest import StartTaker
from tests.servers import free_port

SECONDS = 10


def taken(kind: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("vocero_orders_total", {"kind": kind, "outcome": outcome}) or 0.0


def done(text: str = "Done.") -> Deed:
    return Deed(lambda _order: Done(text))


def answered_by(*workers: str):  # type: ignore[no-untyped-def]
    def is_so(answers: list[OrderAnswer]) -> bool:
        return {each.worker for each in answers} == set(workers)

    return is_so


def test_an_order_to_everybody_is_carried_out_and_answered_by_every_worker(
    desk: OrderDesk, start_taker: StartTaker
) -> None:
    for name in ("node-1/1", "node-1/2", "node-2/1"):
        start_taker(
            name, {OrderKind.POOL_DRAIN: Deed(lambda order: Done(f"{order.arguments['pool']} by {order.author}"))}
        )
    order = desk.give(OrderKind.POOL_DRAIN, arguments={"pool": "speech"}, author="ada")
    answers = desk.wait(order.id, until=answered_by("node-1/1", "node-1/2", "node-2/1"), timeout=SECONDS)
    assert [each.worker for each in answers] == ["node-1/1", "node-1/2", "node-2/1"]
    assert {(each.is_done, each.text) for each in answers} == {(True, "speech by ada")}
    assert all(order.given_at <= each.at <= order.given_at + SECONDS for each in answers)
    assert desk.order(order.id) == order


def test_an_order_to_one_worker_is_nobody_elses_affair(desk: OrderDesk, start_taker: StartTaker) -> None:
    counts: Counter[str] = Counter()
    for name in ("node-1/1", "node-2/1"):
        start_taker(name, {OrderKind.KEYS_FORGET: Deed(lambda _order, name=name: counts.update([name]) or Done("x"))})  # type: ignore[misc]
    first = desk.give(OrderKind.KEYS_FORGET, target="node-2/1", author="ada")
    last = desk.give(OrderKind.KEYS_FORGET, author="ada")  # when both have answered this one, both have seen the first
    desk.wait(last.id, until=answered_by("node-1/1", "node-2/1"), timeout=SECONDS)
    assert [each.worker for each in desk.answers(first.id)] == ["node-2/1"]
    assert counts == {"node-1/1": 1, "node-2/1": 2}


def test_a_worker_that_starts_carries_out_no_order_of_the_past(desk: OrderDesk, start_taker: StartTaker) -> None:
    before = desk.give(OrderKind.KEYS_FORGET, author="ada")
    start_taker("node-1/1", {OrderKind.KEYS_FORGET: done()})
    after = desk.give(OrderKind.KEYS_FORGET, author="ada")
    desk.wait(after.id, until=answered_by("node-1/1"), timeout=SECONDS)
    assert desk.answers(after.id)
    assert desk.answers(before.id) == []


def test_what_nobody_waits_for_any_more_is_not_done(desk: OrderDesk, store: redis.Redis) -> None:
    ran: list[str] = []
    taker = OrderTaker(
        store, worker="n/1", deeds={OrderKind.KEYS_FORGET: Deed(lambda o: ran.append(o.id) or Done("x"))}
    )
    taker.look()
    order = desk.give(OrderKind.KEYS_FORGET, author="ada", seconds=0.001)
    wait_until(lambda: desk.now() >= order.expires_at, SECONDS, "its time is over")
    taker.look()
    (answer,) = desk.answers(order.id)
    assert (answer.is_done, answer.text) == (False, "It came too late, and was not done.")
    assert ran == []


def test_an_order_is_carried_out_once_also_when_redis_has_lost_the_orders_and_begins_anew(
    desk: OrderDesk, store: redis.Redis
) -> None:
    ran: list[str] = []
    taker = OrderTaker(
        store, worker="n/1", deeds={OrderKind.KEYS_FORGET: Deed(lambda o: ran.append(o.id) or Done("x"))}
    )
    store.xadd(STREAM_KEY, {"order": b"of tomorrow"}, id="99999999999999-0")
    taker.look()
    store.delete(STREAM_KEY)
    first = desk.give(OrderKind.KEYS_FORGET, author="ada")
    taker.look()
    (written,) = [fields for _, fields in store.xrange(STREAM_KEY)]
    store.xadd(STREAM_KEY, written)  # somebody says it twice
    second = desk.give(OrderKind.KEYS_FORGET, author="ada")
    taker.look()
    assert ran == [first.id, second.id]


def test_what_makes_no_sense_is_an_answer_or_a_line_of_the_log_and_never_the_end(
    desk: OrderDesk, store: redis.Redis
) -> None:
    def refuse(_order: Order) -> Done:
        raise RequestError("min_idle is a whole number.", param="min_idle")

    def break_down(_order: Order) -> Done:
        raise ZeroDivisionError("what somebody said")

    taker = OrderTaker(
        store, worker="n/1", deeds={OrderKind.POOL_RESIZE: Deed(refuse), OrderKind.POOL_DRAIN: Deed(break_down)}
    )
    taker.look()
    good = desk.give(OrderKind.POOL_RESIZE, author="ada")
    newer = orjson.loads(good.as_json()) | {"id": "0" * 16, "kind": "coffee.make"}
    endless = orjson.loads(good.as_json()) | {"id": "1" * 16, "expires_at": good.expires_at + 1e9}
    for written in (b"\xff", b"{}", b"[" * 500, b"x" * 10_000, orjson.dumps(endless), orjson.dumps(newer)):
        store.xadd(STREAM_KEY, {"order": written})
    store.xadd(STREAM_KEY, {"other": b"field"})
    broken = desk.give(OrderKind.POOL_DRAIN, author="ada")
    before = [taken("pool.resize", "refused"), taken("other", "unknown"), taken("pool.drain", "failed")]
    taker.look()
    after = [taken("pool.resize", "refused"), taken("other", "unknown"), taken("pool.drain", "failed")]
    texts = {name: [each.text for each in desk.answers(name)] for name in (good.id, "0" * 16, "1" * 16, broken.id)}
    assert texts == {
        good.id: ["min_idle is a whole number."],
        "0" * 16: ["This worker's version does not know such an order."],
        "1" * 16: [],
        broken.id: ["It failed: ZeroDivisionError. The worker's log says where."],
    }
    assert [late - early for early, late in zip(before, after, strict=True)] == [1, 1, 1]


def test_what_takes_time_holds_up_nothing_else_and_is_bounded(desk: OrderDesk, start_taker: StartTaker) -> None:
    goes_on = threading.Event()
    deeds = {
        OrderKind.CANARY: Deed(lambda _order: Done("sung") if goes_on.wait(SECONDS) else None, takes_time=True),
        OrderKind.KEYS_FORGET: done(),
    }
    start_taker("n/1", deeds)
    slow = [desk.give(OrderKind.CANARY, author="ada") for _ in range(MOST_AT_A_TIME + 1)]
    quick = desk.give(OrderKind.KEYS_FORGET, author="ada")
    assert desk.wait(quick.id, until=answered_by("n/1"), timeout=SECONDS)
    (busy,) = desk.answers(slow[-1].id)
    assert not busy.is_done
    assert "busy" in busy.text
    goes_on.set()
    for order in slow[:-1]:
        (answer,) = desk.wait(order.id, until=answered_by("n/1"), timeout=SECONDS)
        assert answer.text == "sung"


def test_a_worker_to_which_an_order_does_not_apply_says_nothing(desk: OrderDesk, store: redis.Redis) -> None:
    takers = [
        OrderTaker(store, worker="n/1", deeds={OrderKind.CONVERSATION_END: Deed(lambda _order: None)}),
        OrderTaker(store, worker="n/2", deeds={OrderKind.CONVERSATION_END: done("Ended.")}),
    ]
    for taker in takers:
        taker.look()
    order = desk.give(OrderKind.CONVERSATION_END, arguments={"conversation_id": "conv_1"}, author="ada")
    for taker in takers:
        taker.look()
    assert [(each.worker, each.text) for each in desk.answers(order.id)] == [("n/2", "Ended.")]


def test_a_sound_can_be_heard_for_two_minutes_and_all_else_is_kept_for_an_hour(
    desk: OrderDesk, store: redis.Redis
) -> None:
    taker = OrderTaker(store, worker="n/1", deeds={OrderKind.CANARY: Deed(lambda _order: Done("x", sound=b"RIFF"))})
    taker.look()
    order = desk.give(OrderKind.CANARY, author="ada")
    assert desk.sound(order.id) is None
    taker.look()
    assert desk.sound(order.id) == b"RIFF"
    lasting = {key: store.ttl(key) for key in store.scan_iter() if key != STREAM_KEY.encode()}
    assert len(lasting) == 3
    assert all(0 < left <= 3600 for left in lasting.values())
    assert 0 < lasting[f"vocero:cache:canary:{order.id}".encode()] <= 120
    assert all(redis_keys.namespace_of(key) is not None for key in lasting)


def test_redis_being_gone_ends_no_worker(start_taker: StartTaker) -> None:
    gone = redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    taker = OrderTaker(gone, worker="n/1", deeds={})
    taker.start()
    assert not taker.look()
    taker.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "orders"]
    with pytest.raises(redis.RedisError):
        OrderDesk(gone).give(OrderKind.KEYS_FORGET, author="ada")


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": 1e6}, {"target": ""}, {"arguments": {"x": "y" * 5000}}])
def test_an_order_that_no_worker_would_take_is_not_given(
    desk: OrderDesk, store: redis.Redis, wrong: dict[str, object]
) -> None:
    with pytest.raises(ValueError):
        desk.give(OrderKind.POOL_DRAIN, author="ada", **wrong)  # type: ignore[arg-type]
    assert store.dbsize() == 0


@pytest.mark.parametrize("order_id", ["", "*", "0" * 17, "../../etc", "vocero:session:x"])
def test_only_ids_of_orders_lead_to_keys(desk: OrderDesk, order_id: str) -> None:
    assert desk.order(order_id) is None
    assert desk.answers(order_id) == []
    assert desk.sound(order_id) is None
