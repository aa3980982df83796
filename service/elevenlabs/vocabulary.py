"""The words of ElevenLabs' protocol that more than one place uses: formats, limits, events, close codes, headers.

The key decision: only words and numbers stand here, without behaviour and without imports of ours, so that the
sandbox can speak the same vocabulary. Sources are ElevenLabs' OpenAPI document and `agents.asyncapi.yaml` of August
2026; lists may grow upstream, so membership here is no reason to refuse what a client sends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType

PROVIDER = "elevenlabs"
"""What ElevenLabs is called where several providers may be meant."""

# --- Text to speech

DEFAULT_MODEL = "eleven_multilingual_v2"
DEFAULT_OUTPUT_FORMAT = "mp3_44100_128"

STREAM_OUTPUT_FORMATS = (
    "mp3_22050_32", "mp3_24000_48", "mp3_44100_32", "mp3_44100_64", "mp3_44100_96", "mp3_44100_128", "mp3_44100_192",
    "pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_32000", "pcm_44100", "pcm_48000",
    "ulaw_8000", "alaw_8000",
    "opus_48000_32", "opus_48000_64", "opus_48000_96", "opus_48000_128", "opus_48000_192",
)  # fmt: skip
"""`output_format` of every speech route: codec, sample rate in Hz and, where there is one, kilobits a second."""

WAV_OUTPUT_FORMATS = ("wav_8000", "wav_16000", "wav_22050", "wav_24000", "wav_32000", "wav_44100", "wav_48000")
"""Further formats of the two routes that do not stream (a WAV header needs the length)."""

CHARACTER_LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "eleven_v3": 3_000,
        "eleven_multilingual_v2": 10_000,
        "eleven_flash_v2_5": 40_000,
        "eleven_turbo_v2_5": 40_000,
        "eleven_flash_v2": 30_000,
        "eleven_turbo_v2": 30_000,
    }
)
"""Characters of text that one request may have, by model. A model that is missing here has an unknown limit."""


class SpeechRoute(StrEnum):
    """What follows `/v1/text-to-speech/{voice_id}` in the four speech routes."""

    FULL = ""
    STREAM = "/stream"
    WITH_TIMESTAMPS = "/with-timestamps"
    STREAM_WITH_TIMESTAMPS = "/stream/with-timestamps"

    @property
    def is_streamed(self) -> bool:
        """Whether the answer begins while ElevenLabs still speaks."""
        return self in (SpeechRoute.STREAM, SpeechRoute.STREAM_WITH_TIMESTAMPS)

    @property
    def is_json(self) -> bool:
        """Whether a success is JSON (one object, or one a line) and not bare audio."""
        return self in (SpeechRoute.WITH_TIMESTAMPS, SpeechRoute.STREAM_WITH_TIMESTAMPS)


class SpeechSocketRoute(StrEnum):
    """What follows `/v1/text-to-speech/{voice_id}` in the two speech sockets."""

    STREAM_INPUT = "/stream-input"
    MULTI_STREAM_INPUT = "/multi-stream-input"


DEFAULT_INACTIVITY_SECONDS = 20.0
MAX_INACTIVITY_SECONDS = 180.0
"""Without a text a speech socket ends after so long: unless its query says otherwise, and the most that it may say."""

MAX_SPEECH_CONTEXTS = 5
"""That one socket of `multi-stream-input` may have at the same time."""

DEFAULT_SPEECH_CONTEXT = "default"
"""What the context is called whose messages name none."""


KEPT_HEADERS = (
    "content-type",
    "request-id",
    "history-item-id",
    "character-cost",
    "regeneration-count",
    "generation-info",
    "current-concurrent-requests",
    "maximum-concurrent-requests",
    "workspace-concurrent-requests",
    "tts-latency-ms",
    "collect-preference",
    "x-region",
    "x-trace-id",
)
"""Response headers that say something about the request itself and are therefore passed on, in lower case.

What is not here is the hop's own business (`server`, `date`, `connection`) or made by our own edge (CORS).
"""

# --- Conversations

AGENT_AUDIO_FORMATS = (
    "pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000",
)  # fmt: skip
"""Audio of a conversation, both ways; PCM is 16 bit, little endian, mono."""

DEFAULT_AGENT_AUDIO_FORMAT = "pcm_16000"

CONVERSATION_PATH = "/v1/convai/conversation"
SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
CONVERSATIONS_PATH = "/v1/convai/conversations"
SUBSCRIPTION_PATH = "/v1/user/subscription"

USER_AUDIO_KEY = "user_audio_chunk"
"""The key of the one client event that has no `type`: `{"user_audio_chunk": "<base64>"}`."""


class ClientEvent(StrEnum):
    """`type` of what a client sends."""

    CONVERSATION_INITIATION_CLIENT_DATA = "conversation_initiation_client_data"
    PONG = "pong"
    USER_MESSAGE = "user_message"
    USER_ACTIVITY = "user_activity"
    CONTEXTUAL_UPDATE = "contextual_update"
    CLIENT_TOOL_RESULT = "client_tool_result"
    MCP_TOOL_APPROVAL_RESULT = "mcp_tool_approval_result"
    FEEDBACK = "feedback"
    MULTIMODAL_MESSAGE = "multimodal_message"


class ServerEvent(StrEnum):
    """`type` of what ElevenLabs sends."""

    CONVERSATION_INITIATION_METADATA = "conversation_initiation_metadata"
    PING = "ping"
    AUDIO = "audio"
    USER_TRANSCRIPT = "user_transcript"
    TENTATIVE_USER_TRANSCRIPT = "tentative_user_transcript"
    AGENT_RESPONSE = "agent_response"
    AGENT_RESPONSE_CORRECTION = "agent_response_correction"
    AGENT_RESPONSE_COMPLETE = "agent_response_complete"
    AGENT_RESPONSE_METADATA = "agent_response_metadata"
    AGENT_CHAT_RESPONSE_PART = "agent_chat_response_part"
    AGENT_REASONING_RESPONSE_PART = "agent_reasoning_response_part"
    INTERRUPTION = "interruption"
    CLIENT_TOOL_CALL = "client_tool_call"
    AGENT_TOOL_REQUEST = "agent_tool_request"
    AGENT_TOOL_RESPONSE = "agent_tool_response"
    AGENT_TOOL_RESPONSE_FULL_PAYLOAD = "agent_tool_response_full_payload"
    MCP_TOOL_CALL = "mcp_tool_call"
    MCP_CONNECTION_STATUS = "mcp_connection_status"
    VAD_SCORE = "vad_score"
    CONTEXT_USAGE = "context_usage"
    ASR_INITIATION_METADATA = "asr_initiation_metadata"
    RICH_CONTENT = "rich_content"
    GUARDRAIL_TRIGGERED = "guardrail_triggered"
    AGENT_TYPING = "agent_typing"
    EXTERNAL_AGENT_CONNECTED = "external_agent_connected"
    EXTERNAL_AGENT_DISCONNECTED = "external_agent_disconnected"
    INTERNAL_TURN_PROBABILITY = "internal_turn_probability"
    INTERNAL_TENTATIVE_AGENT_RESPONSE = "internal_tentative_agent_response"
    CLIENT_ERROR = "client_error"
    DTMF_REQUEST = "dtmf_request"
    ERROR = "error"
    QUEUE_STATUS = "queue_status"


class CloseCode(IntEnum):
    """Close codes of a conversation's socket: RFC 6455's, and ElevenLabs' own from 3000 on."""

    NORMAL = 1000
    GOING_AWAY = 1001
    OPERATIONAL = 1002
    NO_CODE = 1005
    ABNORMAL = 1006
    CONTRACT = 1008
    INTERNAL = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    REFUSED = 3000
    TOO_MANY_CONVERSATIONS = 3008


# --- Errors

ERROR_STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "validation_error": 400,
        "invalid_request": 400,
        "authentication_error": 401,
        "payment_required": 402,
        "authorization_error": 403,
        "not_found": 404,
        "conflict": 409,
        "rate_limit_error": 429,
        "internal_error": 500,
        "service_unavailable": 503,
    }
)
"""The HTTP status that goes with each `type` of an error body."""
