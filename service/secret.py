"""A secret value that shows itself to nobody who does not ask for it by name.

The key decision: there is one way to the value, `reveal()`, so that whoever reviews the code searches for one word.
Whatever prints, formats, pickles or logs an object, a traceback's locals included, gets `Secret(hidden)` or an error.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import Never

from service.errors import SecretsSourceError

LONGEST_SECRET = 4096
"""Characters; ElevenLabs' keys have 51, what is a thousand times as long was put there by mistake."""


class SecretName(StrEnum):
    """The secrets that Vocero uses, by what they are called in its status."""

    ELEVENLABS_API_KEY = "elevenlabs_api_key"
    DATABASE_PASSWORD = "database_password"  # noqa: S105 (its name)
    TICKET_SIGNING_KEY = "ticket_signing_key"


class Secret:
    """A value that must not be seen. Two are equal when their values are, which is compared in constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def checked(cls, where: str, value: object) -> Secret:
        """`value` as a secret that can stand in a header; `where` is its place, for the message.

        Raises:
            SecretsSourceError: it is none, or none that anybody would have meant. The message does not show it.
        """
        if not isinstance(value, str):
            kind = "nothing" if value is None else type(value).__name__
            raise SecretsSourceError(f"{where} is {kind}, not text.", cause="bad_value")
        if not value:
            raise SecretsSourceError(f"{where} is empty.", cause="bad_value")
        if len(value) > LONGEST_SECRET:
            raise SecretsSourceError(
                f"{where} has {len(value)} characters, at most {LONGEST_SECRET} make sense.", cause="bad_value"
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise SecretsSourceError(
                f"{where} has a blank, a line break or another character that no secret has.", cause="bad_value"
            )
        return cls(value)

    def reveal(self) -> str:
        """The value itself. Hand it to what needs it, and keep it nowhere."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    __hash__ = None  # type: ignore[assignment]  # as a key of a dict it would be looked up by its value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _: object) -> Never:
        raise TypeError("a Secret is not pickled or copied")


def _bytes(value: str) -> bytes:
    # What a variable holds that is no UTF-8 has surrogates, and the error of a plain encode() quotes the value.
    return value.encode("utf-8", "surrogatepass")
