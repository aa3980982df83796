"""Signals: they raise where we are, but never inside of what must not be torn."""

from __future__ import annotations

import os
import signal

import pytest

from scripts.reversal.failures import StopRequestedError
from scripts.reversal.stops import SIGNALS, Stops


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_at_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stops(), pytest.raises(StopRequestedError, match=number.name):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_inside_a_shield_it_waits_for_the_end() -> None:
    reached = []
    with Stops() as stops, pytest.raises(StopRequestedError, match="SIGTERM"):
        with stops.shielded():
            with stops.shielded():
                os.kill(os.getpid(), signal.SIGTERM)
                reached.append("inner")
            reached.append("outer")
        reached.append("behind")
    assert reached == ["inner", "outer"]


def test_while_we_are_deaf_nothing_comes_of_it() -> None:
    with Stops() as stops:
        with stops.deaf():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequestedError), stops.shielded():
            pass  # the next shield remembers


def test_a_failure_inside_a_shield_is_the_one_that_is_told() -> None:
    with Stops() as stops, pytest.raises(ValueError, match="broken"), stops.shielded():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("broken")
