"""A test by hand: one worker is asked, its answer is told in words, and what was said can be listened to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.orders import Order, OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.storage import AdminRole, AuditFilter
from tests.dashboard.dashboards import Client, Dashboard

PATH = "/api/fallback/canary"
SPEECH = {"provider": "elevenlabs", "capability": "speech"}
WAVE = b"RIFF....WAVE"
Work = Callable[[Callable[[Order], Done]], None]


@pytest.fixture
def work(fleet: Dashboard) -> Iterator[Work]:
    """`work(sing)`: both workers take orders, and carry canaries out by `sing`."""
    with ExitStack() as stack:

        def start(sing: Callable[[Order], Done]) -> None:
            for node in ("north", "south"):
                deeds = {OrderKind.CANARY: Deed(sing)}
                taker = stack.enter_context(closing(OrderTaker(fleet.store, worker=f"{node}/11", deeds=deeds)))
                taker.start()

        yield start


def ended(client: Client, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(client.get(f"{PATH}/{order_id}").json)
        return bool(found["state"] != "waiting")

    wait_until(is_over, what="the canary's end")
    return found


def test_one_worker_sings_and_an_operator_listens(fleet: Dashboard, work: Work) -> None:
    taken: list[Order] = []

    def sing(order: Order) -> Done:
        taken.append(order)
        return Done("elevenlabs: first sound after 0.42 s.", details={"first_byte_seconds": 0.42}, sound=WAVE)

    work(sing)
    client = fleet.client(AdminRole.OPERATOR)
    asked = client.post(PATH, SPEECH)
    assert (asked.status_code, asked.json["worker"]) == (202, "south/11"), "the one with the fewest conversations"
    told = ended(client, asked.json["order_id"])
    assert (told["state"], told["text"]) == ("done", "The first sound came after 0.42 s.")
    sound = client.get(told["sound"])
    assert (sound.data, sound.content_type, sound.headers["Cache-Control"]) == (WAVE, "audio/wav", "no-store")
    assert [(order.author, order.arguments) for order in taken] == [("operator", SPEECH)]
    entry = fleet.parts.audit.search(AuditFilter(action="canary.asked")).items[0]
    assert (entry.actor, entry.subject) == ("operator", "elevenlabs speech")
    assert fleet.client(AdminRole.VIEWER).get(told["sound"]).status_code == 403


def test_what_failed_is_told_in_the_readers_language(fleet: Dashboard, work: Work) -> None:
    details = {"fault": "quota_exceeded", "cause": "quota", "domain": "quota"}
    work(lambda _order: Done("elevenlabs does not: quota.", is_done=False, details=details))
    client = fleet.client()
    client.flask.set_cookie("vocero_language", "es")
    told = ended(client, client.post(PATH, {**SPEECH, "capability": "conversation"}).json["order_id"])
    assert (told["state"], told["sound"]) == ("failed", None)
    assert told["text"] == "Se agotaron los créditos de la cuenta. (quota_exceeded)"


def test_who_asks_again_at_once_has_to_wait(fleet: Dashboard) -> None:
    client = fleet.client(AdminRole.OPERATOR)
    assert client.post(PATH, SPEECH).status_code == 202
    for key in fleet.store.keys("*canary_asked*"):
        fleet.store.persist(key)  # a slow machine must not be as good as waiting
    refused = client.post(PATH, SPEECH)
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert fleet.client(AdminRole.ADMIN).post(PATH, SPEECH).status_code == 202, "somebody else need not"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"provider": "elevenlabs", "capability": "video"}, 422),
        ({"provider": "elevenlabs", "capability": ["speech"]}, 422),
        ({"provider": "elevenlabs_2", "capability": "speech"}, 409),
        ({"capability": "speech"}, 409),
    ],
)
def test_what_no_worker_has_is_not_asked_for(fleet: Dashboard, given: dict[str, Any], status: int) -> None:
    assert fleet.client().post(PATH, given).status_code == status
    assert not fleet.parts.audit.search(AuditFilter(action="canary.asked")).items


def test_another_order_is_no_canary(fleet: Dashboard) -> None:
    other = fleet.parts.orders.give(OrderKind.KEYS_FORGET, author="ana")
    for order_id in (other.id, "0" * 16, "..", "x" * 200):
        assert fleet.client().get(f"{PATH}/{order_id}").status_code == 404
        assert fleet.client().get(f"{PATH}/{order_id}/sound").status_code == 404
