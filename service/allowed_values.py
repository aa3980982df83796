"""What a setting may be, and what the value that it has looks like, in words for the one who set it.

The key decision: a value is never quoted, whichever setting it is for, because the mistake may be that a key was pasted
into the wrong line. Its shape (how long, a number, in quotation marks) is nearly always enough to see what happened.
"""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

NAMES = "names, separated by commas"
ADDRESS = "http:// or https:// with a host, and no query and no slash at the end"
_SCHEMES = ("http", "https", "redis", "rediss", "unix", "postgresql", "postgresql+psycopg", "sqlite", "ws", "wss")
_TOO = {
    "greater_than": "small",
    "greater_than_equal": "small",
    "less_than": "large",
    "less_than_equal": "large",
    "string_too_long": "long",
    "string_too_short": "short",
}


def allow(words: str) -> dict[str, Any]:
    """For `Field(json_schema_extra=...)` where the type and the bounds do not say what is allowed."""
    return {"allowed": words}


def checked_address(address: str) -> str:
    """An address as it is, if a host and a port can be read in it: what a pattern says too little about.

    Raises:
        ValueError: they cannot; the message does not show it, since it may carry a password.
    """
    try:
        place = urlsplit(address)
        is_readable = place.port != 0 and not re.search(r"\s", place.hostname or "")
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError("its host or its port cannot be one")
    return address


def allowed(field: FieldInfo) -> str:
    """What the field's variable may be: "a whole number from 1 to 65535"."""
    if isinstance(field.json_schema_extra, dict) and "allowed" in field.json_schema_extra:
        return str(field.json_schema_extra["allowed"])
    kind = _kind(field)
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    if kind is bool:
        return "true or false"
    if kind is int:
        return f"a whole number{_range(field)}"
    if kind is float:
        return f"a number{_range(field)}"
    if kind is Path:
        return "a path"
    return f"text{_lengths(field)}"


def is_secret(field: FieldInfo) -> bool:
    """Whether the value must be seen nowhere."""
    return _kind(field) is SecretStr


def shape(value: object, field: FieldInfo, problem: str) -> str:
    """What the value looks like that was refused for `problem` (pydantic's type of the error)."""
    if is_secret(field) or not isinstance(value, str):
        return "something else"
    if _kind(field) in {int, float} and re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", value):
        kind = "a number with decimals" if "." in value else "a whole number"
        return f"{kind} that is too {_TOO[problem]}" if problem in _TOO else kind
    words = _text(value)
    return f"{words}, which is too {_TOO[problem]}" if problem in _TOO else words


def _text(value: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "text that is not UTF-8"
    if value.startswith("tcp://"):
        return (
            "an address as Kubernetes sets it for a Service whose name our variables begin with"
            " (enableServiceLinks: false keeps it away)"
        )
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return "text in quotation marks, which are not taken off"
    if value != value.strip():
        return "text with a blank or line break at its ends"
    scheme = value.partition("://")[0]
    if scheme in _SCHEMES and "://" in value:
        return f"an address that begins with {scheme}://{_flaws(value)}"
    return f"text of {len(value)} character{'s' if len(value) != 1 else ''}"


def _flaws(address: str) -> str:
    flaws = [
        flaw
        for sign, flaw in (("@", "a user's name"), ("?", "a query"), ("#", "a fragment"), (" ", "a blank"))
        if sign in address
    ]
    if address.endswith("/"):
        flaws.append("a slash at the end")
    return f" and has {', '.join(flaws)}" if flaws else ""


def _kind(field: FieldInfo) -> object:
    """The field's type without `| None`."""
    kind = field.annotation
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _range(field: FieldInfo) -> str:
    least = next((rule.ge for rule in field.metadata if isinstance(rule, Ge)), None)
    above = next((rule.gt for rule in field.metadata if isinstance(rule, Gt)), None)
    most = next((rule.le for rule in field.metadata if isinstance(rule, Le)), None)
    if above is not None:
        return f" above {_number(above)}" + ("" if most is None else f", {_number(most)} at most")
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    if least is not None:
        return f", {_number(least)} or more"
    return "" if most is None else f", {_number(most)} at most"


def _number(bound: Any) -> str:
    return f"{bound:.10g}"


def _lengths(field: FieldInfo) -> str:
    least = next((rule.min_length for rule in field.metadata if isinstance(rule, MinLen)), 0)
    most = next((rule.max_length for rule in field.metadata if isinstance(rule, MaxLen)), None)
    if most is None:
        return ""
    return f" of {least} to {most} characters" if least else f" of {most} characters at most"
