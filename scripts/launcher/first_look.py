"""What the service is told when there is no ElevenLabs key and the sandbox speaks: for `make run` and for Compose."""

from __future__ import annotations

SANDBOX_KEY = "sandbox-key"
SANDBOX_AGENTS = ("agent_demo", "agent_text")
