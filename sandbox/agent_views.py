"""An agent as ElevenLabs' REST routes show it."""

from __future__ import annotations

from typing import Any

from sandbox.agents_file import SandboxAgent
from service.fallback.local_agent_profile import AgentProfile

_CREATED_UNIX = 1_760_000_000


def show_agent_row(agent: SandboxAgent) -> dict[str, Any]:
    """Give the agent as the list shows it."""
    return {
        "agent_id": agent.profile.agent_id,
        "name": agent.profile.name,
        "tags": [],
        "created_at_unix_secs": _CREATED_UNIX,
        "access_info": _access(),
        "last_call_time_unix_secs": None,
        "archived": False,
    }


def show_agent(agent: SandboxAgent) -> dict[str, Any]:
    """Give the agent's whole configuration, as far as it means something here."""
    return {
        "agent_id": agent.profile.agent_id,
        "name": agent.profile.name,
        "conversation_config": _conversation_config(agent.profile),
        "platform_settings": {
            "auth": {"enable_auth": not agent.public, "allowlist": []},
            "overrides": {"conversation_config_override": _override_switches(agent.profile)},
        },
        "metadata": {"created_at_unix_secs": _CREATED_UNIX, "updated_at_unix_secs": _CREATED_UNIX},
        "phone_numbers": [],
        "access_info": _access(),
        "tags": [],
    }


def _conversation_config(profile: AgentProfile) -> dict[str, Any]:
    others = {
        language: {"overrides": {"agent": {"language": language, "first_message": text}}}
        for language, text in profile.first_messages.items()
        if language != profile.language
    }
    return {
        "asr": {"user_input_audio_format": profile.input_format},
        "turn": {
            "turn_timeout": _or_unlimited(profile.turn_timeout_seconds),
            "silence_end_call_timeout": _or_unlimited(profile.silence_end_call_seconds),
        },
        "tts": {
            "voice_id": profile.voice_id,
            "agent_output_audio_format": profile.output_format,
            "speed": profile.speed,
        },
        "conversation": {
            "text_only": profile.text_only,
            "max_duration_seconds": int(profile.max_duration_seconds),
            "client_events": sorted(profile.client_events),
        },
        "language_presets": others,
        "agent": {
            "first_message": profile.first_message,
            "language": profile.language,
            "prompt": {"prompt": profile.prompt},
        },
    }


def _override_switches(profile: AgentProfile) -> dict[str, Any]:
    def switches(*names: str) -> dict[str, Any]:
        return {name: name in profile.overrides for name in names}

    return {
        "agent": {
            **switches("first_message", "language", "max_conversation_duration_message"),
            "prompt": switches("prompt", "llm", "tool_ids", "native_mcp_server_ids", "knowledge_base"),
        },
        "tts": switches("voice_id", "stability", "similarity_boost", "speed", "model_id"),
        "asr": switches("keywords"),
        "conversation": switches("text_only", "max_duration_seconds"),
    }


def _or_unlimited(seconds: float | None) -> float:
    return -1 if seconds is None else seconds


def _access() -> dict[str, Any]:
    return {"is_creator": True, "creator_name": "Sandbox", "creator_email": "sandbox@example.com", "role": "admin"}
