"""The headings under which settings are shown, each with the field that is the first below it.

The key decision: a table beside the fields, which stand in this order anyway, and not a mark on each of them. What
comes first is what somebody needs first: the key, or Vault.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic.fields import FieldInfo

HEADINGS = {
    "elevenlabs_api_key": "The ElevenLabs key, or Vault where it is kept",
    "secrets_folder": "Secrets as files",
    "secrets_poll_seconds": "How long secrets are good",
    "elevenlabs_agent_id": "ElevenLabs",
    "pool_agents_min_idle": "Connections to ElevenLabs that are kept ready (of each worker)",
    "retry_attempts": "Repeating what failed at ElevenLabs",
    "agents_concurrency": "What may run at once in the ElevenLabs account",
    "transcript_days": "What is kept, and how long",
    "fallback_chain": "Who speaks when ElevenLabs fails",
    "fallback_faq": "The backup's voice, ears and words",
    "openai_base_url": "An OpenAI-compatible endpoint in the backup's place, as long as it answers",
    "breaker_enabled": "When a provider is left alone",
    "elevenlabs_2_base_url": "A second ElevenLabs account, if elevenlabs_2 is in the chain",
    "resume_seconds": "Networks that drop, workers that leave",
    "strict_labels": "What the service tells about itself",
    "host": "Where the service listens",
    "public_agents": "Who may talk",
    "first_frame_seconds": "Bounds of a conversation",
    "redis_url": "Redis and the database",
    "log_level": "Logs",
}
"""Those of the service."""


def grouped(
    fields: Mapping[str, FieldInfo], headings: Mapping[str, str] = HEADINGS
) -> list[tuple[str, dict[str, FieldInfo]]]:
    """The fields by heading; those before the first heading are under none ("")."""
    groups: list[tuple[str, dict[str, FieldInfo]]] = []
    for name, field in fields.items():
        if name in headings or not groups:
            groups.append((headings.get(name, ""), {}))
        groups[-1][1][name] = field
    return groups
