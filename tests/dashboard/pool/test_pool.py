"""The page of the pools, and what is ordered there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from scripts.launcher.waiting import wait_until
from service.orders import Order, OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import Client, Dashboard
from tests.dashboard.workers import limiter, pool_stats, worker_fields

LIMIT = 10.0
RESIZE = {"action": "resize", "pool": "speech", "target": "*", "min_idle": 3, "max_size": 20, "reason": "launch day"}


@pytest.fixture
def two_workers(dashboard: Dashboard) -> Dashboard:
    """Two workers that report, in one node."""
    for number in (1, 2):
        dashboard.report(**worker_fields(number))
    return dashboard


@pytest.fixture
def taken(two_workers: Dashboard) -> Iterator[list[Order]]:
    """What the first of the two workers was ordered; the second one takes no orders."""
    orders: list[Order] = []

    def carry_out(order: Order) -> Done:
        orders.append(order)
        return Done("resized")

    deeds = {kind: Deed(carry_out) for kind in (OrderKind.POOL_RESIZE, OrderKind.POOL_DRAIN)}
    taker = OrderTaker(two_workers.store, worker="node-1/1", deeds=deeds)
    taker.start()
    yield orders
    taker.close()


def test_without_any_worker_the_page_says_what_to_do(dashboard: Dashboard) -> None:
    text = dashboard.client(AdminRole.VIEWER).get("/pool").get_data(as_text=True)
    assert "No worker reports a pool." in text
    assert "Start the service" in text


def test_pools_are_shown_in_sum_and_by_worker(two_workers: Dashboard) -> None:
    two_workers.report(**worker_fields(2, pools=(pool_stats("speech", max_size=9, waiting=7),)))
    text = two_workers.client(AdminRole.VIEWER).get("/pool").get_data(as_text=True)
    total = text[text.index('data-testid="pool-sum-speech"') :].partition("</dl>")[0]
    assert ">7<" in total
    assert "By worker (2)" in text
    assert "Workers have different bounds:" in text
    assert "node-1/2" in text


def test_the_json_has_what_the_page_has(two_workers: Dashboard) -> None:
    told = two_workers.client(AdminRole.VIEWER).get("/api/pool").get_json()
    assert [pool["name"] for pool in told["pools"]] == ["agents", "speech"]
    assert told["pools"][1]["total"]["stats"]["lent"] == 2
    assert [slots["name"] for slots in told["limiters"]] == ["agents", "speech"]


def test_a_degraded_limiter_is_said(dashboard: Dashboard) -> None:
    dashboard.report(**worker_fields(1, limiters=(limiter("agents", degraded=True),)))
    text = dashboard.client(AdminRole.VIEWER).get("/pool").get_data(as_text=True)
    assert "1 of 1 workers without Redis, on a fixed share" in text


def test_an_order_reaches_the_workers_and_is_followed(two_workers: Dashboard, taken: list[Order]) -> None:
    client = two_workers.client(AdminRole.OPERATOR)
    given = client.post("/api/pool/orders", RESIZE)
    assert given.status_code == 202
    assert given.get_json()["workers"] == ["node-1/1", "node-1/2"]
    told = _followed(client, given.get_json()["order_id"])
    assert [(answer["worker"], answer["is_done"], answer["text"]) for answer in told["answers"]] == [
        ("node-1/1", True, "resized")
    ]
    assert told["silent"] == ["node-1/2"]
    assert taken[0].arguments == {"pool": "speech", "min_idle": 3, "max_size": 20}
    assert (taken[0].author, taken[0].target) == ("operator", "*")


def test_an_order_for_one_worker_waits_for_that_one(two_workers: Dashboard, taken: list[Order]) -> None:
    client = two_workers.client(AdminRole.OPERATOR)
    order = {"action": "drain", "pool": "speech", "target": "node-1/1", "reason": "new key"}
    told = _followed(client, client.post("/api/pool/orders", order).get_json()["order_id"])
    assert told["silent"] == []
    assert taken[0].kind is OrderKind.POOL_DRAIN


def test_who_ordered_what_and_what_held_before_stands_in_the_audit(two_workers: Dashboard) -> None:
    two_workers.client(AdminRole.OPERATOR).post("/api/pool/orders", RESIZE)
    (entry,) = two_workers.parts.audit.search(AuditFilter(action="pool.resize")).items
    assert (entry.actor, entry.subject, entry.address) == ("operator", "speech *", "127.0.0.1")
    assert orjson.loads(entry.before or "") == {"bounds": [{"min_idle": 2, "max_size": 4}], "size": 6}
    after = orjson.loads(entry.after or "")
    assert (after["max_size"], after["reason"], after["workers"]) == (20, "launch day", 2)


def test_an_order_out_of_bounds_is_refused_at_its_field_and_not_given(two_workers: Dashboard) -> None:
    wrong: list[dict[str, Any]] = [
        {"action": "close"}, {"action": None}, {"pool": "agents:evil"}, {"pool": ["speech"]}, {"target": "node-9/1"},
        {"target": ""}, {"reason": " a "}, {"reason": "x" * 501}, {"min_idle": -1}, {"min_idle": 21},
        {"min_idle": True}, {"min_idle": 1.5}, {"max_size": 0}, {"max_size": 50_001}, {"max_size": "20"},
    ]  # fmt: skip
    client = two_workers.client(AdminRole.OPERATOR)
    for change in wrong:
        answer = client.post("/api/pool/orders", {**RESIZE, **change})
        (param,) = change
        assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, param), change
    assert not two_workers.store.exists("vocero:orders")
    assert not two_workers.parts.audit.search(AuditFilter(action="pool.resize")).items


def test_a_viewer_sees_no_control_and_is_refused_in_any_case(two_workers: Dashboard) -> None:
    client = two_workers.client(AdminRole.VIEWER)
    text = client.get("/pool").get_data(as_text=True)
    assert "data-action" not in text
    assert "Your role may look at the pools, not change them." in text
    assert client.post("/api/pool/orders", RESIZE).status_code == 403
    assert not two_workers.store.exists("vocero:orders")


@pytest.mark.parametrize("order_id", ["0" * 16, "no-such-order", "x" * 300])
def test_an_order_that_nobody_gave_is_not_found(dashboard: Dashboard, order_id: str) -> None:
    answer = dashboard.client(AdminRole.VIEWER).get(f"/api/orders/{order_id}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "order_not_found")


def _followed(client: Client, order_id: str) -> dict[str, Any]:
    """What is told of the order as soon as somebody has answered."""
    told: dict[str, Any] = {}

    def is_answered() -> bool:
        told.update(client.get(f"/api/orders/{order_id}").get_json())
        return bool(told["answers"])

    wait_until(is_answered, LIMIT)
    return told
