"""What Vocero does without when it is away: the collector of traces, an OpenAI-compatible endpoint. It costs nothing.

So nothing here is a failure: each is asked only where it is set, and what is wrong is a warning.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

import requests

from service.checks.finding import Finding, ok, warning
from service.config import Settings

SECONDS = 5.0
_REFUSED = {401, 403}


def check_collector(settings: Settings) -> Iterator[Finding]:
    """Send the collector of traces an empty batch."""
    endpoint = settings.traces_endpoint
    if endpoint is None:
        return
    try:
        exporter = importlib.import_module("service.trace_export").OtlpExporter(
            endpoint, instance="check", seconds=SECONDS
        )
    except ModuleNotFoundError as exc:
        yield warning("collector", f"no traces are sent (without {exc.name})", "pip install vocero[traces]")
        return
    except Exception as exc:  # noqa: BLE001 (a variable that the SDK cannot read; its text may quote headers)
        yield warning(
            "collector", f"no traces are sent ({type(exc).__name__})", "see the variables OTEL_EXPORTER_OTLP_..."
        )
        return
    with contextlib.closing(exporter):
        if exporter.is_taken():
            yield ok("collector", "it takes traces")
        else:
            yield warning(
                "collector",
                "it does not answer, or refuses traces",
                "OTEL_EXPORTER_OTLP_ENDPOINT is for OTLP over HTTP (port 4318, not 4317)",
            )


def check_openai(settings: Settings) -> Iterator[Finding]:
    """Ask the endpoint that stands in for the backup's own parts for its list of models, if it is used for any."""
    models = (settings.openai_chat_model, settings.openai_speech_model, settings.openai_transcription_model)
    if not any(models):
        return
    key = settings.openai_api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        with requests.Session() as session:
            session.trust_env = False  # as in `service.fallback.openai_endpoint`
            asked = f"{settings.openai_base_url}/models"
            with session.get(asked, headers=headers, timeout=SECONDS, allow_redirects=False, stream=True) as answer:
                status = answer.status_code
    except requests.RequestException as exc:
        yield warning(
            "openai", f"it does not answer ({type(exc).__name__}); the backup does all by itself",
            "see VOCERO_OPENAI_BASE_URL",
        )  # fmt: skip
        return
    if status in _REFUSED:
        yield warning("openai", f"it does not take our key ({status})", "see VOCERO_OPENAI_API_KEY")
    elif status >= 500:
        yield warning("openai", f"it fails ({status}); the backup does all by itself")
    else:  # some have no such list, and are there all the same
        yield ok("openai", f"it answers ({status})")
