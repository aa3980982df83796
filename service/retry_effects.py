"""Which failure may be repeated: what each class of error says about the call that ended with it.

The key decision: it is told by the class alone. A status, a word or a close code is read once, in
`service.elevenlabs.faults`, and is no longer looked at here; a class that is added without an entry gets that of the
class it is derived from.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamUnavailableError,
)


class Effect(Enum):
    """What a failed call has done, and with that what repeating it would."""

    NEVER_SENT = "the request never left us: repeating it repeats nothing"
    THROTTLED = "it was refused before it was acted on: repeat it after a while"
    UNSAFE = "it may have been acted on and billed: repeat it only if it was declared repeatable"
    CROWDED = "our own calls fill the account: the limiter waits for a slot, trying again would take it from another"
    QUOTA = "the account is empty: trying again gives the same"
    AUTH = "the key is refused: trying again with it gives the same"
    REFUSED = "the request itself is refused: trying it again gives the same"


EFFECTS: Mapping[type[UpstreamError], Effect] = MappingProxyType(
    {
        UpstreamConnectError: Effect.NEVER_SENT,
        UpstreamBusyError: Effect.THROTTLED,
        UpstreamUnavailableError: Effect.UNSAFE,  # with its timeouts and broken answers
        UpstreamConcurrencyError: Effect.CROWDED,
        UpstreamQuotaError: Effect.QUOTA,
        UpstreamKeyError: Effect.AUTH,
        UpstreamPolicyError: Effect.REFUSED,
        UpstreamRequestError: Effect.REFUSED,
        UpstreamError: Effect.UNSAFE,
    }
)


def effect_of(error: UpstreamError) -> Effect:
    """The effect of the class, or of the nearest one that it is derived from."""
    return next(EFFECTS[one] for one in type(error).__mro__ if one in EFFECTS)
