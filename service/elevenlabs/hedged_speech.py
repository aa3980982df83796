"""Speech whose first audio is late is asked for a second time, if the operator wants that; what speaks first is heard.

The key decision: only speech that is streamed, because the other routes answer when all is spoken, and there "late" is
just long. ElevenLabs bills both.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from service.deadline import remaining_seconds
from service.elevenlabs.speech import SpeechStream
from service.elevenlabs.speech_characters import tell_accepted, tell_spoken
from service.errors import UpstreamTimeoutError
from service.hedging import first_of_two
from service.metrics_elevenlabs import HedgeOutcome, hedge_ended
from service.retry import take_extra_attempt

LONGEST_WAIT_SECONDS = 300.0
"""Without a deadline; the sockets' own timeouts come long before."""


def open_hedged(ask: Callable[[], SpeechStream], *, after_seconds: float) -> SpeechStream:
    """The stream of `ask`, or of a second one begun after `after_seconds`, whichever has audio first.

    Within a retried call only: its budget pays for the second, and then it is not repeated any more.

    Raises:
        UpstreamError: as `ask`, or neither had audio before the call's deadline.
    """

    hedge = _Hedge(ask)
    left = remaining_seconds()
    try:
        return hedge.winner_of(
            first_of_two(
                hedge.ask_and_listen,
                after_seconds=after_seconds,
                timeout=LONGEST_WAIT_SECONDS if left is None else left,
                may_ask_again=hedge.may_ask_again,
                discard=hedge.discard,
            )
        )
    except TimeoutError:
        error = UpstreamTimeoutError("ElevenLabs did not begin to speak in time.", code="first_audio_timeout")
    finally:
        hedge.tell()
    raise error


class _Hedge:
    """Knows which of the two is heard."""

    def __init__(self, ask: Callable[[], SpeechStream]) -> None:
        self._ask = ask
        self._turns = itertools.count()
        self._has_second = False
        self._winner: int | None = None

    def ask_and_listen(self) -> tuple[int, SpeechStream]:
        turn = next(self._turns)
        stream = self._ask()
        stream.wait_for_audio()
        return turn, stream

    def may_ask_again(self) -> bool:
        self._has_second = take_extra_attempt()
        return self._has_second

    def winner_of(self, result: tuple[int, SpeechStream]) -> SpeechStream:
        self._winner, stream = result
        return stream

    def discard(self, result: tuple[int, SpeechStream]) -> None:
        stream = result[1]
        stream.close()
        tell_accepted(stream.order, stream.headers)  # it is on the bill as well
        tell_spoken(stream.order, received=0, is_whole=False)

    def tell(self) -> None:
        if self._has_second:
            hedge_ended(HedgeOutcome.WON if self._winner == 1 else HedgeOutcome.LOST)
