"""A password that somebody chose, checked before it becomes one; what is wrong with it is said in their language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.access.password_rules import LONGEST, SHORTEST
from dashboard.web.context import parts
from dashboard.web.looks import language
from dashboard.words import translate
from service.errors import RequestError, UnprocessableError


def chosen_password(body: Mapping[str, Any], *, name: str) -> str:
    """The password in `body`, fit for the user `name`.

    Raises:
        RequestError: it is not; `param` is "password".
    """
    password = body.get("password")
    if not isinstance(password, str):
        raise UnprocessableError(_say("password_is_text"), param="password")
    try:
        parts().passwords.check(password, name=name)
    except RequestError as exc:
        message = _say(exc.code)
        known = exc.message if message == f"account.error.{exc.code}" else message
        raise RequestError(known, code=exc.code, param="password") from exc
    return password


def _say(error: str) -> str:
    return translate(f"account.error.{error}", language(), shortest=SHORTEST, longest=LONGEST)
