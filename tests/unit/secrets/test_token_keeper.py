"""Our token from the login to its end, by a clock that only the test moves."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault.client import Grant
from service.vault.token_keeper import TokenKeeper
from tests.unit.retrying import FakeTime

LEASE = 900.0
REFUSED = SecretsSourceError("Vault denies renewing our token.", cause=FailureCause.DENIED)
PAST_THE_MAX = SecretsSourceError("Vault did not serve renewing our token (500).", cause=FailureCause.SERVER_ERROR)
UNREACHABLE = SecretsSourceError("Vault cannot be reached.", cause=FailureCause.UNREACHABLE)

Said = Grant | SecretsSourceError


def granted(token: str = "t1", lease: float = LEASE, *, renewable: bool = True) -> Grant:
    return Grant(Secret(token), lease, renewable)


class Vault:
    """Says what it is told to; the last of each list stays."""

    def __init__(self, logins: list[Said], renewals: list[Said]) -> None:
        self.logins, self.renewals = logins, renewals
        self.asked: list[str] = []

    def renew(self, token: Secret) -> Grant:
        self.asked.append(f"renew {token.reveal()}")
        return _said(self.renewals)

    def log_in(self, _: object) -> Grant:
        self.asked.append("log in")
        return _said(self.logins)


def _said(words: list[Said]) -> Grant:
    word = words.pop(0) if len(words) > 1 else words[0]
    if isinstance(word, SecretsSourceError):
        raise word
    return word


class Kept:
    """A keeper, its Vault, its clock and what it has noted; without chance, unless `uniform` is given."""

    def __init__(self, *logins: Said, renewals: tuple[Said, ...] = (UNREACHABLE,), **options: Any) -> None:
        self.time = FakeTime()
        self.vault = Vault(list(logins) or [granted()], list(renewals))
        self.noted: list[SecretsSourceError] = []
        self.keeper = TokenKeeper(
            self.vault,  # type: ignore[arg-type]  # of a client it uses `renew`
            self.vault.log_in,
            note_failure=self.noted.append,
            clock=self.time.clock,
            **{"uniform": lambda low, high: (low + high) / 2, **options},
        )

    def token_after(self, seconds: float) -> str:
        self.time.now += seconds
        return self.keeper.token().reveal()


def test_there_is_no_token_before_one_is_asked_for() -> None:
    kept = Kept()
    assert kept.vault.asked == []
    assert kept.keeper.seconds_left == 0.0
    assert kept.keeper.seconds_to_upkeep == math.inf


def test_one_login_serves_until_two_thirds_of_the_lease_are_over() -> None:
    kept = Kept(renewals=(granted(),))
    for seconds in (0.0, 300.0, 299.0):
        assert kept.token_after(seconds) == "t1"
    assert kept.vault.asked == ["log in"]
    assert kept.keeper.seconds_to_upkeep == pytest.approx(1.0)
    assert kept.keeper.seconds_left == pytest.approx(301.0)
    assert kept.token_after(1.1) == "t1"
    assert kept.vault.asked == ["log in", "renew t1"]
    assert kept.keeper.seconds_left == pytest.approx(LEASE)
    assert kept.keeper.seconds_to_upkeep == pytest.approx(600.0)


def test_renewals_lie_within_a_tenth_of_two_thirds_and_are_spread_over_all_of_it() -> None:
    uniform = random.Random(5).uniform
    due = []
    for _ in range(1000):
        kept = Kept(uniform=uniform)
        kept.keeper.token()
        due.append(kept.keeper.seconds_to_upkeep / LEASE)
    low, high = 0.6, 0.6 + 2 / 15
    assert low <= min(due) < low + 0.001
    assert high - 0.001 < max(due) <= high
    tenths = [sum(1 for one in due if int((one - low) / (high - low) * 10) == tenth) for tenth in range(10)]
    assert min(tenths) > 60


def test_each_renewal_draws_a_new_moment() -> None:
    kept = Kept(renewals=(granted(),), uniform=random.Random(5).uniform)
    kept.keeper.token()
    moments = set()
    for _ in range(20):
        moments.add(kept.keeper.seconds_to_upkeep)
        kept.token_after(kept.keeper.seconds_to_upkeep)
    assert len(moments) == 20
    assert kept.vault.asked == ["log in"] + ["renew t1"] * 20


@pytest.mark.parametrize("lease", [LEASE / 2, LEASE, LEASE * 2])
def test_a_renewal_that_brings_at_least_half_of_the_first_lease_is_taken(lease: float) -> None:
    kept = Kept(renewals=(granted("t1", lease),))
    kept.keeper.token()
    assert kept.token_after(601.0) == "t1"
    assert kept.vault.asked == ["log in", "renew t1"]
    assert kept.keeper.seconds_left == pytest.approx(lease)
    assert kept.noted == []


def test_a_renewal_that_brings_less_than_half_of_the_first_lease_is_followed_by_a_login() -> None:
    kept = Kept(granted("t1"), granted("t2"), renewals=(granted("t1", LEASE / 2 - 1),))
    kept.keeper.token()
    assert kept.token_after(601.0) == "t2"
    assert kept.vault.asked == ["log in", "renew t1", "log in"]
    assert kept.keeper.seconds_left == pytest.approx(LEASE)
    assert kept.noted == []


def test_leases_that_shrink_slowly_are_measured_against_the_first_one() -> None:
    kept = Kept(granted("t1"), granted("t2"), renewals=(granted("t1", 600), granted("t1", 460), granted("t1", 440)))
    kept.keeper.token()
    for _ in range(2):
        assert kept.token_after(kept.keeper.seconds_to_upkeep + 0.1) == "t1"
    assert kept.token_after(kept.keeper.seconds_to_upkeep + 0.1) == "t2"
    assert kept.vault.asked == ["log in", "renew t1", "renew t1", "renew t1", "log in"]


def test_a_renewal_that_brings_nothing_makes_no_token_that_never_ends() -> None:
    """At its greatest age a token has 0 whole seconds left."""
    kept = Kept(granted("t1"), granted("t2"), renewals=(granted("t1", 0.0),))
    kept.keeper.token()
    assert kept.token_after(601.0) == "t2"
    assert kept.keeper.seconds_left == pytest.approx(LEASE)


@pytest.mark.parametrize("said", [REFUSED, PAST_THE_MAX])
def test_a_renewal_that_is_refused_is_followed_by_a_login_and_is_no_failure(said: SecretsSourceError) -> None:
    """It is how a token's greatest age is told."""
    kept = Kept(granted("t1"), granted("t2"), renewals=(said,))
    kept.keeper.token()
    assert kept.token_after(601.0) == "t2"
    assert kept.noted == []
    assert kept.vault.asked == ["log in", "renew t1", "log in"]


def test_a_token_that_cannot_be_renewed_is_replaced_in_time() -> None:
    kept = Kept(granted("t1", renewable=False), granted("t2"), renewals=(granted(),))
    kept.keeper.token()
    assert kept.token_after(599.0) == "t1"
    assert kept.token_after(2.0) == "t2"
    assert kept.vault.asked == ["log in", "log in"]


def test_while_the_old_token_is_good_a_vault_that_is_away_costs_nothing_but_a_note() -> None:
    kept = Kept(granted("t1"), UNREACHABLE)
    kept.keeper.token()
    assert kept.token_after(601.0) == "t1"
    assert kept.noted == [UNREACHABLE]
    assert kept.keeper.seconds_left == pytest.approx(299.0)


def test_a_renewal_that_failed_is_tried_again_soon_but_not_at_each_question() -> None:
    kept = Kept(granted("t1"), UNREACHABLE, uniform=random.Random(5).uniform)
    kept.keeper.token()
    kept.time.now += 660.0
    while (left := kept.keeper.seconds_left) > 2.0:
        asked = len(kept.vault.asked)
        assert kept.token_after(0.0) == "t1"
        assert kept.token_after(0.0) == "t1"
        assert len(kept.vault.asked) == asked + 2, "one renewal, one login"
        assert 0.2 <= kept.keeper.seconds_to_upkeep <= left / 4
        kept.time.now += kept.keeper.seconds_to_upkeep
    assert 10 < len(kept.vault.asked) < 120


def test_the_last_moments_of_a_token_are_not_spent_asking() -> None:
    kept = Kept(granted("t1"), UNREACHABLE)
    kept.keeper.token()
    assert kept.token_after(LEASE - 0.3) == "t1"
    assert kept.keeper.seconds_to_upkeep == pytest.approx(0.2)


def test_a_renewal_that_works_again_forgets_the_failure() -> None:
    kept = Kept(granted("t1"), UNREACHABLE, renewals=(UNREACHABLE, granted("t1")))
    kept.keeper.token()
    assert kept.token_after(601.0) == "t1"
    assert kept.token_after(kept.keeper.seconds_to_upkeep) == "t1"
    assert kept.keeper.seconds_left == pytest.approx(LEASE)
    assert kept.keeper.seconds_to_upkeep == pytest.approx(600.0)


def test_only_when_the_token_has_ended_does_a_vault_that_is_away_raise() -> None:
    kept = Kept(granted("t1"), UNREACHABLE, UNREACHABLE, granted("t2"))
    kept.keeper.token()
    assert kept.token_after(LEASE - 1.0) == "t1"
    with pytest.raises(SecretsSourceError) as caught:
        kept.token_after(1.0)
    assert caught.value is UNREACHABLE
    assert kept.token_after(0.0) == "t2"


def test_a_token_that_ends_while_vault_keeps_us_waiting_is_not_given_out() -> None:
    kept = Kept(granted("t1"))
    kept.keeper.token()

    def slow(_: object) -> Grant:
        kept.time.now += 301.0
        raise UNREACHABLE

    kept.vault.renew = slow  # type: ignore[method-assign]
    kept.vault.logins[:] = [UNREACHABLE]
    with pytest.raises(SecretsSourceError):
        kept.token_after(601.0)
    assert kept.noted == [], "whoever gets it raised counts it"


def test_the_first_login_that_fails_raises_and_leaves_nothing() -> None:
    kept = Kept(UNREACHABLE, granted("t1"))
    with pytest.raises(SecretsSourceError):
        kept.keeper.token()
    assert kept.keeper.seconds_left == 0.0
    assert kept.token_after(0.0) == "t1"


def test_a_token_without_end_is_never_renewed() -> None:
    kept = Kept(granted("root", 0.0))
    kept.keeper.token()
    assert kept.keeper.seconds_left == math.inf
    assert kept.keeper.seconds_to_upkeep == math.inf
    assert kept.token_after(1e9) == "root"
    assert kept.vault.asked == ["log in"]


@pytest.mark.parametrize("jump", [LEASE, LEASE + 0.001, 10 * LEASE, 1e9])
def test_a_clock_that_jumps_past_the_end_leads_to_a_login_and_to_no_renewal(jump: float) -> None:
    kept = Kept(granted("t1"), granted("t2"), renewals=(granted("t1"),))
    kept.keeper.token()
    assert kept.token_after(jump) == "t2"
    assert kept.vault.asked == ["log in", "log in"]


def test_a_dropped_token_is_replaced_at_the_next_question() -> None:
    kept = Kept(granted("t1"), granted("t2"))
    kept.keeper.token()
    kept.keeper.drop()
    assert kept.keeper.seconds_left == 0.0
    assert kept.keeper.seconds_to_upkeep == math.inf
    assert kept.vault.asked == ["log in"]
    assert kept.token_after(0.0) == "t2"


@pytest.mark.parametrize(
    "act",
    [
        lambda kept: kept.token_after(601.0),
        lambda kept: kept.keeper.drop() or kept.token_after(0.0),
        lambda kept: kept.token_after(2 * LEASE),
    ],
)
def test_no_log_line_of_a_token_shows_it(act: Callable[[Kept], object]) -> None:
    kept = Kept(granted("canary"), renewals=(granted("canary"),))
    with capture_logs() as logs:
        kept.keeper.token()
        act(kept)
    assert logs
    assert "canary" not in repr(logs)
