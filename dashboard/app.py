"""The Flask application of the dashboard: its pages, with the guard before each of them."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from dashboard.access import headers
from dashboard.access.guard import Guard
from dashboard.access.origins import trusted_hosts
from dashboard.parts import Parts, is_https
from dashboard.web import (
    account,
    api_keys,
    audit,
    conversations,
    errors,
    fallback,
    health,
    live,
    login,
    looks,
    oidc,
    openapi,
    overview,
    pool,
    request_log,
    secrets_page,
    users,
)
from dashboard.web.answers import LONGEST_BODY
from dashboard.web.context import EXTENSION

PAGES = (
    health, login, oidc, looks, overview, live, pool, fallback, conversations, secrets_page, api_keys, users, account,
    audit, openapi,
)  # fmt: skip


def create_app(parts: Parts) -> Flask:
    """The application over `parts`, which the caller starts and closes."""
    settings = parts.settings
    app = Flask("dashboard", static_folder="static", template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = LONGEST_BODY
    app.config["TRUSTED_HOSTS"] = trusted_hosts(settings.dashboard_url)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.extensions[EXTENSION] = parts
    request_log.register(app, believes_given_ids=settings.dashboard_trusted_proxies > 0)
    headers.register(app, is_https=is_https(settings))
    errors.register(app)
    guard = Guard(parts.sessions, users=parts.known_users, cookies=parts.cookies, url=settings.dashboard_url)
    guard.register(app)
    for module in PAGES:
        app.register_blueprint(module.blueprint())
    looks.install_looks(app)
    if settings.dashboard_trusted_proxies:
        hops = settings.dashboard_trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app
