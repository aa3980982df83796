"""What every page has at hand: the parts of the application, and who asks."""

from __future__ import annotations

from typing import cast

from flask import current_app, g

from dashboard.access.signed_in import SignedIn
from dashboard.parts import Parts
from dashboard.words.said import Said
from service.errors import NotAuthenticatedError

__all__ = ["EXTENSION", "SignedIn", "parts", "who"]

EXTENSION = "dashboard"
"""Where the parts are in the application's extensions."""


def parts() -> Parts:
    """Everything that a page may call."""
    return cast("Parts", current_app.extensions[EXTENSION])


def who() -> SignedIn:
    """Whoever asks; the guard lets nobody else into a page that needs a user."""
    signed_in: SignedIn | None = g.get("signed_in")
    if signed_in is None:
        raise NotAuthenticatedError(Said("errors.code.not_signed_in"), code="not_signed_in")
    return signed_in
