"""What only somebody may do who has just shown the password: an open screen is not enough for it."""

from __future__ import annotations

from flask import g

from dashboard.access.signed_in import SignedIn
from dashboard.words.said import Said
from service.errors import NotAllowedError


class ConfirmationNeededError(NotAllowedError):
    """The password was not shown within the last five minutes: ask for it (POST /api/account/confirm), then repeat."""

    def __init__(self) -> None:
        super().__init__(Said("errors.code.confirmation_needed"), code="confirmation_needed")


def require_confirmed() -> None:
    """Raises ConfirmationNeededError unless whoever asks has shown the password within the last five minutes."""
    signed_in: SignedIn | None = g.get("signed_in")
    if signed_in is None or signed_in.confirmed_at is None:
        raise ConfirmationNeededError
