"""How much of the account's quota is used, as ElevenLabs says.

The key decision: only two numbers are read. What else the answer tells (plan, invoices, dates of the period) nobody
here acts on, and part of it is nobody's business.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.transport import HttpTransport
from service.elevenlabs.vocabulary import SUBSCRIPTION_PATH
from service.errors import UpstreamProtocolError

MAX_BODY_BYTES = 1_048_576
"""Open invoices are in it."""

LARGEST_COUNT = 2**53


@dataclass(frozen=True)
class Quota:
    """Characters (credits) of the period: used so far, and how many there are."""

    used: int
    limit: int


def fetch_quota(keys: KeyChoice, transport: HttpTransport) -> Quota:
    """As `ElevenLabsService.fetch_quota`."""
    answer = keys.send(lambda key: transport.send("GET", SUBSCRIPTION_PATH, key=key))
    return read_quota(answer.read_all(MAX_BODY_BYTES))


def read_quota(document: bytes) -> Quota:
    """The quota in the answer to a question for the subscription.

    Raises:
        UpstreamProtocolError: it is none.
    """
    try:
        fields = orjson.loads(document)
        quota = Quota(used=fields["character_count"], limit=fields["character_limit"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        quota = None  # raised below: the cause would quote the answer
    if quota is None or not (_is_count(quota.used) and _is_count(quota.limit)):
        raise UpstreamProtocolError("ElevenLabs' subscription makes no sense.", code="senseless_answer")
    return quota


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT
