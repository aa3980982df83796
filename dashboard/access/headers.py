"""What every answer tells the browser: what a page may load, who may show it, and that nothing is kept.

The key decision: the policy begins at nothing, and a script runs only with the request's own nonce; what a module
imports inherits that. There are no exceptions for inline styles or handlers, so a word that somebody got into a page
unescaped would still do nothing.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, g, request

NONCE_BYTES = 16
HSTS = "max-age=31536000"

_FIXED = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with that, browsers name no origin when our own forms are sent.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "accelerometer=(), camera=(), display-capture=(), geolocation=(), microphone=(), payment=(),"
    " usb=()",
    "X-Frame-Options": "DENY",
}


def register(app: Flask, *, is_https: bool) -> None:
    """Give every answer of `app` its headers, and every request its nonce (`g.csp_nonce`)."""

    @app.before_request
    def make_nonce() -> None:
        g.csp_nonce = secrets.token_urlsafe(NONCE_BYTES)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_FIXED)
        response.headers["Content-Security-Policy"] = policy(g.get("csp_nonce", ""))
        if request.endpoint != "static" or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
            response.headers.add("Vary", "Cookie")
        if is_https:
            response.headers["Strict-Transport-Security"] = HSTS
        return response


def policy(nonce: str) -> str:
    """The Content-Security-Policy of one answer."""
    scripts = f"'nonce-{nonce}'" if nonce else "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; font-src 'self';"
        " connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; object-src 'none'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    )
