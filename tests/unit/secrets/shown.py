"""Everything that a careless reporter could show of an exception."""

from __future__ import annotations

import traceback
from collections.abc import Iterator


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """The exception and what led to it, also what `from None` only covers."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def shown_of(error: BaseException) -> str:
    """Its text, its attributes, the request that it carries; and those of what led to it."""
    parts = []
    for one in chain(error):
        parts += [str(one), repr(one), repr(vars(one))]
        request = getattr(one, "request", None)
        parts.append(repr(dict(request.headers)) + repr(request.body) if request is not None else "")
    return "\n".join(parts)


def locals_of(error: BaseException) -> str:
    """The tracebacks, with the local variables of each frame."""
    tracebacks = [
        traceback.TracebackException(type(one), one, one.__traceback__, capture_locals=True) for one in chain(error)
    ]
    return "".join(line for one in tracebacks for line in one.format(chain=False))


def is_one_line(message: str) -> bool:
    return bool(message) and message.isprintable() and len(message) < 500
