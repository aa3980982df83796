"""The user of a session, as the database has them, without asking it for each request.

The key decision: when the database does not answer, what was known last holds. People on call need the dashboard just
then; and whoever disables a user or changes a password ends their sessions too, which Redis knows without a database.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from service.errors import ServiceUnavailableError
from service.storage import AdminUser, AdminUsers

REMEMBER_SECONDS = 2.0
MOST_REMEMBERED = 512


class KnownUsers:
    """Users by id, remembered for two seconds."""

    def __init__(self, users: AdminUsers) -> None:
        self._users = users
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, AdminUser]] = OrderedDict()

    def get(self, user_id: str) -> AdminUser | None:
        """The user of this id; None: there is none.

        Raises:
            ServiceUnavailableError: the database does not answer, and the user was never seen.
        """
        with self._lock:
            known = self._known.get(user_id)
        if known is not None and time.monotonic() - known[0] < REMEMBER_SECONDS:
            return known[1]
        try:
            found = self._users.get(user_id)
        except ServiceUnavailableError:
            if known is None:
                raise
            found = known[1]  # for another two seconds: a database that hangs is not asked by each request
        self._remember(user_id, found)
        return found

    def forget(self, user_id: str) -> None:
        """Look the user up again: something about them has just been changed."""
        with self._lock:
            self._known.pop(user_id, None)

    def _remember(self, user_id: str, user: AdminUser | None) -> None:
        with self._lock:
            self._known.pop(user_id, None)
            if user is not None:
                self._known[user_id] = (time.monotonic(), user)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
