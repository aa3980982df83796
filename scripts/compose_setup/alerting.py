"""Alertmanager's configuration for Compose, made from deploy/alertmanager/alertmanager.yml and not written twice.

The key decision: who has given no gateway for alerts gets receivers that post nowhere. The alerts are then seen in the
dashboard and in Alertmanager itself, and nothing fails every few minutes because nobody listens on port 9095.
"""

from __future__ import annotations

from typing import Any

import yaml

ITS_GATEWAY = "http://localhost:9095/"
TOKENS = ("pager-token", "tickets-token", "chat-token")


def alertmanager_yml(source: str, gateway: str | None) -> str:
    """The configuration with `gateway` (a URL) in the place of the example's, or without any."""
    found: dict[str, Any] = yaml.safe_load(source)
    for receiver in found["receivers"]:
        if gateway is None:
            receiver.pop("webhook_configs", None)
            continue
        for webhook in receiver.get("webhook_configs", []):
            webhook["url"] = webhook["url"].replace(ITS_GATEWAY, f"{gateway.rstrip('/')}/")
    made: str = yaml.safe_dump(found, sort_keys=False)
    return made
