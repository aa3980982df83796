"""A password that somebody chose, checked before it becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.web.context import parts
from dashboard.words.said import Said
from service.errors import UnprocessableError


def chosen_password(body: Mapping[str, Any], *, name: str) -> str:
    """The password in `body`, fit for the user `name`.

    Raises:
        RequestError: it is not; `param` is "password".
    """
    password = body.get("password")
    if not isinstance(password, str):
        raise UnprocessableError(Said("account.error.password_is_text"), param="password")
    parts().passwords.check(password, name=name)
    return password
