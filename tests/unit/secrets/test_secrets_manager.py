"""What the secrets' users get, by a clock that only the test moves and a source that says what it is told to."""

from __future__ import annotations

import dataclasses
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from scripts.launcher.waiting import wait_until
from service.errors import SecretsSourceError, SecretsUnavailableError
from service.metrics import FailureCause, SecretsState
from service.secret import Secret
from service.secrets_manager import MAX_PREVIOUS, SecretsManager
from service.secrets_sources import EnvironmentSource, Reading
from tests.unit.secrets.scripted_source import AWAY, KEY, LIMIT_SECONDS, TICKET, Managed, reading

POLL, GRACE, OVERLAP = 30.0, 3600.0, 600.0
CANARY = "sk_canary_of_the_manager_8d1e"

Manage = Callable[..., Managed]


@pytest.fixture
def manage() -> Iterator[Manage]:
    """`manage(answer, grace_seconds=0)`: a manager that has read its first answer, and reads when it is asked to."""
    made: list[Managed] = []

    def make(answer: Reading | BaseException | None = None, *, starts: bool = True, **options: Any) -> Managed:
        managed = Managed(answer, **options)
        made.append(managed)
        if starts:
            managed.start()
        return managed

    yield make
    for managed in made:
        managed.close()


def current(managed: Managed) -> str:
    return managed.manager.current(KEY).reveal()


def usable(managed: Managed) -> list[str]:
    return [secret.reveal() for secret in managed.manager.usable(KEY)]


def gauge(state: SecretsState) -> float | None:
    return REGISTRY.get_sample_value("vocero_secrets_state", {"state": state.value})


# --- Fresh, stale, expired


def test_before_they_were_read_they_are_missing_and_nobody_gets_any(manage: Manage) -> None:
    managed = manage(AWAY)
    assert managed.manager.status().state is SecretsState.MISSING
    assert not managed.manager.wait_until_read(0.0)
    with pytest.raises(SecretsUnavailableError) as caught:
        managed.manager.current(KEY)
    assert (caught.value.http_status, caught.value.code) == (503, "secrets_unavailable")
    managed.read(reading("k1"))
    assert managed.manager.wait_until_read(0.0)
    assert current(managed) == "k1"


@pytest.mark.parametrize(
    ("grace", "age", "state"),
    [
        (GRACE, 0.0, SecretsState.FRESH),
        (GRACE, 45.0, SecretsState.FRESH),
        (GRACE, 45.1, SecretsState.STALE),
        (GRACE, GRACE, SecretsState.STALE),
        (GRACE, GRACE + 0.1, SecretsState.EXPIRED),
        # Without grace they are good for as long as they are fresh: a reading that is a little late is no outage.
        (0.0, 45.0, SecretsState.FRESH),
        (0.0, 45.1, SecretsState.EXPIRED),
        (46.0, 45.5, SecretsState.STALE),
    ],
)
def test_they_are_fresh_for_one_and_a_half_polls_stale_for_the_grace_and_then_expired(
    manage: Manage, grace: float, age: float, state: SecretsState
) -> None:
    managed = manage(reading("k1"), poll_seconds=POLL, grace_seconds=grace)
    managed.time.now += age
    status = managed.manager.status()
    assert status.state is state
    assert status.age_seconds == pytest.approx(age)
    if state is SecretsState.EXPIRED:
        with pytest.raises(SecretsUnavailableError):
            managed.manager.usable(KEY)
    else:
        assert current(managed) == "k1"


def test_a_source_that_is_away_costs_nothing_until_the_grace_is_over_and_nothing_once_it_is_back(
    manage: Manage,
) -> None:
    managed = manage(reading("k1", 5), grace_seconds=GRACE)
    managed.time.now += GRACE - 10.0
    assert managed.read(AWAY) is False
    assert current(managed) == "k1"
    managed.time.now += 10.0
    managed.read(AWAY)
    assert managed.manager.status().state is SecretsState.EXPIRED
    with pytest.raises(SecretsUnavailableError):
        managed.manager.current(KEY)
    assert managed.read(reading("k1", 5)) is False, "nothing has changed"
    assert current(managed) == "k1"
    assert managed.rotations == []


def test_a_reading_that_makes_no_sense_keeps_what_was_read_before(manage: Manage) -> None:
    managed = manage(reading("k1", 5))
    bad = SecretsSourceError("Field key is empty.", cause=FailureCause.BAD_VALUE)
    assert managed.read(bad) is False
    status = managed.manager.status()
    assert current(managed) == "k1"
    assert (status.version, status.state) == (5, SecretsState.FRESH)
    assert (status.last_error, status.last_cause) == ("Field key is empty.", FailureCause.BAD_VALUE)


def test_a_name_that_is_not_configured_is_not_to_be_had(manage: Manage) -> None:
    with pytest.raises(SecretsUnavailableError):
        manage(reading("k1")).manager.current(TICKET)


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0, 1e10])
def test_a_wall_clock_that_is_set_changes_no_state(manage: Manage, jump: float) -> None:
    managed = manage(reading("k1"))
    managed.source.lease_seconds_left = 60.0
    managed.wall.now += jump
    status = managed.manager.status()
    assert (status.state, status.age_seconds) == (SecretsState.FRESH, 0.0)
    assert status.lease_ends_at == managed.wall.now + 60.0
    managed.read(reading("k2"))
    assert usable(managed) == ["k2", "k1"]


# --- Rotation


def test_who_listens_hears_which_secrets_have_changed_and_finds_the_new_ones(manage: Manage) -> None:
    managed = manage(reading("k1", 1, ticket_signing_key="t1"))
    seen: list[str] = []
    managed.manager.on_rotation(lambda _: seen.append(current(managed)))
    assert managed.rotations == [], "the first reading is no rotation"
    assert managed.read(reading("k2", 2, ticket_signing_key="t1")) is True
    assert managed.read(reading("k2", 3, ticket_signing_key="t1")) is False, "only the version has"
    assert managed.read(reading("k2", 4, ticket_signing_key="t2")) is True
    assert managed.read(reading("k3", 5, ticket_signing_key="t3")) is True
    assert managed.rotations == [{KEY}, {TICKET}, {KEY, TICKET}]
    assert seen == ["k2", "k2", "k3"]
    assert managed.manager.status().version == 5


def test_the_values_of_before_are_usable_for_the_overlap_the_newest_first(manage: Manage) -> None:
    managed = manage(reading("k1"), overlap_seconds=OVERLAP)
    managed.read(reading("k2"))
    assert usable(managed) == ["k2", "k1"]
    assert current(managed) == "k2"
    managed.time.now += 99.0
    managed.read(reading("k3"))
    assert usable(managed) == ["k3", "k2", "k1"]
    managed.time.now += OVERLAP - 100.1
    assert usable(managed) == ["k3", "k2", "k1"]
    managed.time.now += 0.1
    assert usable(managed) == ["k3", "k2"]
    managed.read(reading("k3"))  # so that they do not grow stale
    managed.time.now += 98.9
    assert usable(managed) == ["k3", "k2"]
    managed.time.now += 0.1
    assert usable(managed) == ["k3"]


def test_another_secret_that_changes_keeps_nothing_of_one_that_does_not(manage: Manage) -> None:
    managed = manage(reading("k1", ticket_signing_key="t1"))
    managed.read(reading("k1", ticket_signing_key="t2"))
    assert usable(managed) == ["k1"]
    assert [secret.reveal() for secret in managed.manager.usable(TICKET)] == ["t2", "t1"]


def test_without_an_overlap_only_the_new_value_is_usable(manage: Manage) -> None:
    managed = manage(reading("k1"), overlap_seconds=0.0)
    managed.read(reading("k2"))
    assert usable(managed) == ["k2"]


def test_of_values_that_change_again_and_again_the_newest_are_kept(manage: Manage) -> None:
    managed = manage(reading("k0"), overlap_seconds=OVERLAP)
    for number in range(1, 21):
        managed.read(reading(f"k{number}"))
    assert usable(managed) == [f"k{20 - back}" for back in range(MAX_PREVIOUS + 1)]


def test_a_value_that_comes_back_is_there_once(manage: Manage) -> None:
    managed = manage(reading("a"), overlap_seconds=OVERLAP)
    managed.read(reading("b"))
    managed.read(reading("a"))
    assert usable(managed) == ["a", "b"]
    managed.read(reading("b"))
    assert usable(managed) == ["b", "a"]
    assert managed.rotations == [{KEY}] * 3


def test_values_that_go_back_and_forth_push_no_other_out_of_its_overlap(manage: Manage) -> None:
    managed = manage(reading("old"), overlap_seconds=OVERLAP)
    for _ in range(MAX_PREVIOUS):
        managed.read(reading("a"))
        managed.read(reading("b"))
    assert usable(managed) == ["b", "a", "old"]


def test_a_listener_that_raises_keeps_no_other_from_hearing_and_the_thread_alive(manage: Manage) -> None:
    managed = manage(reading("k1"), starts=False)
    heard: list[str] = []

    def fail(_: object) -> None:
        raise RuntimeError("on purpose")

    managed.manager._listeners.insert(0, fail)
    managed.manager.on_rotation(lambda _: heard.append("after"))
    managed.start()
    assert managed.read(reading("k2")) is True
    assert (managed.rotations, heard) == ([{KEY}], ["after"])
    assert managed.manager.status().last_error is None
    managed.read(reading("k3"))
    assert current(managed) == "k3"


def test_a_listener_may_ask_the_manager_for_anything(manage: Manage) -> None:
    managed = manage(reading("k1"))
    seen: list[object] = []
    managed.manager.on_rotation(
        lambda _: seen.append((managed.manager.status().version, managed.manager.refresh(0.0), current(managed)))
    )
    managed.read(reading("k2", 2))
    assert seen == [(2, False, "k2")]


# --- What may be told


def walk(thing: object) -> Iterator[object]:
    yield thing
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for field in dataclasses.fields(thing):
            yield from walk(getattr(thing, field.name))
    elif isinstance(thing, dict):
        for pair in thing.items():
            yield from walk(pair)
    elif isinstance(thing, tuple | list | set | frozenset):
        for one in thing:
            yield from walk(one)


def test_the_status_tells_everything_but_a_value(manage: Manage) -> None:
    managed = manage(reading(CANARY, 7, ticket_signing_key=CANARY))
    managed.source.lease_seconds_left = 100.0
    managed.read(reading(CANARY + "2", 8, ticket_signing_key=CANARY))
    managed.read(AWAY)
    status = managed.manager.status()
    assert (status.source, status.version, status.names) == ("scripted", 8, (KEY, TICKET))
    assert (status.read_at, status.failed_at) == (managed.wall.now, managed.wall.now)
    assert (status.age_seconds, status.lease_ends_at) == (1.0, managed.wall.now + 100.0)
    assert (status.last_error, status.last_cause) == (str(AWAY), "unreachable")
    for part in walk(status):
        assert not isinstance(part, Secret | SecretsSourceError)
        assert CANARY not in repr(part)


@pytest.mark.parametrize("left", [math.inf, 0.0])
def test_a_lease_that_does_not_end_or_is_not_there_has_no_end(manage: Manage, left: float) -> None:
    managed = manage(reading())
    managed.source.lease_seconds_left = left
    assert managed.manager.status().lease_ends_at is None


def test_an_exception_that_nobody_expected_ends_no_thread_and_shows_no_text(manage: Manage) -> None:
    managed = manage(reading("k1"))
    with capture_logs() as logs:
        managed.read(KeyError(f"the answer was {CANARY}"))
    status = managed.manager.status()
    assert status.last_cause == FailureCause.BAD_ANSWER
    assert status.last_error is not None
    assert "KeyError" in status.last_error
    assert CANARY not in repr(status) + repr(logs)
    assert current(managed) == "k1"
    managed.read(reading("k2"))
    assert current(managed) == "k2"


def test_a_failure_keeps_nothing_alive_of_what_was_at_hand_when_it_happened(manage: Manage) -> None:
    """The locals of the frames that it came through: Vault's answer, the request's headers."""

    class Answer:
        pass

    gone: list[weakref.ref[Answer]] = []
    managed = manage(reading("k1"))

    def fail() -> Reading:
        answer = Answer()
        gone.append(weakref.ref(answer))
        raise SecretsSourceError("Field key is missing.", cause=FailureCause.MISSING_FIELD)

    managed.source.read = fail  # type: ignore[method-assign]
    managed.time.now += 1.0
    managed.manager.refresh(LIMIT_SECONDS)
    assert managed.manager.status().last_cause == FailureCause.MISSING_FIELD
    wait_until(lambda: gone[0]() is None, LIMIT_SECONDS, "the end of what was at hand")


def test_a_failure_that_the_source_survives_is_told_too(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.source.on_failure(AWAY)
    assert managed.manager.status().last_error == str(AWAY)
    assert managed.manager.status().state is SecretsState.FRESH


def test_an_outage_is_one_warning_for_each_cause_and_one_line_when_it_is_over(manage: Manage) -> None:
    managed = manage(reading("k1"))
    sealed = SecretsSourceError("It is sealed.", cause=FailureCause.SEALED)
    with capture_logs() as logs:
        for answer in (AWAY, AWAY, AWAY, sealed, sealed, reading("k1"), reading("k1")):
            managed.read(answer)
    told = [(line["log_level"], line["event"], line.get("cause")) for line in logs]
    assert told == [
        ("warning", "secrets cannot be read", "unreachable"),
        ("warning", "secrets cannot be read", "sealed"),
        ("info", "secrets are read again", None),
    ]


def test_a_rotation_is_one_line_with_names_and_no_value(manage: Manage) -> None:
    with capture_logs() as logs:
        managed = manage(reading(CANARY, 1, ticket_signing_key=CANARY))
        managed.read(reading(CANARY + "2", 2, ticket_signing_key=CANARY))
    assert [(line["event"], line["version"], line["names"]) for line in logs] == [
        ("secrets were read", 1, ["elevenlabs_api_key", "ticket_signing_key"]),
        ("secrets have changed", 2, ["elevenlabs_api_key"]),
    ]
    assert CANARY not in repr(logs)


def test_the_gauges_say_in_which_state_they_are(manage: Manage) -> None:
    managed = manage(AWAY)
    wait_until(lambda: gauge(SecretsState.MISSING) == 1.0, LIMIT_SECONDS)
    managed.read(reading("k1", 9))
    wait_until(lambda: gauge(SecretsState.FRESH) == 1.0, LIMIT_SECONDS)
    assert gauge(SecretsState.MISSING) == 0.0
    assert REGISTRY.get_sample_value("vocero_secrets_version") == 9.0
    managed.time.now += GRACE + 1.0
    managed.read(AWAY)
    wait_until(lambda: gauge(SecretsState.EXPIRED) == 1.0, LIMIT_SECONDS)


# --- A source that does not change


@pytest.fixture
def static() -> Iterator[SecretsManager]:
    manager = SecretsManager(EnvironmentSource(Secret("k1")))
    yield manager
    manager.close()


def test_a_key_of_the_environment_is_there_at_once_and_stays_and_needs_no_thread(static: SecretsManager) -> None:
    threads = set(threading.enumerate())
    static.start()
    assert set(threading.enumerate()) == threads
    assert static.wait_until_read(0.0)
    assert static.current(KEY).reveal() == "k1"
    assert static.status().state is SecretsState.FRESH


def test_the_gauge_says_that_a_key_of_the_environment_is_there(static: SecretsManager) -> None:
    static.start()
    assert (gauge(SecretsState.FRESH), gauge(SecretsState.MISSING)) == (1.0, 0.0)


def test_a_refused_key_of_the_environment_makes_nobody_wait_for_another(static: SecretsManager) -> None:
    """It cannot change; with the sandbox or a typing error each refusal would cost its request 1.8 s."""
    static.start()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (static.refresh(LIMIT_SECONDS), done.set()))
    thread.start()
    try:
        wait_until(done.is_set, LIMIT_SECONDS / 5, "an answer")
    finally:
        thread.join()
