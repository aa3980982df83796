"""The API's description: it has every route and no other, it is OpenAPI, and what is answered is what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from dashboard.access.permissions import ROUTES
from dashboard.web.openapi import api_routes, document
from service.storage import AdminRole, JudgedAnswer, JudgedAnswers
from tests.dashboard.conversations.talks import NOON, keep

OPENAPI = json.loads((Path(__file__).parents[2] / "data" / "openapi-3.1.schema.json").read_text())
DESCRIBED = document("vocero_session")
OPERATIONS = {
    (method, path): operation for path, methods in DESCRIBED["paths"].items() for method, operation in methods.items()
}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Checks against `schema`, whose references are those of the document."""
    return Draft202012Validator({**schema, "components": DESCRIBED["components"]})


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "schema":
                yield inner
            yield from schemas_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas_in(inner)


def test_it_has_every_route_of_the_api_and_no_other():
    assert set(OPERATIONS) == set(api_routes())
    for route, permission in api_routes().items():
        assert OPERATIONS[route]["x-permission"] == permission.value
    assert len(api_routes()) == sum(rule.startswith("/api/") for _, rule in ROUTES)


def test_it_is_openapi_with_schemas_that_are_json_schema():
    Draft202012Validator(OPENAPI).validate(DESCRIBED)
    for schema in [*schemas_in(DESCRIBED["paths"]), *DESCRIBED["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere():
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DESCRIBED)):
        found: Any = DESCRIBED
        for step in reference.split("/"):
            found = found[step]
        assert found


def test_whoever_changes_something_is_told_of_the_token_and_of_the_body():
    for (method, path), operation in OPERATIONS.items():
        assert ("requestBody" in operation) == (method == "post"), path
        named = {parameter["name"] for parameter in operation["parameters"]}
        assert ("X-CSRF-Token" in named) == (method == "post")
        assert set(re.findall(r"{(\w+)}", path)) <= named


def test_what_is_answered_is_what_the_description_says(dashboard):
    secrets = {"source": "environment", "state": "fresh", "version": 0, "names": ["elevenlabs_api_key"], "read_at": 1.0}
    dashboard.report(secrets=secrets)
    dashboard.user(AdminRole.VIEWER)
    admin = dashboard.client()
    kept, revoked = (admin.post("/api/keys", {"name": name}).json["key"]["id"] for name in ("kept", "revoked"))
    dashboard.parts.api_keys.revoke(revoked)
    assert kept in admin.get("/api/keys").text
    keep(dashboard.parts.database, "talk_1")
    JudgedAnswers(dashboard.parts.database).put(JudgedAnswer("talk_1", 1, 1, NOON, "local", ("gaps",), 3.5))
    read = [path for method, path in api_routes() if method == "get" and "{" not in path and path != "/api/live"]
    assert len(read) > 10
    for path in [*read, "/api/conversations/{conversation_id}"]:
        answer = admin.get(path.format(conversation_id="talk_1"))
        content = OPERATIONS["get", path]["responses"]["200"]["content"]
        assert (path, answer.status_code, {answer.mimetype}) == (path, 200, set(content))
        if answer.mimetype == "application/json":
            validator(content["application/json"]["schema"]).validate(answer.json)


def test_what_goes_wrong_has_the_shape_that_is_said(dashboard):
    admin, viewer = dashboard.client(), dashboard.client(AdminRole.VIEWER)
    failures = [
        dashboard.client(None).get("/api/users"),
        viewer.get("/api/users"),
        admin.get("/api/orders/none"),
        admin.post("/api/keys", {"name": 7}),
        admin.get("/api/audit?limit=x"),
    ]
    assert [failure.status_code for failure in failures] == [401, 403, 404, 422, 400]
    for failure in failures:
        validator({"$ref": "#/components/schemas/Error"}).validate(failure.json)


def test_it_is_shown_to_whoever_is_signed_in_only(dashboard):
    assert dashboard.client(None).get("/api/openapi.json").status_code == 401
    shown = dashboard.client(AdminRole.VIEWER).get("/api/openapi.json").json
    assert shown["components"]["securitySchemes"]["session"]["name"] == dashboard.parts.cookies.session_name
