"""How long HTTP requests take, by endpoint, method and class of status: what Flask answers, and speech before it.

The key decision: prometheus-flask-exporter's own default metrics are left off. They take the method as the client wrote
it, which has no bounds, and a histogram for each status; and as they look at views alone, a request without one is
told of nowhere. So its tracker is put around the whole of Flask, with labels from closed sets. A conversation's request
lasts as long as the conversation and is left out: it has metrics of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, request
from prometheus_flask_exporter import PrometheusMetrics

from service import metrics, metrics_platform
from service.elevenlabs.vocabulary import SpeechRoute
from service.metrics_platform import Method, StatusClass

_ARRIVED = "vocero.arrived"
_SPEECH = "/v1/text-to-speech/"
_SPEECH_ENDPOINTS = {route.value: f"speech.{route.name}" for route in SpeechRoute}
_METHODS = {**{method.value: method for method in Method}, "HEAD": Method.GET}

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]


def register(app: Flask, *, leave_out: Iterable[str]) -> None:
    """Measure what `app` answers, but for the endpoints to `leave_out`. After its routes have been made."""
    endpoints = frozenset(app.view_functions)
    left_out = frozenset(leave_out)

    @app.before_request
    def mark() -> None:
        if request.endpoint in left_out:
            request.prom_exclude_all = True  # type: ignore[attr-defined]  # what the exporter looks for

    labels: dict[str, Callable[..., str]] = {
        "endpoint": lambda: metrics.closed(endpoints, request.endpoint or metrics.OTHER),
        "method": lambda: method_of(request.method),
        "status": lambda response: status_of(response.status_code),
    }
    measured = _Exporter(app=None, path=None, export_defaults=False).around(labels)
    app.full_dispatch_request = measured(app.full_dispatch_request)  # type: ignore[method-assign]


class _Exporter(PrometheusMetrics):  # type: ignore[misc]  # it has no types
    """With our histogram, and with the time that a request took before it came to Flask."""

    def around(self, labels: dict[str, Callable[..., str]]) -> Callable[[Callable[..., Response]], Any]:
        decorator: Callable[[Callable[..., Response]], Any] = self._track(
            lambda *_arguments, **_named: metrics_platform.HTTP_SECONDS,
            lambda metric, time: metric.observe(time + _before_flask(time)),
            {},
            metrics_platform.HTTP_DURATION,
            metrics_platform.HTTP_DURATION_HELP,
            labels,
            initial_value_when_only_static_labels=False,
            registry=self.registry,
        )
        return decorator


def _before_flask(seconds_in_flask: float) -> float:
    arrived: float | None = request.environ.pop(_ARRIVED, None)
    return 0.0 if arrived is None else max(0.0, time.perf_counter() - arrived - seconds_in_flask)


class SpeechMetrics:
    """WSGI middleware around the door for speech (`app`), which answers before Flask when all is well."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As PEP 3333."""
        if environ["REQUEST_METHOD"] == "GET" or not environ["PATH_INFO"].startswith(_SPEECH):  # GET: a speech socket
            return self._app(environ, start_response)
        environ[_ARRIVED] = arrived = time.perf_counter()
        body = self._app(environ, start_response)
        if environ.pop(_ARRIVED, None) is not None:  # else Flask has answered, and was measured
            route = environ["PATH_INFO"][len(_SPEECH) :].partition("/")
            endpoint = _SPEECH_ENDPOINTS.get(f"{route[1]}{route[2]}", metrics.OTHER)
            metrics_platform.http_answered(
                endpoint, Method.POST, StatusClass.GOOD, time.perf_counter() - arrived,
            )  # fmt: skip
        return body


def method_of(text: str) -> Method:
    """The method as a label; HEAD is told as GET, and what is none of ours as `other`: clients write anything there."""
    return _METHODS.get(text, Method.OTHER)


def status_of(code: int) -> StatusClass:
    """The class of a status."""
    return StatusClass(metrics.closed(StatusClass, f"{code // 100}xx"))
