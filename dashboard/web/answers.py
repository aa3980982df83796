"""How pages answer, and how they read what they are sent: JSON objects of bounded length, and nothing else."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response, make_response, redirect, render_template, request

from dashboard.words.said import Said
from service.errors import RequestError

LONGEST_BODY = 65_536


def json_answer(value: Any, status: int = 200) -> Response:
    """`value` as JSON; dataclasses, enumerations and times are written as they are meant."""
    body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status=status, mimetype="application/json")


def page(template: str, title_key: str | None = None, *, status: int = 200, **values: Any) -> Response:
    """The page that `template` makes of `values`."""
    return make_response(render_template(template, title_key=title_key, **values), status)


def redirected(path: str) -> Response:
    """Elsewhere, to be asked for by GET."""
    return redirect(path, code=303)  # type: ignore[return-value]  # Flask's own responses, typed as Werkzeug's


def fields() -> dict[str, Any]:
    """The JSON object that the request brought.

    Raises:
        RequestError: it brought something else, or more than 64 kB.
    """
    if request.mimetype != "application/json":
        raise RequestError(Said("errors.json_type"), code="not_json")
    body = request.get_data(cache=True)  # no longer than LONGEST_BODY: see the application's MAX_CONTENT_LENGTH
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError(Said("errors.json_broken"), code="not_json") from None
    if not isinstance(found, dict):
        raise RequestError(Said("errors.json_no_object"), code="not_json")
    return found
