"""The sandbox's own routes: fault rules, statistics, a clean sheet. They need no key and cannot be broken by a rule."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, request

from sandbox.errors import SchemaError
from sandbox.fault_rules import read_rules, show_rule
from sandbox.state import SandboxState


def register(app: Flask, state: SandboxState) -> None:
    """Add `/sandbox/faults`, `/sandbox/stats`, `/sandbox/conversations`, `/sandbox/reset` and `/sandbox/health`."""
    routes = Blueprint("sandbox", __name__, url_prefix="/sandbox")

    @routes.get("/faults")
    def list_faults() -> list[dict[str, Any]]:
        return [show_rule(fired) for fired in state.faults.rules()]

    @routes.post("/faults")
    def add_faults() -> tuple[list[dict[str, Any]], int]:
        document = request.get_json(silent=True, force=True)
        if document is None:
            raise SchemaError({"loc": ["body"], "msg": "a JSON list of rules is wanted", "type": "json_invalid"})
        state.faults.add(read_rules(document))
        return list_faults(), 201

    @routes.delete("/faults")
    def clear_faults() -> tuple[str, int]:
        state.faults.clear()
        return "", 204

    @routes.get("/stats")
    def show_stats() -> dict[str, Any]:
        slots = state.limits.by_name().items()
        concurrency = {name: {"now": each.taken, "peak": each.peak, "maximum": each.maximum} for name, each in slots}
        return {**state.stats.snapshot(), "concurrency": concurrency}

    @routes.get("/conversations")
    def show_conversations() -> list[dict[str, Any]]:
        return [record.account() for record in state.conversations.of_user(request.args.get("user"))]

    @routes.post("/reset")
    def reset() -> tuple[str, int]:
        state.reset()
        return "", 204

    @routes.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "plan": state.plan.name, "real": state.real()}

    app.register_blueprint(routes)
