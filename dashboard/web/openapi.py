"""The description of the API (OpenAPI 3.1) at /api/openapi.json, for whoever writes programs against it.

The key decision: what only people know (summaries, schemas) stands as data in `description/`; methods, permissions,
places in the path and what every route answers alike come from the table of routes and from here, so they cannot say
something else. A test holds the two sides equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from flask import Blueprint
from flask.typing import ResponseReturnValue

from dashboard.access.guard import CSRF_HEADER
from dashboard.access.permissions import GRANTED, ROUTES, Permission
from dashboard.web.answers import json_answer
from dashboard.web.context import parts
from service import __version__

Json = dict[str, Any]

_FOLDER = Path(__file__).parent / "description"
_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")

_INFO = """\
Everything that the dashboard's pages do. Sign in with POST /login as JSON (`name`, `password`) and the header
`X-Requested-By: dashboard`: the answer has a cookie and `csrf_token`, which every POST sends back in the header
`X-CSRF-Token`. Where `x-confirmation` says so, the password has to be shown again within the last five minutes
(POST /api/account/confirm), else the answer is 403 with the code `confirmation_needed`. `x-permission` is what a route
needs, `x-roles` are those who have it. Every change is written into the audit.
"""

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "param"],
            "properties": {
                "code": {"type": "string", "description": "For programs"},
                "message": {"type": "string", "description": "For people"},
                "param": {"type": ["string", "null"], "description": "The field that it is about"},
            },
        }
    },
}
_SHARED_ERRORS = {
    "401": "Nobody is signed in, or the session has ended",
    "403": "The role does not allow it, the token or the origin is wrong, or the password has to be shown again",
    "503": "Redis or the database does not answer; Retry-After says when to try again",
    "default": "What else went wrong, in the same shape",
}


def blueprint() -> Blueprint:
    routes = Blueprint("openapi", __name__)
    routes.get("/api/openapi.json")(show)
    return routes


def show() -> ResponseReturnValue:
    """The document."""
    return json_answer(document(parts().cookies.session_name))


@cache
def document(session_cookie: str) -> Json:
    """All routes below /api/, described; `session_cookie` is the name of the cookie that opens them."""
    described = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(_FOLDER.glob("*.yaml"))]
    paths: Json = {}
    schemas: Json = {"Error": _ERROR}
    for section in described:
        schemas |= section.get("schemas", {})
        for path, operations in section["paths"].items():
            paths[path] = {
                method: _operation(method, path, said, section["tag"]) for method, said in operations.items()
            }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vocero dashboard", "version": __version__, "description": _INFO},
        "servers": [{"url": "/"}],
        "security": [{"session": []}],
        "tags": [{"name": section["tag"]} for section in described],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {name: _failure(text) for name, text in _SHARED_ERRORS.items()},
            "securitySchemes": {"session": {"type": "apiKey", "in": "cookie", "name": session_cookie}},
        },
    }


def api_routes() -> dict[tuple[str, str], Permission]:
    """The routes below /api/ with their paths as OpenAPI writes them."""
    return {
        (method.lower(), _PLACE.sub(r"{\1}", rule)): permission
        for (method, rule), permission in ROUTES.items()
        if rule.startswith("/api/")
    }


def _operation(method: str, path: str, said: Mapping[str, Any], tag: str) -> Json:
    permission = api_routes()[method, path]
    made: Json = {
        "operationId": "_".join([method, *re.findall(r"\w+", path.removeprefix("/api/"))]),
        "tags": [tag],
        "summary": said["summary"],
        "x-permission": permission.value,
        "x-roles": [role.value for role, granted in GRANTED.items() if permission in granted],
        "parameters": list(_parameters(method, path, said.get("query", {}))),
        "responses": {
            str(said.get("status", 200)): _success(said),
            **{name: {"$ref": f"#/components/responses/{name}"} for name in _SHARED_ERRORS},
        },
    }
    if "description" in said:
        made["description"] = said["description"]
    if "confirmation" in said:
        made["x-confirmation"] = said["confirmation"]
    if "body" in said:
        schema = {"type": "object", **said["body"]}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _parameters(method: str, path: str, query: Mapping[str, Any]) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, said in query.items():
        yield {"name": name, "in": "query", **said}
    if method == "post":
        yield {"name": CSRF_HEADER, "in": "header", "required": True, "schema": {"type": "string"}}


def _success(said: Mapping[str, Any]) -> Json:
    if "media" in said:
        return {"description": said["summary"], "content": {said["media"]: {}}}
    answer = said["answer"]
    schema = answer if "$ref" in answer or "allOf" in answer else {"type": "object", **answer}
    return {"description": said["summary"], "content": {"application/json": {"schema": schema}}}


def _failure(text: str) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
