"""Which key a request is sent with, and what follows when ElevenLabs refuses one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from service.deadline import deadline
from service.elevenlabs.keys import MAX_REFUSED, REFRESH_SECONDS, REFUSED_SECONDS, KeyChoice
from service.errors import (
    SecretsUnavailableError,
    UpstreamBusyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
)
from service.secret import Secret

OTHER_ERRORS = [
    UpstreamError,
    UpstreamRequestError,
    UpstreamQuotaError,
    UpstreamBusyError,
    UpstreamConnectError,
    UpstreamTimeoutError,
]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


class Account:
    """ElevenLabs with its good keys, and the keys that we have: `after_refresh` are found when they are read again."""

    def __init__(self, *keys: str, good: set[str], after_refresh: tuple[str, ...] | None = None) -> None:
        self.keys, self.good, self.after_refresh = keys, good, after_refresh
        self.sent: list[str] = []
        self.waited: list[float] = []
        self.choice = KeyChoice(self._usable, refresh=self._refresh)

    def _usable(self) -> list[Secret]:
        if not self.keys:
            raise SecretsUnavailableError("The service has no keys now; try again.")
        return [Secret(key) for key in self.keys]

    def _refresh(self, seconds: float) -> bool:
        self.waited.append(seconds)
        if seconds and self.after_refresh is not None:
            self.keys, self.after_refresh = self.after_refresh, None
            return True
        return False

    def ask(self, key: Secret) -> str:
        self.sent.append(key.reveal())
        if key.reveal() not in self.good:
            raise UpstreamKeyError("Invalid API key", code="invalid_api_key", status=401)
        return f"answer to {key.reveal()}"

    def send(self) -> str:
        return self.choice.send(self.ask)

    def is_refused(self) -> bool:
        try:
            self.send()
        except UpstreamKeyError:
            return True
        return False


def test_a_good_key_is_used_and_nothing_is_read_again(clock: Clock) -> None:
    account = Account("new", "old", good={"new", "old"})
    assert [account.send() for _ in range(3)] == ["answer to new"] * 3
    assert account.waited == []


def test_the_keys_are_asked_for_at_each_request_and_none_is_kept(clock: Clock) -> None:
    account = Account("k1", good={"k1", "k2"})
    account.send()
    account.keys = ("k2",)
    account.send()
    assert account.sent == ["k1", "k2"]


def test_a_refused_key_is_replaced_by_the_one_that_was_written_meanwhile(clock: Clock) -> None:
    account = Account("old", good={"new"}, after_refresh=("new", "old"))
    assert account.send() == "answer to new"
    assert account.sent == ["old", "new"]
    assert account.waited == [REFRESH_SECONDS]
    assert account.send() == "answer to new"
    assert account.waited == [REFRESH_SECONDS]


def test_a_new_key_that_is_refused_is_replaced_by_the_one_of_before(clock: Clock) -> None:
    account = Account("new", "old", good={"old"})
    assert account.send() == "answer to old"
    assert account.sent == ["new", "old"]
    assert account.waited == [REFRESH_SECONDS]


def test_a_refused_key_stands_behind_the_others_from_then_on(clock: Clock) -> None:
    account = Account("new", "old", good={"old"})
    account.send()
    account.sent.clear()
    assert [account.send() for _ in range(3)] == ["answer to old"] * 3
    assert account.sent == ["old"] * 3
    assert len(account.waited) == 1


def test_a_key_that_was_mended_is_used_first_again_after_a_while(clock: Clock) -> None:
    account = Account("new", "old", good={"old"})
    account.send()
    account.good = {"new", "old"}
    clock.now += REFUSED_SECONDS - 0.1
    assert account.send() == "answer to old"
    clock.now += 0.2
    assert account.send() == "answer to new"


def test_a_third_key_is_not_tried(clock: Clock) -> None:
    """A request is sent twice at most; the next one finds the third."""
    account = Account("k3", "k2", "k1", good={"k1"})
    assert account.is_refused()
    assert account.sent == ["k3", "k2"]
    assert account.send() == "answer to k1"


def test_the_only_key_is_sent_once_and_its_refusal_raised(clock: Clock) -> None:
    account = Account("k1", good=set())
    with pytest.raises(UpstreamKeyError, match="Invalid API key"):
        account.send()
    assert account.sent == ["k1"]
    assert account.waited == [REFRESH_SECONDS]


def test_who_is_refused_again_and_again_waits_once(clock: Clock) -> None:
    account = Account("k1", good=set())
    assert all(account.is_refused() for _ in range(5))
    assert account.waited == [REFRESH_SECONDS, 0.0, 0.0, 0.0, 0.0], "they are read again all the same"
    assert account.sent == ["k1"] * 5


def test_when_both_keys_are_refused_the_refusal_is_raised_and_only_the_first_request_waits(clock: Clock) -> None:
    account = Account("new", "old", good=set())
    assert all(account.is_refused() for _ in range(5))
    assert [seconds for seconds in account.waited if seconds] == [REFRESH_SECONDS]
    assert set(account.sent) == {"new", "old"}


def test_a_refusal_that_is_long_ago_is_waited_for_again(clock: Clock) -> None:
    account = Account("k1", good=set())
    account.is_refused()
    clock.now += REFUSED_SECONDS + 0.1
    account.is_refused()
    assert account.waited == [REFRESH_SECONDS, REFRESH_SECONDS]


def test_a_key_that_comes_while_the_old_one_is_refused_is_used_by_the_next_request(clock: Clock) -> None:
    account = Account("old", good={"new"})
    assert account.is_refused()
    assert account.is_refused()
    account.keys = ("new", "old")
    account.sent.clear()
    assert account.send() == "answer to new"
    assert account.sent == ["new"]


def test_a_deadline_cuts_the_waiting(clock: Clock) -> None:
    account = Account("k1", good=set())
    with deadline(0.5, clock=clock.monotonic):
        assert account.is_refused()
    assert account.waited == [0.5]


@pytest.mark.parametrize("error", OTHER_ERRORS)
@pytest.mark.parametrize("first_is_refused", [False, True])
def test_any_other_failure_is_raised_and_costs_no_key(
    clock: Clock, error: type[UpstreamError], first_is_refused: bool
) -> None:
    account = Account("new", "old", good={"new", "old"})
    failure = error("on purpose", code="on_purpose")

    def ask(key: Secret) -> str:
        if first_is_refused and key == Secret("new"):
            raise UpstreamKeyError("Invalid API key", code="invalid_api_key")
        raise failure

    with pytest.raises(error) as caught:
        account.choice.send(ask)
    assert caught.value is failure
    assert len(account.waited) == first_is_refused
    assert account.send() == ("answer to old" if first_is_refused else "answer to new")


def test_without_a_key_nothing_is_sent(clock: Clock) -> None:
    account = Account(good=set())
    with pytest.raises(SecretsUnavailableError):
        account.send()
    assert (account.sent, account.waited) == ([], [])


def test_keys_that_expire_while_the_refused_one_is_read_again_are_told_as_that(clock: Clock) -> None:
    account = Account("k1", good=set(), after_refresh=())
    with pytest.raises(SecretsUnavailableError):
        account.send()
    assert account.sent == ["k1"]


def test_many_refused_keys_are_remembered_up_to_a_bound(clock: Clock) -> None:
    account = Account("k0", good=set())
    for number in range(10 * MAX_REFUSED):
        account.keys = (f"k{number}",)
        account.is_refused()
    assert len(account.choice._refused) == MAX_REFUSED


def test_no_key_shows_in_a_refusal_or_in_the_choice(clock: Clock) -> None:
    account = Account("canary_new", "canary_old", good=set())
    with pytest.raises(UpstreamKeyError) as caught:
        account.send()
    assert "canary" not in repr(caught.value) + str(vars(caught.value)) + repr(vars(account.choice))


def test_many_requests_that_are_refused_at_once_are_all_sent_again_with_the_new_key() -> None:
    keys, all_refused = ["old"], threading.Barrier(20, timeout=10.0)

    def refresh(seconds: float) -> bool:
        keys[:] = ["new", "old"]
        return True

    def ask(key: Secret) -> str:
        if key == Secret("old"):
            all_refused.wait()
            raise UpstreamKeyError("Invalid API key", code="invalid_api_key")
        return key.reveal()

    choice = KeyChoice(lambda: [Secret(key) for key in keys], refresh=refresh)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(choice.send(ask))) for _ in range(20)]
    _run(threads)
    assert answers == ["new"] * 20


def _run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_a_choice_that_nobody_can_refresh_tries_what_there_is(clock: Clock) -> None:
    usable: Callable[[], list[Secret]] = lambda: [Secret("new"), Secret("old")]  # noqa: E731
    sent: list[str] = []

    def ask(key: Secret) -> None:
        sent.append(key.reveal())
        raise UpstreamKeyError("Invalid API key", code="invalid_api_key")

    with pytest.raises(UpstreamKeyError):
        KeyChoice(usable).send(ask)
    assert sent == ["new", "old"]
