"""Signed tickets: who can only write to Redis can make and change none, and a rotation loses none."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
import redis

from service.conversation.tickets import Ticket, TicketOffice
from service.errors import NotAllowedError, NotAuthenticatedError, SecretsUnavailableError
from service.key_limits import KeyBound
from service.secret import Secret
from tests.conftest import NewRedis
from tests.unit.secrets.scripted_source import TICKET as TICKET_KEY
from tests.unit.secrets.scripted_source import Managed, reading

TICKET = Ticket("agent_1", origin="https://shop.example")


@pytest.fixture
def store(new_redis: NewRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(new_redis()) as store:
        yield store


class Keys:
    """The keys that an office has now, the newest first; none: Vault is away."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def __call__(self) -> list[Secret]:
        if not self.keys:
            raise SecretsUnavailableError("The service has no keys now; try again.")
        return [Secret(key) for key in self.keys]


def office(store: redis.Redis, *keys: str) -> TicketOffice:
    return TicketOffice(store, tickets_per_minute=10, signing_keys=Keys(*keys))


def unsigned(store: redis.Redis) -> TicketOffice:
    return TicketOffice(store, tickets_per_minute=10)


def issue(office: TicketOffice, *, single_use: bool = True) -> str:
    return office.issue(TICKET, seconds=60, single_use=single_use)


def redeem(office: TicketOffice, token: str) -> Ticket:
    return office.redeem(token, agent_id=TICKET.agent_id, origin=TICKET.origin)


def is_refused(office: TicketOffice, token: str) -> bool:
    try:
        redeem(office, token)
    except NotAuthenticatedError:
        return True
    return False


@pytest.mark.parametrize("single_use", [True, False])
def test_a_ticket_is_redeemed_with_the_key_that_signed_it_and_with_no_other(
    store: redis.Redis, single_use: bool
) -> None:
    assert redeem(office(store, "k1"), issue(office(store, "k1"), single_use=single_use)) == TICKET
    assert is_refused(office(store, "k2"), issue(office(store, "k1"), single_use=single_use))
    assert is_refused(office(store, "k1"), issue(unsigned(store), single_use=single_use))


@pytest.mark.parametrize("single_use", [True, False])
def test_a_ticket_outlives_the_rotation_of_its_key(store: redis.Redis, single_use: bool) -> None:
    token = issue(office(store, "k1"), single_use=single_use)
    after = office(store, "k3", "k2", "k1")
    assert redeem(after, token) == TICKET
    assert is_refused(after, token) == single_use


def test_a_ticket_of_now_outlives_the_keys_of_before(store: redis.Redis) -> None:
    token = issue(office(store, "k2", "k1"))
    assert redeem(office(store, "k2"), token) == TICKET


@pytest.fixture
def managed() -> Iterator[list[Managed]]:
    """The secrets of two workers, which are polled apart."""
    both = [Managed(reading(ticket_signing_key="k1"), poll_seconds=30.0, overlap_seconds=600.0) for _ in range(2)]
    for one in both:
        one.start()
    yield both
    for one in both:
        one.close()


def office_of(store: redis.Redis, managed: Managed) -> TicketOffice:
    """As `service.services` puts it together."""
    return TicketOffice(store, tickets_per_minute=10, signing_keys=lambda: managed.manager.usable(TICKET_KEY))


def test_a_worker_that_has_not_read_the_new_key_yet_redeems_what_one_that_has_issues(
    store: redis.Redis, managed: list[Managed]
) -> None:
    """Workers read Vault up to 30 s apart, and the page's next request goes to any of them."""
    ahead, behind = (office_of(store, one) for one in managed)
    managed[0].read(reading(ticket_signing_key="k2"))
    assert redeem(ahead, issue(behind)) == TICKET
    assert redeem(behind, issue(ahead)) == TICKET


def test_a_new_key_alone_is_enough_once_every_worker_has_it(store: redis.Redis, managed: list[Managed]) -> None:
    offices = [office_of(store, one) for one in managed]
    for one in managed:
        one.read(reading(ticket_signing_key="k2"))
        one.time.now += 600.0
        one.read()
    assert redeem(offices[1], issue(offices[0])) == TICKET
    assert redeem(office(store, "k2"), issue(offices[0])) == TICKET
    assert is_refused(office(store, "k1"), issue(offices[0]))


def place(token: str) -> str:
    return "vocero:ticket:" + hashlib.sha256(token.encode()).hexdigest()


def planted(token: str) -> list[bytes]:
    """What somebody may put there who knows everything but the key."""
    fields = {"agent_id": TICKET.agent_id, "origin": TICKET.origin}
    other = hmac.digest(b"another key", orjson.dumps([token, TICKET.agent_id, TICKET.origin]), "sha256").hex()
    empty = hmac.digest(b"", orjson.dumps([token, TICKET.agent_id, TICKET.origin]), "sha256").hex()
    signatures: list[object] = [[], [""], [None], [True], None, "", {}, {"x": 1}, 7, [other], [empty], other, [[other]]]
    rubbish = [b"", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff", b"[" * 100_000, b'{"agent_id": ["agent_1"]}']
    return [orjson.dumps(fields), *(orjson.dumps({**fields, "signatures": one}) for one in signatures), *rubbish]


@pytest.mark.parametrize("single_use", [True, False])
def test_who_can_only_write_to_redis_can_make_no_ticket(store: redis.Redis, single_use: bool) -> None:
    token = ("vtk1_" if single_use else "vtkr_") + "x" * 43
    for value in planted(token):
        for keys in (("k1",), ("k2", "k1")):
            store.set(place(token), value)
            assert is_refused(office(store, *keys), token), value[:200]


@pytest.mark.parametrize("change", [{"agent_id": "agent_2"}, {"origin": None}, {"origin": "https://evil.example"}])
def test_who_can_only_write_to_redis_can_change_no_ticket(store: redis.Redis, change: dict[str, str | None]) -> None:
    here = office(store, "k1")
    token = issue(here)
    store.set(place(token), orjson.dumps({**orjson.loads(store.get(place(token)) or b""), **change}))
    with pytest.raises(NotAuthenticatedError):
        here.redeem(token, agent_id=None, origin=change.get("origin", TICKET.origin))


def test_who_can_only_write_to_redis_can_give_no_ticket_a_second_life(store: redis.Redis) -> None:
    """What a good ticket stood for, put where another one is looked for."""
    here = office(store, "k1")
    token, other = issue(here), "vtkr_" + "y" * 43
    value = store.get(place(token)) or b""
    redeem(here, token)
    store.set(place(other), value)
    assert is_refused(here, other)


def test_what_lies_in_redis_holds_neither_a_ticket_nor_a_key(store: redis.Redis) -> None:
    token = issue(office(store, "canary_key"))
    dump = b"".join(key + (store.get(key) or b"") for key in store.scan_iter("*"))
    assert token.encode() not in dump
    assert token.removeprefix("vtk1_").encode() not in dump
    assert b"canary_key" not in dump


def test_one_of_many_who_redeem_a_ticket_at_once_gets_it_with_two_keys_too(store: redis.Redis) -> None:
    for keys in (("k1",), ("k2", "k1")):
        token = issue(office(store, "k1"))
        start, got = threading.Barrier(16, timeout=10.0), []

        def come(keys: tuple[str, ...] = keys, token: str = token, start: threading.Barrier = start) -> None:
            here = office(store, *keys)
            start.wait()
            got.append(not is_refused(here, token))  # noqa: B023 (this round's threads end with it)

        threads = [threading.Thread(target=come) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(got) == [False] * 15 + [True]


def test_a_single_use_ticket_is_used_up_by_a_foreign_page_too(store: redis.Redis) -> None:
    here = office(store, "k2", "k1")
    token = issue(office(store, "k1"))
    with pytest.raises(NotAllowedError):
        here.redeem(token, agent_id=TICKET.agent_id, origin="https://evil.example")
    assert is_refused(here, token)


def test_a_ticket_expires_as_an_unsigned_one_does(store: redis.Redis) -> None:
    here = office(store, "k1")
    here.issue(TICKET, seconds=60, single_use=True)
    lasting = [store.ttl(key) for key in store.scan_iter("vocero:ticket:*")]
    assert len(lasting) == 1
    assert 0 < lasting[0] <= 60


def test_without_a_signing_key_tickets_are_unavailable_and_a_ticket_is_not_used_up(store: redis.Redis) -> None:
    keys = Keys("k1")
    here = TicketOffice(store, tickets_per_minute=10, signing_keys=keys)
    token = issue(here)
    keys.keys = ()
    for act in (lambda: issue(here), lambda: redeem(here, token)):
        with pytest.raises(SecretsUnavailableError) as caught:
            act()
        assert (caught.value.http_status, caught.value.close_code) == (503, 1013)
    keys.keys = ("k1",)
    assert redeem(here, token) == TICKET


def test_a_ticket_that_is_none_of_ours_needs_no_key_to_be_refused(store: redis.Redis) -> None:
    here = office(store)
    for token in ("", "vtk2_x", "vtk1_" + "x" * 200):
        assert is_refused(here, token)


def test_a_ticket_without_origin_is_good_for_every_page(store: redis.Redis) -> None:
    here = office(store, "k1")
    ticket = replace(TICKET, origin=None)
    token = here.issue(ticket, seconds=60, single_use=True)
    assert here.redeem(token, agent_id=None, origin="https://anywhere.example") == ticket


def test_a_ticket_carries_the_bound_of_its_key_which_nobody_can_lift(store: redis.Redis) -> None:
    bound = replace(TICKET, bound=KeyBound("shop", 2))
    signing = office(store, "k1")
    token = signing.issue(bound, seconds=60, single_use=False)
    assert redeem(signing, token) == bound
    (place,) = store.keys()
    kept = orjson.loads(store.get(place))
    store.set(place, orjson.dumps({**kept, "bound": {**kept["bound"], "max_concurrent": 100}}))
    assert is_refused(signing, token)
    store.set(place, orjson.dumps({name: value for name, value in kept.items() if name != "bound"}))
    assert is_refused(signing, token)


def test_a_ticket_without_a_bound_is_kept_as_releases_that_know_none_read_it(store: redis.Redis) -> None:
    issue(office(store, "k1"))
    (place,) = store.keys()
    assert set(orjson.loads(store.get(place))) == {"agent_id", "origin", "signatures"}


def test_a_ticket_says_which_key_it_was_made_with_and_nobody_can_change_that(store: redis.Redis) -> None:
    made = replace(TICKET, key_id="0123456789abcdef")
    signing = office(store, "k1")
    token = signing.issue(made, seconds=60, single_use=False)
    assert redeem(signing, token) == made
    (place,) = store.keys()
    kept = orjson.loads(store.get(place))
    for changed in ({**kept, "key_id": "0" * 16}, {name: value for name, value in kept.items() if name != "key_id"}):
        store.set(place, orjson.dumps(changed))
        assert is_refused(signing, token)
