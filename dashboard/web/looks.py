"""What every template has at hand: words, the theme, scripts with their nonce, and who is asking.

The key decision: the language and the theme are cookies that the server reads, so the first byte of a page already has
both. A script that sets a theme comes after the first paint, or needs an exception in the policy.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Flask, g, redirect, request, url_for
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from werkzeug.wrappers import Response

from dashboard.access.next_page import next_page
from dashboard.access.permissions import Permission
from dashboard.web.figures import as_duration, as_instant, as_number
from dashboard.words import DEFAULT_LANGUAGE, LANGUAGES, translate, words_of
from dashboard.words.said import Said
from service import __version__
from service.storage.schema import SCHEMA_REVISION

THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE = "vocero_language"
THEME_COOKIE = "vocero_theme"
A_YEAR = 365 * 24 * 3600

PAGES: tuple[tuple[str, str, str, Permission], ...] = (
    ("overview", "/", "o", Permission.LOOK),
    ("pool", "/pool", "p", Permission.LOOK),
    ("fallback", "/fallback", "f", Permission.LOOK),
    ("conversations", "/conversations", "c", Permission.LOOK),
    ("secrets", "/secrets", "s", Permission.LOOK),
    ("keys", "/keys", "k", Permission.ADMINISTER),
    ("users", "/users", "u", Permission.ADMINISTER),
    ("audit", "/audit", "a", Permission.OPERATE),
)
"""Name, address, the key behind `g` that leads there, and who has it: the rail, in its order."""


def install_looks(app: Flask) -> None:
    """Give every template its words and its frame."""
    app.context_processor(_for_templates)


def blueprint() -> Blueprint:
    """Make the one endpoint: which language from now on."""
    looks = Blueprint("looks", __name__)
    looks.add_url_rule("/language", view_func=_choose_language, methods=["POST"])
    return looks


def language() -> str:
    """Which language this request is answered in: as chosen, else as the browser prefers."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    # Not `best_match`: to it "en-US" is no English as long as another language of the list is one of ours exactly.
    preferred = (tag.partition("-")[0].lower() for tag in request.accept_languages.values())
    return next((tag for tag in preferred if tag in LANGUAGES), DEFAULT_LANGUAGE)


def worded(said: Said) -> str:
    """The sentence in the language that this request is answered in."""
    spoken = language()
    values = {name: worded(value) if isinstance(value, Said) else value for name, value in said.values.items()}
    return translate(said.key, spoken, **_written(values, spoken))


def theme() -> str:
    """Which theme: as chosen, else as the system has it."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def _for_templates() -> dict[str, Any]:
    spoken, signed_in = language(), g.get("signed_in")

    def may(permission: str) -> bool:
        return signed_in is not None and signed_in.may(Permission(permission))

    return {
        "t": lambda key, **values: translate(key, spoken, **_written(values, spoken)),
        "language": spoken,
        "languages": LANGUAGES,
        "theme": theme(),
        "themes": THEMES,
        "who": signed_in,
        "version": f"{__version__}, schema {SCHEMA_REVISION}",
        "may": may,
        "csrf_token": signed_in.csrf_token if signed_in is not None else g.get("csrf_token", ""),
        "nonce": g.get("csp_nonce", ""),
        "pages": [
            {"name": name, "path": path, "key": key, "here": _is_here(path)}
            for name, path, key, permission in PAGES
            if may(permission)
        ],
        "module": _module,
        "js_words": lambda *names: _js_words(names, spoken),
        "now": time.time(),
        "as_number": lambda value, digits=0: as_number(value, digits, spoken),
        "as_duration": lambda seconds: as_duration(seconds, spoken),
        "as_instant": as_instant,
    }


def _written(values: dict[str, Any], spoken: str) -> dict[str, Any]:
    """What stands in a sentence: large numbers with their separators, small ones as they are, for the singular."""
    return {
        name: as_number(value, 0, spoken) if type(value) is int and value >= 1000 else value
        for name, value in values.items()
    }


def _is_here(path: str) -> bool:
    return request.path == path or (path != "/" and request.path.startswith(f"{path}/"))


def _module(name: str) -> Markup:
    source = url_for("static", filename=f"js/{name}.js")
    return Markup('<script type="module" nonce="{}" src="{}"></script>').format(g.get("csp_nonce", ""), source)


def _js_words(names: tuple[str, ...], spoken: str) -> Markup:
    # Data and no script: nothing runs it, so it needs no nonce. The dump escapes what could end the element.
    text = htmlsafe_json_dumps(words_of(names, spoken))
    return Markup('<script type="application/json" data-words>{}</script>').format(text)


def _choose_language() -> Response:
    chosen = request.form.get("language", "")
    answer = redirect(next_page(request.form.get("next")), code=303)
    if chosen in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, chosen, max_age=A_YEAR, path="/", samesite="Lax", secure=request.is_secure, httponly=True
        )
    return answer
