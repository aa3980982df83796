"""Passwords: which are good enough, how they are kept, and what a flood of them costs."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboard.access import passwords as passwords_module
from dashboard.access.passwords import _NOBODY, WAITING_FOR_EACH_THREAD, Passwords, generate, hash_now
from scripts.launcher.waiting import wait_until
from service.errors import RequestError, ServiceUnavailableError


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(ThreadPoolExecutor(1), threads=1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_too_short"),
        ("x" * 129, "password_too_long"),
        ("tabs\tare no good", "password_unusable"),
        ("qwertyuiop123", "password_common"),
        ("Passw0rd2026!", "password_common"),
        ("P@ssw0rd!!!!", "password_common"),
        ("voceroadmin2026", "password_common"),
        ("1234567890123", "password_common"),
        ("aaaabbbbaaaabbbb", "password_common"),
        ("lkjihgfedcba", "password_common"),
        ("maria.gonzalez1", "password_common"),
    ],
)
def test_what_is_tried_first_is_refused_with_what_to_do(passwords: Passwords, password: str, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        passwords.check(password, name="maria.gonzalez")
    assert (refused.value.code, refused.value.param) == (code, "password")
    assert password not in refused.value.message


@pytest.mark.parametrize("password", ["correct horse battery", "mi perra ladra a las 7", "ñandú-ñandú-87"])
def test_a_few_words_are_a_good_password_in_any_alphabet(passwords: Passwords, password: str) -> None:
    passwords.check(password, name="maria")


def test_a_generated_password_is_a_good_one(passwords: Passwords) -> None:
    passwords.check(generate(), name="maria")


def test_a_password_is_the_same_however_its_characters_were_typed(passwords: Passwords) -> None:
    composed = "contraseña muy larga"
    kept = passwords.hash(unicodedata.normalize("NFD", composed))
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.matches(kept, composed)
    assert not passwords.matches(kept, composed.upper())
    assert not passwords.is_outdated(kept)


def test_nobody_has_the_password_of_nobody(passwords: Passwords) -> None:
    assert not passwords.matches(None, "for nobody at all")
    # It costs what a user's costs: the same kind with the same parameters.
    assert _NOBODY.rsplit("$", 2)[0] == hash_now("any").rsplit("$", 2)[0]


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$broken", "plain text"])
def test_a_hash_that_is_none_lets_nobody_in(passwords: Passwords, kept: str) -> None:
    assert not passwords.matches(kept, kept)


def test_no_more_wait_than_have_room_and_the_place_is_given_back() -> None:
    executor = ThreadPoolExecutor(1)
    passwords = Passwords(executor, threads=1)
    go_on = threading.Event()
    executor.submit(go_on.wait, 30)
    refused: list[ServiceUnavailableError] = []

    def hash_one() -> None:
        try:
            passwords.hash("any password")
        except ServiceUnavailableError as exc:
            refused.append(exc)

    asking = [threading.Thread(target=hash_one) for _ in range(2 + WAITING_FOR_EACH_THREAD)]
    for each in asking:
        each.start()
    try:
        wait_until(lambda: refused, 10, "one that is refused")
    finally:
        go_on.set()
        for each in asking:
            each.join(20)
    assert [each.code for each in refused] == ["too_many_sign_ins"]
    assert passwords.hash("any password")
    passwords.close()


def test_what_nobody_waits_for_any_more_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else those who left would still stand before those who come."""
    hashed: list[str] = []
    monkeypatch.setattr(passwords_module, "hash_now", hashed.append)
    executor = ThreadPoolExecutor(1)
    passwords = Passwords(executor, threads=1, longest_wait=0.05)
    go_on = threading.Event()
    executor.submit(go_on.wait, 30)
    with pytest.raises(ServiceUnavailableError, match="few seconds"):
        passwords.hash("of one who left")
    go_on.set()
    executor.shutdown()  # all that was asked for has been done
    assert hashed == []
