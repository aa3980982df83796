"""Who may call: web origins, API keys, and the headers that tell browsers so."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from service.config import Settings
from service.errors import NotAllowedError, NotAuthenticatedError
from service.key_limits import require_scope
from service.services import Services
from service.storage import ApiKey, ApiScope

API_PREFIX = "/v1/"
EXPOSED_HEADERS = (
    "request-id, history-item-id, character-cost, current-concurrent-requests, maximum-concurrent-requests,"
    " Retry-After, X-Request-ID"
)

FOR_ALL = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
FOR_THE_API = {
    **FOR_ALL,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # Any origin, as ElevenLabs does: the API is guarded by keys, never by cookies.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "content-type, xi-api-key",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    "Access-Control-Max-Age": "600",
}


def register(app: Flask, services: Services) -> None:
    """Give every answer its security headers, and the API's answers ElevenLabs' CORS headers."""
    page_policy = _page_policy(services.settings)

    for_pages = {
        **FOR_ALL,
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Content-Security-Policy": page_policy,
    }

    @app.after_request
    def add_headers(response: Response) -> Response:
        # None of these is set elsewhere; `extend` does not look for them.
        response.headers.extend(FOR_THE_API if request.path.startswith(API_PREFIX) else for_pages)
        return response


def _page_policy(settings: Settings) -> str:
    sockets = ""
    if settings.public_url:
        # The page may be open under another of our names than the one that signed URLs carry.
        sockets = " " + base_of(settings.public_url.replace("http", "ws", 1))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        f"media-src 'self' blob:; connect-src 'self'{sockets}; worker-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'"
    )


def base_of(url: str) -> str:
    """Scheme and host of `url`: a web origin."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def require_api_key(services: Services, scope: ApiScope) -> ApiKey:
    """The API key that the request shows; raises as `check_api_key`."""
    return check_api_key(services, request.headers.get("xi-api-key", ""), scope)


def check_api_key(services: Services, shown: str, scope: ApiScope) -> ApiKey:
    """The API key of ours that `shown` is.

    Raises:
        NotAuthenticatedError: it is none, or not valid any more.
        NotAllowedError: it is not for what `scope` says.
    """
    if not shown:
        raise NotAuthenticatedError("xi-api-key is missing: send an API key of this Vocero.", code="missing_api_key")
    key = services.api_keys.verify(shown)
    if key is None:
        raise NotAuthenticatedError("The API key is not valid.", code="invalid_api_key")
    require_scope(key, scope)
    return key


def is_same_origin(origin: str, settings: Settings) -> bool:
    """Whether a web page of `origin` is our own."""
    if settings.public_url is not None and origin == base_of(settings.public_url):
        return True
    return origin == f"{request.scheme}://{request.host}"


def check_socket_origin(settings: Settings) -> str | None:
    """The upgrade's Origin; None for clients that are no browser.

    Raises:
        NotAllowedError: a web page of an origin that is neither ours nor listed. A browser lets every page open a
            socket to us, so this is asked before the upgrade.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in settings.allowed_origins or is_same_origin(origin, settings):
        return origin
    raise NotAllowedError("This web origin may not open conversations; it can be listed in VOCERO_ALLOWED_ORIGINS.")


def require_same_origin(settings: Settings) -> str:
    """The request's Origin, which must be our own: the endpoint is for our page alone.

    Raises:
        NotAllowedError: another origin, or none.
    """
    origin = request.headers.get("Origin", "")
    if not is_same_origin(origin, settings):
        raise NotAllowedError("Only the page of this service may call this.")
    return origin


def socket_address(settings: Settings, path: str) -> str:
    """Our own `ws:` or `wss:` address of `path`."""
    base = settings.public_url or f"{request.scheme}://{request.host}"
    return base.replace("http", "ws", 1) + path
