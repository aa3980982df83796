"""Writing down what somebody did: with their name, where from, and the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import g, request
from sqlalchemy.orm import Session

from dashboard.access.client_address import shown_address
from dashboard.web.context import parts, who


def note_sign_in(action: str, name: str, after: Mapping[str, Any]) -> None:
    """Add an audit entry about somebody who signs in, or tries to: there is no session yet that says who.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    parts().audit.append(
        actor=name,
        action=action,
        subject=name,
        after=after,
        address=shown_address(request.remote_addr),
        request_id=g.request_id,
    )


def note(
    action: str,
    subject: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    within: Session | None = None,
) -> None:
    """Add an audit entry about whoever asks; `within` is a session of `Database.writing`, and this the last in it.

    Raises:
        ServiceUnavailableError: the database does not answer.
    """
    signed_in = who()
    parts().audit.append(
        actor=signed_in.user.name,
        action=action,
        subject=subject,
        before=before,
        after=after,
        address=signed_in.address,
        request_id=signed_in.request_id,
        within=within,
    )
