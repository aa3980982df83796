"""Who the backup agent is in one conversation: its languages, its voice, its greeting, and what the client asked for.

The key decision: nothing that a client asks for can fail here. ElevenLabs took its overrides once, and a conversation
that goes on must not end over one that the backup cannot follow: what it cannot do, it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.fallback.backup_lines import BACKUP_LINES, DEFAULT_LANGUAGE, base_language, outage_greetings
from service.fallback.faq_words import LANGUAGES
from service.fallback.local_agent_initiation import accept_initiation
from service.fallback.local_agent_profile import AgentProfile
from service.fallback.takeover import Opening, Takeover
from service.fallback.voice_choice import VoiceMap

MAX_SECONDS = 7200.0
"""That a conversation may last, or the client's silence in it: its real bound is the relay's."""


class BackupProfiles:
    """Makes a profile for each takeover.

    `voices` is the operator's map. `any_language`: the dialogue answers in whatever language the user speaks, and not
    only in those of a FAQ file.
    """

    def __init__(self, voices: VoiceMap, *, any_language: bool) -> None:
        self._voices = voices
        self._any_language = any_language

    def of(self, takeover: Takeover) -> tuple[AgentProfile, Opening]:
        """The agent, with the client's overrides in it, and how it begins; never fails for what a client sent."""
        known = base_language(takeover.language)
        languages = (*LANGUAGES, *BACKUP_LINES, *filter(None, [known])) if self._any_language else LANGUAGES
        language = known if known in languages else None
        plain = AgentProfile(
            takeover.agent_id,
            languages=languages,
            language=language or DEFAULT_LANGUAGE,
            follows_language=language is None,
            first_messages=outage_greetings(),
            lines=BACKUP_LINES,
            output_format=takeover.output_format,
            input_format=takeover.input_format,
            max_duration_seconds=MAX_SECONDS,
            input_timeout_seconds=MAX_SECONDS,
            refuse_unknown_events=False,
        )
        profile, variables = accept_initiation(
            plain, _event(takeover.initiation), conversation_id=takeover.conversation_id
        )
        profile = replace(
            profile,
            language=language or profile.language,  # what was spoken last goes before what was asked first
            text_only=takeover.text_only,
            input_timeout_seconds=MAX_SECONDS,
        )
        variant = self._voices.variant(profile.voice_id, takeover.agent_id, language=profile.language)
        profile = replace(profile, voice_variant=variant)
        opening = Opening(
            variables=variables,
            greets=takeover.greets,
            splice=takeover.splice,
            question=takeover.question,
            farewell=takeover.farewell,
        )
        return profile, opening


def _event(initiation: Any) -> Mapping[str, Any]:
    return initiation if isinstance(initiation, Mapping) else {}
