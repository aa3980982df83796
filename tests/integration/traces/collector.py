"""An OpenTelemetry collector for tests: takes OTLP over HTTP, and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from scripts.launcher.waiting import wait_until

LIMIT = 20.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came: ids as hexadecimal digits, times in Unix seconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started_at: float
    ended_at: float
    is_error: bool
    attributes: Mapping[str, object]
    resource: Mapping[str, object]
    events: Mapping[str, float]


class Collector:
    """Listens from the beginning; answers `status`, or not at all while it `hangs`."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.spans: list[ReceivedSpan] = []
        self.requests = 0
        self._answers = threading.Event()
        self._answers.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def hangs(self) -> bool:
        return not self._answers.is_set()

    @hangs.setter
    def hangs(self, hangs: bool) -> None:
        """While it does no request is answered; those that wait are closed without an answer in the end."""
        if hangs:
            self._answers.clear()
        else:
            self._answers.set()

    @property
    def endpoint(self) -> str:
        return f"{self.base}/v1/traces"

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.hangs = False
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: BaseHTTPRequestHandler) -> None:
        self.requests += 1
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if self.hangs:
            self._answers.wait(LIMIT)
            return
        if self.status == 200:
            assert request.path == "/v1/traces"
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.spans += spans_in(gzip.decompress(body) if request.headers["Content-Encoding"] == "gzip" else body)
        request.send_response(self.status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def wait_for(self, count: int) -> list[ReceivedSpan]:
        """All that came, when there are so many."""
        wait_until(lambda: len(self.spans) >= count, LIMIT, f"{count} spans")
        return self.spans

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]


def spans_in(body: bytes) -> list[ReceivedSpan]:
    """What an export request has."""
    found: list[ReceivedSpan] = []
    for block in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = values_of(block.resource.attributes)
        for scope in block.scope_spans:
            found += [
                ReceivedSpan(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    started_at=span.start_time_unix_nano / 1e9,
                    ended_at=span.end_time_unix_nano / 1e9,
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes=values_of(span.attributes),
                    resource=resource,
                    events={event.name: event.time_unix_nano / 1e9 for event in span.events},
                )
                for span in scope.spans
            ]
    return found


def values_of(attributes: Any) -> dict[str, object]:
    return {pair.key: value_of(pair) for pair in attributes}


def value_of(pair: KeyValue) -> object:
    value: AnyValue = pair.value
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
