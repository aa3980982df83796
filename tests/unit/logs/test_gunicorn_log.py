"""gunicorn's lines have the shape of ours, and quote nothing of what clients send."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from gunicorn.config import Config

from service.gunicorn_log import log_class
from service.logs import LogContext, begin_log_context


@pytest.fixture
def log() -> Iterator[Any]:
    names = ("gunicorn.error", "gunicorn.access")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names}
    yield lambda log_format: log_class(log_format)(Config())
    for name, (handlers, propagate) in before.items():
        logging.getLogger(name).handlers[:], logging.getLogger(name).propagate = handlers, propagate


def test_they_are_json_where_ours_are(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    begin_log_context(LogContext())  # another test's may still be there
    log("json").warning("Worker (pid:%s) was sent SIGKILL!", 7)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp")
    assert line == {"event": "Worker (pid:7) was sent SIGKILL!", "level": "warning"}


def test_they_are_for_people_where_ours_are(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log("console").warning("Worker (pid:%s) was sent SIGKILL!", 7)
    written = capsys.readouterr().err
    assert "Worker (pid:7) was sent SIGKILL!" in written
    assert not written.startswith("{")


def test_an_address_is_told_without_its_query(log: Any, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log("json").exception("Error handling request %s %s", "GET", "/v1/convai?conversation_signature=canary")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "Error handling request GET /v1/convai"
    assert line["exception"][0]["exc_type"] == "RuntimeError"
    assert "canary" not in json.dumps(line)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Invalid request from ip=203.0.113.9: Invalid HTTP Header: 'XI-API-KEY canary'", "Invalid HTTP Header"),
        ("Invalid request from ip=203.0.113.9: Invalid HTTP request line: 'canary: x'", "Invalid HTTP request line"),
        ("Invalid request from ip=::1: Request Line is too large (9 > 4)", "Request Line is too large (9 > 4)"),
    ],
)
def test_a_request_that_is_none_is_not_quoted(
    said: str, told: str, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log("json").warning(said)
    assert json.loads(capsys.readouterr().err)["event"] == f"Invalid request ({told})"
