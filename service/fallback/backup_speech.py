"""What a speech endpoint needs of the backup: when it speaks, and that it speaks.

The key decision: the endpoint asks and tells, and decides nothing. Who is asked first, and whose fault a failure is, is
for the `FallbackService` behind these callables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.fallback.local_speech import LocalSpeech


@dataclass(frozen=True, kw_only=True)
class BackupSpeech:
    """`speech` answers when ElevenLabs does not.

    `goes_first(voice_id)`: ElevenLabs is not to be asked now; it raises the RequestError of a capability that is
    disabled. `takes_over(error)` is told of ElevenLabs' failure before the first byte, and says whether the backup may
    answer instead. `primary_spoke(seconds)` is told how long ElevenLabs took to its first byte.
    """

    speech: LocalSpeech
    goes_first: Callable[[str], bool]
    takes_over: Callable[[Exception], bool]
    primary_spoke: Callable[[float], None]
