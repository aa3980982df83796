"""The settings of what the service tells about itself: metrics, traces, the quality of what is heard.

The key decision: a part of `Settings` (`config.py`), which alone is loaded and handed on. Nothing here changes what a
conversation does.
"""

from __future__ import annotations

from pydantic import Field

from service.allowed_values import allow
from service.fallback_settings import FallbackSettings

_COLLECTOR = "http:// or https:// with a host, and no query"


class ObservabilitySettings(FallbackSettings):
    """The part that concerns what is told; it is built on that which concerns failures."""

    # --- What the service tells about itself
    strict_labels: bool = Field(
        False,
        alias="VOCERO_STRICT_LABELS",
        description="For tests: a metric's label outside its closed set is an error. Else it is told as other, and"
        " counted (vocero_label_values_rejected_total).",
    )

    # --- Traces (OpenTelemetry's own names; its packages read the others of them, see docs/observability.md)
    otlp_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        json_schema_extra=allow(_COLLECTOR),
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="Address of an OpenTelemetry collector that takes OTLP over HTTP; /v1/traces is added. A span for"
        " each conversation, leg and turn goes there, without words. Needs vocero[traces]. Unset: no traces.",
        examples=["http://collector:4318"],
    )
    otlp_traces_endpoint: str | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        json_schema_extra=allow(_COLLECTOR),
        pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$",
        description="The same with its path, for traces alone; it counts if both are set.",
        examples=["http://collector:4318/v1/traces"],
    )

    # --- What is heard
    quality_sample_share: float = Field(
        0.05,
        alias="VOCERO_QUALITY_SAMPLE_SHARE",
        ge=0,
        le=1,
        description="Share (0 to 1) of the agents' answers whose sound is judged by a process of its own: for defects,"
        " and, with vocero[quality], from 1 to 5. A second of sound costs it up to 0.04 s of one core, at low priority."
        " No sound is kept. 0: none, and no process.",
    )

    @property
    def traces_endpoint(self) -> str | None:
        """Where traces are sent, with the path; None: nowhere."""
        if self.otlp_traces_endpoint is not None or self.otlp_endpoint is None:
            return self.otlp_traces_endpoint
        return f"{self.otlp_endpoint.rstrip('/')}/v1/traces"
