"""Speech whose first audio is late is asked for a second time, if the operator wants that; what speaks first is heard.

The key decision: only speech that is streamed, because the other routes answer when all is spoken, and there "late" is
just long. ElevenLabs bills both.
"""

from __future__ import annotations

from collections.abc import Callable

from service.deadline import remaining_seconds
from service.elevenlabs.speech import SpeechStream
from service.errors import UpstreamTimeoutError
from service.hedging import first_of_two
from service.retry import take_extra_attempt

LONGEST_WAIT_SECONDS = 300.0
"""Without a deadline; the sockets' own timeouts come long before."""


def open_hedged(ask: Callable[[], SpeechStream], *, after_seconds: float) -> SpeechStream:
    """The stream of `ask`, or of a second one begun after `after_seconds`, whichever has audio first.

    Within a retried call only: its budget pays for the second, and then it is not repeated any more.

    Raises:
        UpstreamError: as `ask`, or neither had audio before the call's deadline.
    """

    def ask_and_listen() -> SpeechStream:
        stream = ask()
        stream.wait_for_audio()
        return stream

    left = remaining_seconds()
    try:
        return first_of_two(
            ask_and_listen,
            after_seconds=after_seconds,
            timeout=LONGEST_WAIT_SECONDS if left is None else left,
            may_ask_again=take_extra_attempt,
            discard=SpeechStream.close,
        )
    except TimeoutError:
        error = UpstreamTimeoutError("ElevenLabs did not begin to speak in time.", code="first_audio_timeout")
    raise error
