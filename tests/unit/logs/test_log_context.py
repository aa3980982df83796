"""Which request or conversation a line is about goes with the thread that writes it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest
import structlog

from service.logs import LogContext, begin_log_context, configure_logging, log_context, with_log_context
from service.traces import trace_id_of
from tests.servers import ROOT, clean_environment

Lines = list[dict[str, Any]]
LinesOf = Callable[..., Lines]


@pytest.fixture
def lines_of(capsys: pytest.CaptureFixture[str]) -> LinesOf:
    """What a function logs, run in a context of its own: no other test's lines carry what it begins."""

    def run(function: Callable[[], None], *, has_traces: bool = True) -> Lines:
        configure_logging("debug", "json", trace_id_of=trace_id_of if has_traces else None)
        Context().run(function)
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return run


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(10.0)


def test_a_line_carries_what_its_thread_is_about_also_what_was_learned_later(lines_of: LinesOf) -> None:
    def talk() -> None:
        log = structlog.get_logger("test")
        begin_log_context(LogContext(request_id="r1"))
        log.info("one")
        context = log_context()
        in_thread(lambda: (setattr(context, "conversation_id", "conv_1"), setattr(context, "leg", 2)))
        log.info("two")
        logging.getLogger("library").warning("three")

    one, *others = lines_of(talk)
    assert (one["request_id"], "conversation_id" in one, "leg" in one, "trace_id" in one) == ("r1", False, False, False)
    assert [(line["request_id"], line["conversation_id"], line["leg"]) for line in others] == [("r1", "conv_1", 2)] * 2
    assert {line["trace_id"] for line in others} == {trace_id_of("conv_1")}


def test_another_thread_carries_it_if_it_is_given_it(lines_of: LinesOf) -> None:
    def talk() -> None:
        log = structlog.get_logger("test")
        begin_log_context(LogContext(request_id="r1"))
        in_thread(with_log_context(lambda: log.info("given")))
        in_thread(lambda: log.info("not given"))

    given, not_given = lines_of(talk)
    assert given["request_id"] == "r1"
    assert "request_id" not in not_given


def test_what_a_line_says_itself_counts(lines_of: LinesOf) -> None:
    def talk() -> None:
        begin_log_context(LogContext(request_id="r1", conversation_id="conv_1"))
        structlog.get_logger("test").info("one", conversation_id="conv_2")

    (line,) = lines_of(talk)
    assert (line["conversation_id"], line["trace_id"]) == ("conv_2", trace_id_of("conv_2"))


def test_without_traces_no_line_names_one(lines_of: LinesOf) -> None:
    def talk() -> None:
        begin_log_context(LogContext(conversation_id="conv_1"))
        structlog.get_logger("test").info("one")

    (line,) = lines_of(talk, has_traces=False)
    assert "trace_id" not in line


FAILING = """
from gevent import get_hub, monkey
monkey.patch_all()
import threading
from service.logs import configure_logging, log_failing_threads, log_uncaught
configure_logging("info", "json")
log_failing_threads()
hub = get_hub()
hub.print_exception = lambda context, *failure: log_uncaught(*failure, where=type(context).__name__)
def fail():
    canary = "a local variable"
    raise RuntimeError("broken")
thread = threading.Thread(target=fail, name="ledger")
thread.start()
thread.join()
hub.loop.run_callback(fail)
leaving = threading.Thread(target=exit)
leaving.start()
leaving.join()
"""


def test_what_nobody_catches_is_a_line_too_also_in_the_event_loop() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FAILING],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    in_thread, in_loop = (json.loads(line) for line in ran.stderr.splitlines())
    assert (in_thread["event"], in_thread["where"], in_loop["event"]) == (
        "a thread failed",
        "ledger",
        "a thread failed",
    )
    for line in (in_thread, in_loop):
        assert line["level"] == "error"
        assert line["exception"][0]["exc_value"] == "broken"
        assert "a local variable" not in json.dumps(line)
