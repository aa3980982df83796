"""Who may come back, and who has left."""

from __future__ import annotations

import pytest

from service.conversation.endings import is_lost
from service.errors import ConnectionClosedError, FrameError, RequestError, WriteDeadlineError


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ConnectionClosedError(1006, "the connection was lost"), True),
        (WriteDeadlineError(1013, "the peer does not read"), True),
        (ConnectionClosedError(1000, ""), False),
        (ConnectionClosedError(1001, "a page that is closed"), False),
        (ConnectionClosedError(1005, ""), False),
        (FrameError(1002, "a broken frame"), False),
        (RequestError("no message"), False),
    ],
)
def test_only_who_has_not_said_goodbye_is_waited_for(error: Exception, lost: bool) -> None:
    """A leg that waits costs a slot of the account and minutes of the plan."""
    assert is_lost(error) is lost
