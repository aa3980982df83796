"""Errors in ElevenLabs' shape: one exception, one table of codes, and the two body shapes seen on the wire.

The key decision: a code decides its type, its HTTP status and its older name here, so that a fault rule and a real
refusal of the same code cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.elevenlabs.vocabulary import ERROR_STATUSES

_STATUS_OF_TYPE = {**ERROR_STATUSES, "not_implemented": 501}  # the last is ours: a part that is not installed


@dataclass(frozen=True)
class Code:
    """What one error code means; `legacy` is the word in the `status` field, which older clients look at."""

    type: str
    message: str
    legacy: str | None = None
    http_status: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status that this code is answered with."""
        return self.http_status or _STATUS_OF_TYPE[self.type]


CODES: Mapping[str, Code] = {
    "bad_request": Code("invalid_request", "Bad request."),
    "malformed_json": Code("invalid_request", "The request body is not valid JSON."),
    "empty_text": Code("validation_error", "The text must not be empty."),
    "text_too_long": Code("validation_error", "The text is too long.", legacy="max_character_limit_exceeded"),
    "invalid_parameters": Code("validation_error", "A parameter is not valid."),
    "invalid_voice_settings": Code("validation_error", "The voice settings are not valid."),
    "invalid_audio": Code("validation_error", "The file holds no audio that can be read."),
    "audio_too_short": Code("validation_error", "The audio is too short."),
    "unsupported_model": Code("validation_error", "The model does not support this request."),
    "missing_api_key": Code(
        "authentication_error",
        "Neither authorization header nor xi-api-key received, please provide one.",
        legacy="needs_authorization",
    ),
    "invalid_api_key": Code("authentication_error", "Invalid API key"),
    "unauthorized": Code("authentication_error", "Could not authorize the request."),
    "quota_exceeded": Code("authentication_error", "This request exceeds your quota."),
    "insufficient_credits": Code("payment_required", "You have no credits left.", legacy="quota_exceeded"),
    "forbidden": Code("authorization_error", "This is not allowed."),
    "feature_not_available": Code("authorization_error", "This feature is not available on your plan."),
    "subscription_required": Code("authorization_error", "This needs a higher plan."),
    "model_access_denied": Code("authorization_error", "The model cannot be used here."),
    "voice_not_found": Code("not_found", "The voice was not found."),
    "model_not_found": Code("not_found", "The model was not found."),
    "agent_not_found": Code("not_found", "The agent was not found."),
    "conversation_not_found": Code("not_found", "The conversation was not found."),
    "not_found": Code("not_found", "Not found."),
    "conflict": Code("conflict", "The resource is in another state."),
    "rate_limit_exceeded": Code("rate_limit_error", "Too many requests. Please slow down."),
    "concurrent_limit_exceeded": Code(
        "rate_limit_error", "Too many concurrent requests.", legacy="too_many_concurrent_requests"
    ),
    "system_busy": Code(
        "rate_limit_error", "The system is currently experiencing heavy traffic, please try again later."
    ),
    "internal_error": Code("internal_error", "An internal error occurred."),
    "not_implemented": Code("not_implemented", "The sandbox cannot do this."),
    "service_unavailable": Code("service_unavailable", "The service is temporarily unavailable."),
    "maintenance": Code("service_unavailable", "The service is under maintenance."),
}


class ApiError(Exception):
    """A request is refused as ElevenLabs refuses it; `code` is a key of `CODES`.

    `legacy` overrides the word of the `status` field; `status` overrides the HTTP status.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        param: str | None = None,
        status: int | None = None,
        legacy: str | None = None,
    ) -> None:
        meaning = CODES.get(code) or Code("invalid_request", "The request failed.")
        self.code = code
        self.type = meaning.type
        self.message = message or meaning.message
        self.status = status or meaning.status
        self.legacy = legacy or meaning.legacy or code
        self.param = param
        super().__init__(f"{self.status} {code}")

    def body(self, request_id: str, *, old_shape: bool = False) -> dict[str, Any]:
        """Give the JSON body; `old_shape` is the one of before 2026, without type, code and request id."""
        if old_shape:
            return {"detail": {"status": self.legacy, "message": self.message}}
        detail = {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "status": self.legacy,
            "request_id": request_id,
        }
        if self.param is not None:
            detail["param"] = self.param
        return {"detail": detail}


class SchemaError(Exception):
    """A request does not fit the schema: 422 with the list that FastAPI answers (`loc`, `msg`, `type`)."""

    def __init__(self, *problems: Mapping[str, Any]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems

    def body(self) -> dict[str, Any]:
        """Give the JSON body."""
        return {"detail": [dict(problem) for problem in self.problems]}
