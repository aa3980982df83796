"""Writing down what somebody did: with their name, where from, and the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from dashboard.web.context import parts, who


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
