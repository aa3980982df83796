"""ElevenLabs' own contract of the Agents protocol, as a check for single events.

The contract is not ours to copy: it lies beside the project where there is one, and tests that need it skip elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.servers import ROOT

CONTRACT = ROOT.parent / "shared" / "reference" / "specs" / "agents.asyncapi.yaml"
# Newer than the contract: ElevenLabs' wait queue (reference, 1.5).
NOT_IN_CONTRACT = frozenset({"queue_status"})


class Contract:
    """The server's and the client's events by type."""

    def __init__(self, path: Path = CONTRACT) -> None:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._components = document["components"]
        channel = document["channels"]["AgentMessages"]
        self._server = self._by_type(channel["publish"])
        self._client = self._by_type(channel["subscribe"])

    def check_server_event(self, event: Mapping[str, Any]) -> None:
        """Fail when the event is not one that ElevenLabs could have sent."""
        if event["type"] not in NOT_IN_CONTRACT:
            self._server[event["type"]].validate(event)

    def check_client_event(self, event: Mapping[str, Any]) -> None:
        """Fail when the event is not one that ElevenLabs takes."""
        self._client[event.get("type", "user_audio_chunk")].validate(event)

    def _by_type(self, operation: Mapping[str, Any]) -> dict[str, Draft202012Validator]:
        found: dict[str, Draft202012Validator] = {}
        for reference in operation["message"]["oneOf"]:
            message = self._components["messages"][reference["$ref"].rpartition("/")[2]]
            pointer = message["payload"]["$ref"]
            properties = self._components["schemas"][pointer.rpartition("/")[2]]["properties"]
            kind = properties["type"]["const"] if "type" in properties else "user_audio_chunk"
            schema = {"$ref": pointer, "components": self._components}
            found[kind] = Draft202012Validator(schema)
        return found


@functools.cache
def contract_if_there() -> Contract | None:
    """Read the contract, once a run; None where it is not at hand."""
    return Contract() if CONTRACT.is_file() else None


def open_contract() -> Contract:
    """Read the contract, or skip the test where it is not at hand.

    It is no part that could be installed, so its absence is a skip in CI too.
    """
    contract = contract_if_there()
    if contract is None:
        pytest.skip("ElevenLabs' agents.asyncapi.yaml is not beside the project")
    return contract
