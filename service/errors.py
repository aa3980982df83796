"""Every error of ours, grouped by what the caller does about it.

The key decision: a class is an *instruction*. Code that catches one of these never looks at a status, a close code
or a message again; that reading happens once, at the border (`service.elevenlabs.faults` for ElevenLabs,
`service.websocket` for the wire).
"""

from __future__ import annotations


class VoceroError(Exception):
    """The root of all errors of ours."""


class ConfigurationError(VoceroError):
    """A setting is missing or wrong: nothing was started; the operator must change the named variable."""

    exit_code = 1
    """What a program ends with that cannot go on."""


class SettingsError(ConfigurationError):
    """A variable's value is wrong, or two contradict each other: only who set them can help, so the exit code says so.

    So is what a variable names and only people can mend: a URL, a file of certificates, the FAQ. A port that is taken
    or a database that is away is no such error: trying it again may help.
    """

    exit_code = 78  # EX_CONFIG of sysexits.h; supervisors can be told not to start such a program again


class SchemaError(ConfigurationError):
    """The database has another schema than this code knows, or none: run the command that the message names."""


# --- What a client of ours did -------------------------------------------------------------------------------------


class RequestError(VoceroError):
    """A client's request cannot be served as it stands: answer it; trying it again unchanged gives the same.

    `type`, `code` and `param` are ElevenLabs' vocabulary, so that the official SDKs understand our answers.
    `http_status` is what an HTTP route answers; `close_code` what a socket closes with.
    """

    http_status = 400
    close_code = 1008

    def __init__(
        self,
        message: str,
        *,
        code: str = "bad_request",
        type: str = "invalid_request",
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.type = type
        self.param = param


class UnprocessableError(RequestError):
    """The request is JSON but does not fit its schema: the message says what, `param` where."""

    http_status = 422

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message, code="invalid_parameters", type="validation_error", param=param)


class NotAuthenticatedError(RequestError):
    """No credential, or one that we do not know, that is used up, or that has expired: get a new one."""

    http_status = 401

    def __init__(self, message: str, *, code: str = "unauthorized") -> None:
        super().__init__(message, code=code, type="authentication_error")


class NotAllowedError(RequestError):
    """The credential is known, the thing asked for is not allowed to it (a foreign Origin, another agent)."""

    http_status = 403

    def __init__(self, message: str, *, code: str = "forbidden") -> None:
        super().__init__(message, code=code, type="authorization_error")


class NotFoundError(RequestError):
    """The thing named in the request does not exist."""

    http_status = 404

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, type="not_found")


class ConflictError(RequestError):
    """The thing is not what the request takes it for (changed since it was read, there already): read it again."""

    http_status = 409

    def __init__(self, message: str, *, code: str = "conflict") -> None:
        super().__init__(message, code=code, type="conflict")


class TooManyRequestsError(RequestError):
    """The client asks too often: come back after `retry_after` seconds."""

    http_status = 429

    def __init__(self, message: str, *, retry_after: float, code: str = "rate_limit_exceeded") -> None:
        super().__init__(message, code=code, type="rate_limit_error")
        self.retry_after = retry_after


class KeyBusyError(TooManyRequestsError):
    """All places of the client's API key are taken: wait until one of its conversations or requests is over."""

    close_code = 3008  # what ElevenLabs closes with when all slots of an account are taken

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The API key may have {most} conversations and requests at the same time, and has; try again.",
            code="too_many_concurrent_requests",
            retry_after=1.0,
        )


class KeyQuotaError(RequestError):
    """The characters of the client's API key for this day are used up, or fewer are left than the text has."""

    http_status = 401  # as ElevenLabs answers

    def __init__(self, *, used: int, limit: int, asked: int) -> None:
        super().__init__(
            f"The API key's limit is {limit} characters a day (UTC): {used} are used, and the text has {asked}.",
            code="quota_exceeded",
            type="authentication_error",
        )


class ServiceUnavailableError(RequestError):
    """We cannot serve it now (all places taken, Redis away): the same request may succeed after `retry_after` s."""

    http_status = 503
    close_code = 1013

    def __init__(self, message: str, *, retry_after: float, code: str = "service_unavailable") -> None:
        super().__init__(message, code=code, type="service_unavailable")
        self.retry_after = retry_after


class SecretsUnavailableError(ServiceUnavailableError):
    """We have no key to do it with: not read from Vault yet, or not for too long. It comes back by itself."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message, code="secrets_unavailable", retry_after=retry_after)


class MaintenanceError(ServiceUnavailableError):
    """Operators have closed the service for a while: come back in some minutes, trying at once does not help."""

    def __init__(self) -> None:
        super().__init__(
            "The service is in maintenance; try again in a few minutes.", code="maintenance", retry_after=30.0
        )


class InvalidResumeTokenError(RequestError):
    """The resume token is none of ours, or of another conversation: begin a new conversation."""

    def __init__(self) -> None:
        super().__init__("invalid_resume_token", code="invalid_resume_token")


class ResumeTokenUsedError(RequestError):
    """The resume token has been used: whoever used it has the conversation. Begin a new one."""

    def __init__(self) -> None:
        super().__init__("resume_token_used", code="resume_token_used")


class ResumeTokenExpiredError(RequestError):
    """The conversation of the resume token has ended, or was left alone for too long: begin a new one."""

    def __init__(self) -> None:
        super().__init__("resume_token_expired", code="resume_token_expired")


# --- What keeps our secrets ------------------------------------------------------------------------------------------


class SecretsSourceError(VoceroError):
    """Secrets could not be read from where they are kept: what was read before stays in use, and it is tried again.

    `cause` is one of `service.metrics.FailureCause`. The message is one line for an operator, without any value.
    """

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


# --- What the wire did ---------------------------------------------------------------------------------------------


class SocketError(VoceroError):
    """A WebSocket can no longer be used; `code` and `reason` are those of RFC 6455 section 7.4."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class ConnectionClosedError(SocketError):
    """The peer is gone: with its close frame's code, or 1005 (frame without code), or 1006 (no close frame)."""


class FrameError(SocketError):
    """The peer broke the protocol or a bound; we close with `code` (1002, 1007, 1009) and it must mend its client."""


class WriteDeadlineError(SocketError):
    """The peer did not take our bytes in time (it stalls or its network does): the socket is of no more use."""


class HandshakeError(VoceroError):
    """A socket could not be opened: the peer answered the upgrade with `status` and `body` (at most 64 kB)."""

    def __init__(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        super().__init__(f"the upgrade was answered with HTTP {status}")
        self.status = status
        self.body = body
        self.headers = headers or {}


class UnansweredError(VoceroError, ConnectionResetError):
    """The connection had ended before a byte of the upgrade's answer came: nothing was opened, so another may be."""


# --- What we have no room for ---------------------------------------------------------------------------------------


class CapacityError(VoceroError):
    """There is no room for it within bounds of our own: nothing left us, so trying again repeats nothing.

    Go elsewhere (another provider, the fallback), or answer 503: the same may succeed after `retry_after` seconds.
    The message names the part and its numbers: it is for our log, not for a client.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PoolTimeoutError(CapacityError):
    """No connection came in the time that the caller had: all were lent, or opening took too long."""


class PoolExhaustedError(CapacityError):
    """As many callers wait for a connection as may: refused at once, so that nobody waits for nothing."""


class PoolClosedError(CapacityError):
    """The pool is not open: not started yet, or closed because this process is leaving. Waiting does not help."""


class LimiterTimeoutError(CapacityError):
    """No slot of the account came free in the time that the caller had; it has left the queue."""


class LimiterFullError(CapacityError):
    """As many wait for a slot of the account as may: refused at once, so that nobody waits for nothing."""


class LimiterClosedError(CapacityError):
    """The limiter is not running: not started yet, or closed because this process is leaving. Waiting does not help."""


# --- What ElevenLabs did -------------------------------------------------------------------------------------------


class UpstreamError(VoceroError):
    """ElevenLabs did not do what was asked. Catch a subclass; this root is for "whatever it was".

    `code` is ElevenLabs' word (`voice_not_found`), or ours where it gives none (`connect_failed`). `status` is the
    HTTP status, `close_code` the socket's; at most one is set. `retry_after` is in seconds. `message` is
    ElevenLabs' own sentence: fit to be shown to an integrator, never logged with a request's text.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        type: str | None = None,
        status: int | None = None,
        close_code: int | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.type = type
        self.status = status
        self.close_code = close_code
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def public_message(self) -> str:
        """The sentence that a client of ours is told."""
        return self.message


class UpstreamRequestError(UpstreamError):
    """The request itself is wrong (400, 404, 409, 422, close 1008 or 3000): report it, never repeat it."""


class UpstreamPolicyError(UpstreamError):
    """The plan or a safety rule forbids it (403, `safety_violation`): report it; an operator may change the plan."""


class UpstreamKeyError(UpstreamError):
    """ElevenLabs refuses our key (401): re-read the secret, try another key; it is not the user's fault."""

    @property
    def public_message(self) -> str:
        """Ours: "invalid API key" would send an integrator looking at a key that is not the one meant."""
        return "ElevenLabs cannot be used now."


class UpstreamQuotaError(UpstreamError):
    """The account's credits are used up (402, 401 `quota_exceeded`, close 1002): another account or provider."""


class UpstreamConcurrencyError(UpstreamError):
    """The account's slots are all taken (429 `concurrent_limit_exceeded`, close 3008): wait for a slot."""


class UpstreamBusyError(UpstreamError):
    """ElevenLabs is overloaded or limits the rate (429 `system_busy`, 503): back off, or go elsewhere."""


class UpstreamUnavailableError(UpstreamError):
    """ElevenLabs failed (5xx, close 1001, 1002, 1006, 1011): it may have acted; try again or go elsewhere."""


class UpstreamConnectError(UpstreamUnavailableError):
    """No connection came about: the request never left us, so trying again repeats nothing."""


class UpstreamTimeoutError(UpstreamUnavailableError):
    """No answer in time: the request may have been acted on."""


class UpstreamProtocolError(UpstreamUnavailableError):
    """The answer broke off or made no sense (truncated, garbage, wrong type)."""
