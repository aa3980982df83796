"""Each request gets an id, which its client is told and its lines carry, and one line, without its query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.logs import log_context
from service.web.request_log import LONGEST_PATH, REQUEST_ID, RequestLog

OURS = re.compile("[0-9a-f]{32}")


def ask(*, believes: bool = False, path: str = "/chat", status: str = "200 OK", **environ: str) -> dict[str, Any]:
    """What came of a request: `id` inside, `header`, `context`, `lines`."""
    found: dict[str, Any] = {"header": None}

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        found["id"], found["context"] = environ[REQUEST_ID], log_context().request_id
        if status:
            start(status, [("Content-Type", "text/plain")])
        return [b""]

    def start(_: str, headers: list[tuple[str, str]]) -> None:
        found["header"] = dict(headers)["X-Request-ID"]

    request = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "conversation_signature=secret", **environ}
    with capture_logs() as found["lines"]:
        Context().run(lambda: list(RequestLog(app, believes_given_ids=believes)(request, start)))
    return found


def test_the_id_is_the_same_inside_in_the_answer_and_for_the_log() -> None:
    first, second = ask(), ask()
    assert OURS.fullmatch(first["id"])
    assert first["id"] == first["header"] == first["context"] != second["id"]


@pytest.mark.parametrize("given", ["a", "Ab-9_z", "x" * 64])
def test_a_proxy_of_ours_may_give_it(given: str) -> None:
    assert ask(believes=True, HTTP_X_REQUEST_ID=given)["header"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\n", "é", "a,b", '"', "../x", "a" * 10_000])
def test_it_must_be_well_formed(given: str) -> None:
    assert OURS.fullmatch(ask(believes=True, HTTP_X_REQUEST_ID=given)["header"])


def test_nobody_else_may_give_it() -> None:
    assert OURS.fullmatch(ask(believes=False, HTTP_X_REQUEST_ID="mine")["header"])


def test_the_line_has_method_path_status_and_seconds_and_nothing_else() -> None:
    (line,) = ask(status="404 NOT FOUND", path="/x" + "y" * 1000)["lines"]
    assert line.pop("seconds") >= 0
    assert line == {
        "event": "request answered",
        "log_level": "info",
        "method": "GET",
        "path": ("/x" + "y" * 1000)[:LONGEST_PATH],
        "status": 404,
    }


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/static/chat.js"])
def test_what_is_asked_all_the_time_is_for_those_who_want_to_know_everything(path: str) -> None:
    (line,) = ask(path=path)["lines"]
    assert line["log_level"] == "debug"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/voz/ñ".encode().decode("latin-1"), "/voz/ñ"),
        ("/a\x1b[31m\r\nb", "/a\ufffd[31m\ufffd\ufffdb"),
        ("/\xff\xfe", "/\ufffd\ufffd"),
        ("", ""),
    ],
)
def test_a_path_gives_a_terminal_no_orders(path: str, shown: str) -> None:
    (line,) = ask(path=path)["lines"]
    assert line["path"] == shown


def test_an_upgrade_has_no_line_of_its_own() -> None:
    assert ask(status="")["lines"] == []
