"""`ElevenLabsService`: speech and conversations from ElevenLabs, for everything above.

The key decision: the key is chosen at each request (it may rotate) and never kept, and whatever goes wrong leaves
here as a class of `service.errors`. What may be repeated is repeated here (`with_retry`): opening a conversation in any
case, because nothing was said in it; speech only if ElevenLabs cannot have acted on the request, because it bills what
it speaks, heard or not. Callers repeat nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Self, Unpack

from service.account_limiter import LimiterStats, QueuePosition
from service.connection_pool import ConnectionPool
from service.elevenlabs.account_slots import AccountSlots, in_turn
from service.elevenlabs.agent_answer import PastTurn, ResponseEvent
from service.elevenlabs.agent_connections import AgentConnections
from service.elevenlabs.agent_question import Question, ask, initiation_of
from service.elevenlabs.asking import asked, counted_part
from service.elevenlabs.hedged_speech import open_hedged
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.live_conversation import LiveConversation, read_signed_url
from service.elevenlabs.past_conversations import CallCost, delete_conversation, fetch_cost
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.speech import (
    SpeechOptions,
    SpeechStream,
    TimedAudio,
    VoiceSettings,
    check_text,
    quoted_voice,
    read_timed_audio,
    speech_body,
    speech_query,
)
from service.elevenlabs.speech_characters import SpeechOrder, characters_of
from service.elevenlabs.speech_sockets import SpeechSockets
from service.elevenlabs.subscription import Quota, fetch_quota
from service.elevenlabs.transport import HttpTransport, Query, make_tls_context
from service.elevenlabs.vocabulary import DEFAULT_MODEL, DEFAULT_OUTPUT_FORMAT, SIGNED_URL_PATH, SpeechRoute
from service.errors import UpstreamProtocolError, UpstreamRequestError
from service.metrics_elevenlabs import LimiterName, Operation
from service.pool_stats import PoolStats
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget

__all__ = ["ElevenLabsService", "LiveConversation", "PastTurn", "SpeechStream", "TimedAudio", "VoiceSettings"]

MAX_SMALL_BODY_BYTES = 65_536
DEFAULT_OPTIONS = PoolOptions()


class ElevenLabsService:
    """ElevenLabs at `base_url` (no slash at the end), with one of `keys`.

    `connect_seconds` bounds connecting (the look-up of the name, TCP and TLS), `read_seconds` silence within an
    HTTP answer, `write_deadline_seconds` how long a conversation's peer may take to accept a frame. `ca_bundle` is a
    file of CA certificates to trust instead of certifi's. `agents_pool` and `speech_pool` bound the connections for
    conversations and for requests; signed URLs for `default_agent_id` are fetched ahead, one for each connection that
    lies ready, and used until they are `signed_url_max_age_seconds` old. `retrier` says what is repeated (unset: the
    defaults); `hedge_after_seconds` is for `hedged_speech`, 0 off. `slots` bound what runs at once in the account.
    """

    def __init__(
        self,
        base_url: str,
        *,
        keys: KeyChoice,
        connect_seconds: float = 5.0,
        read_seconds: float = 30.0,
        write_deadline_seconds: float = 5.0,
        ca_bundle: str | None = None,
        default_agent_id: str | None = None,
        signed_url_max_age_seconds: float = 600.0,
        agents_pool: PoolOptions = DEFAULT_OPTIONS,
        speech_pool: PoolOptions = DEFAULT_OPTIONS,
        retrier: Retrier | None = None,
        hedge_after_seconds: float = 0.0,
        slots: AccountSlots | None = None,
    ) -> None:
        self._base_url = base_url
        self._keys = keys
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._write_deadline_seconds = write_deadline_seconds
        self._ca_bundle = ca_bundle
        self._default_agent_id = default_agent_id
        self._signed_url_max_age_seconds = signed_url_max_age_seconds
        self._agents_pool = agents_pool
        self._speech_pool = speech_pool
        self.retrier = retrier or Retrier(RetryPolicy(), budget=RetryBudget())
        self._hedge_after_seconds = hedge_after_seconds
        self._slots = slots or AccountSlots()
        self.speech_sockets = SpeechSockets(
            base_url,
            keys=keys,
            slots=self._slots,
            retrier=self.retrier,
            connect_seconds=connect_seconds,
            write_deadline_seconds=write_deadline_seconds,
        )
        self._transport: HttpTransport | None = None
        self._agents: AgentConnections | None = None

    def start(self) -> None:
        """Make the TLS context (15-19 ms of CPU, hence once), and begin to keep ready what is to lie ready.

        Does not wait for it: an ElevenLabs that is away is the concern of whoever asks. Raises as `make_tls_context`.
        """
        tls_context = make_tls_context(self._ca_bundle) if self._base_url.startswith("https://") else None
        self._transport = HttpTransport(
            self._base_url,
            tls_context=tls_context,
            connect_seconds=self._connect_seconds,
            read_seconds=self._read_seconds,
            options=self._speech_pool,
        )
        self._agents = AgentConnections(
            self._base_url,
            sign=self._signed_url,
            default_agent_id=self._default_agent_id,
            options=self._agents_pool,
            signed_url_max_age_seconds=self._signed_url_max_age_seconds,
            connect_seconds=self._connect_seconds,
            write_deadline_seconds=self._write_deadline_seconds,
        )
        self._transport.start()
        self._agents.start(tls_context)
        self.speech_sockets.start(tls_context)
        self._slots.start()

    def close(self) -> None:
        """End the idle connections; streams and conversations that are open end with their owners."""
        self._slots.close()
        parts, self._agents, self._transport = (self._agents, self._transport), None, None
        for part in parts:
            if part is not None:
                part.close()

    def drain_connections(self) -> None:
        """Use no connection and no signed URL of now for anything new: call it when the key has changed.

        What runs goes on, and new connections take the place of the idle ones.
        """
        for part in (self._agents, self._transport):
            if part is not None:
                part.drain()

    def pools(self) -> list[ConnectionPool[Any]]:
        """The pools of connections: `agents` and `speech`; empty before `start`."""
        return [part.pool for part in (self._agents, self._transport) if part is not None]

    def pool_stats(self) -> list[PoolStats]:
        """What they tell about themselves."""
        return [pool.stats() for pool in self.pools()]

    def slot_stats(self) -> dict[LimiterName, LimiterStats]:
        """What the limiters of the account tell about themselves; empty without bounds."""
        return self._slots.stats()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # --- Speech

    @asked(Operation.SPEECH)
    def open_speech(self, route: SpeechRoute, voice_id: str, *, query: Query, body: bytes) -> SpeechStream:
        """Send a speech request as it is, query and JSON body untouched; the answer while it arrives.

        Raises:
            NotFoundError: no voice can have that id.
            UpstreamError: see `service.elevenlabs.faults`.
        """
        path = f"/v1/text-to-speech/{quoted_voice(voice_id)}{route.value}"
        ask = partial(self._ask_speech, path, route, query, body)
        if self._hedge_after_seconds > 0 and route.is_streamed:
            return open_hedged(ask, after_seconds=self._hedge_after_seconds)
        return ask()

    def _ask_speech(self, path: str, route: SpeechRoute, query: Query, body: bytes) -> SpeechStream:
        with self._slots.speech() as release:
            answer = self._keys.send(lambda key: self._http().send("POST", path, key=key, query=query, body=body))
        stream = SpeechStream(answer, order=SpeechOrder(characters_of(body), query, route), on_close=release)
        self._slots.learn_speech(stream.headers)
        media_type = stream.content_type.partition(";")[0].strip().lower()
        # A captive portal or a misled proxy says 200 too; its page must not be played.
        if media_type == "text/html" or (media_type == "application/json" and not route.is_json):
            stream.close()
            raise UpstreamProtocolError(f"ElevenLabs answered with {media_type}.", code="wrong_content_type")
        return stream

    @asked(Operation.SPEECH)
    def generate_audio(
        self,
        text: str,
        *,
        voice_id: str,
        model_id: str = DEFAULT_MODEL,
        output_format: str = DEFAULT_OUTPUT_FORMAT,
        voice_settings: VoiceSettings | None = None,
        **options: Unpack[SpeechOptions],
    ) -> SpeechStream:
        """Speak `text`: iterate over the result for audio, each piece as soon as it is there.

        Returns when ElevenLabs has accepted the request; use the result in a `with` block, or iterate over it.

        Raises:
            RequestError: the text is empty or too long, or no voice can have that id.
            UpstreamError: ElevenLabs did not do it, here or in the middle of iterating.
        """
        return self._speak(SpeechRoute.STREAM, text, voice_id, model_id, output_format, voice_settings, options)

    def generate_whole_audio(
        self,
        text: str,
        *,
        voice_id: str,
        model_id: str = DEFAULT_MODEL,
        output_format: str = DEFAULT_OUTPUT_FORMAT,
        voice_settings: VoiceSettings | None = None,
        **options: Unpack[SpeechOptions],
    ) -> SpeechStream:
        """Speak `text` by the route that answers when all is spoken (WAV is only there); as `generate_audio`."""
        return self._speak(SpeechRoute.FULL, text, voice_id, model_id, output_format, voice_settings, options)

    def generate_timed_audio(
        self,
        text: str,
        *,
        voice_id: str,
        model_id: str = DEFAULT_MODEL,
        output_format: str = DEFAULT_OUTPUT_FORMAT,
        voice_settings: VoiceSettings | None = None,
        **options: Unpack[SpeechOptions],
    ) -> TimedAudio:
        """Speak `text`, with the time of each character; raises as `generate_audio`."""
        route = SpeechRoute.WITH_TIMESTAMPS
        with self._speak(route, text, voice_id, model_id, output_format, voice_settings, options) as stream:
            return read_timed_audio(stream.read_all())

    def stream_timed_audio(
        self,
        text: str,
        *,
        voice_id: str,
        model_id: str = DEFAULT_MODEL,
        output_format: str = DEFAULT_OUTPUT_FORMAT,
        voice_settings: VoiceSettings | None = None,
        **options: Unpack[SpeechOptions],
    ) -> Iterator[TimedAudio]:
        """Speak `text`: pieces of audio with the times of their characters as they arrive.

        Nothing is sent before the first piece is asked for; raises as `generate_audio`.
        """
        route = SpeechRoute.STREAM_WITH_TIMESTAMPS
        with self._speak(route, text, voice_id, model_id, output_format, voice_settings, options) as stream:
            for line in stream.lines():
                yield read_timed_audio(line)

    def _speak(
        self,
        route: SpeechRoute,
        text: str,
        voice_id: str,
        model_id: str,
        output_format: str,
        voice_settings: VoiceSettings | None,
        options: SpeechOptions,
    ) -> SpeechStream:
        check_text(text, model_id)
        query = speech_query(output_format, options)
        return self.open_speech(route, voice_id, query=query, body=speech_body(text, model_id, voice_settings, options))

    # --- Conversations

    @asked(Operation.CONVERSATION, repeatable=True)
    def open_conversation(
        self,
        agent_id: str,
        initiation: Mapping[str, Any] | bytes | None = None,
        *,
        signed: bool = True,
        signing_options: Mapping[str, str] | None = None,
        on_wait: Callable[[QueuePosition], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> LiveConversation:
        """Open a conversation and send `initiation`, if given, as its first frame (bytes go as they are).

        With `signed`, the signed URL is fetched with our key (`signing_options` are further fields of that query,
        such as `branch_id`); without, the agent must be public. `on_wait` and `on_lost` are for the account's slot, if
        conversations are bounded: see `AccountLimiter.acquire`. A conversation whose slot is lost must be ended.

        Raises:
            CapacityError: no connection or slot was to be had in time; nothing was asked of ElevenLabs.
            UpstreamError: see `service.elevenlabs.faults`; UpstreamProtocolError if the URL leads to a foreign host.
        """
        query = {**(signing_options or {}), "agent_id": agent_id}
        with self._slots.conversation(on_wait=on_wait, on_lost=on_lost) as release:
            socket = self._agent_connections().open_socket(query, signed=signed)
        socket.on_end = in_turn(socket.on_end, release)
        conversation = LiveConversation(socket, agent_id=agent_id)
        if initiation is not None:
            try:
                conversation.send_event(initiation)
            except BaseException:  # whatever it is, nobody else would close it
                conversation.close()
                raise
        return conversation

    def _signed_url(self, query: Query) -> str:
        def fetch() -> str:
            answer = self._keys.send(lambda key: self._http().send("GET", SIGNED_URL_PATH, key=key, query=query))
            return read_signed_url(answer.read_all(MAX_SMALL_BODY_BYTES), self._base_url)

        return counted_part(Operation.SIGNED_URL, fetch)

    @asked(Operation.CONVERSATION, repeatable=True)
    def generate_response(
        self,
        text: str,
        *,
        agent_id: str,
        history: Sequence[PastTurn] = (),
        text_only: bool = False,
        signed: bool = True,
        total_seconds: float = 60.0,
        quiet_seconds: float = 2.0,
        greeting_seconds: float = 3.0,
    ) -> Iterator[ResponseEvent]:
        """Ask an agent one thing, in a conversation of its own; its answer as events while they arrive.

        Nothing is sent before the first event is asked for, and what fails before the text is sent is repeated.
        `history` is told to the agent as context. `text_only` asks for no audio, which an agent may refuse. In voice
        mode the answer ends `quiet_seconds` after its last audio. An agent that does not let its greeting be suppressed
        is waited for `greeting_seconds`, and costs a second conversation.

        Raises:
            UpstreamError: the conversation failed, or took longer than `total_seconds`.
        """
        question = Question(
            text=text,
            history=history,
            text_only=text_only,
            quiet_seconds=quiet_seconds,
            greeting_seconds=greeting_seconds,
            total_seconds=total_seconds,
        )
        deadline = time.monotonic() + total_seconds
        try:
            yield from self._ask(question, agent_id, signed, deadline, suppress_greeting=True)
        except UpstreamRequestError as exc:
            # Refused before anything was said, so asking again repeats nothing.
            if exc.code != "first_message_override_refused":
                raise
        else:
            return
        yield from self._ask(question, agent_id, signed, deadline, suppress_greeting=False)

    def _ask(
        self, question: Question, agent_id: str, signed: bool, deadline: float, *, suppress_greeting: bool
    ) -> Iterator[ResponseEvent]:
        initiation = initiation_of(question, suppress_greeting=suppress_greeting)
        with closing(self.open_conversation(agent_id, initiation, signed=signed)) as conversation:
            yield from ask(conversation, question, deadline=deadline, greeting_suppressed=suppress_greeting)

    # --- Past conversations, and the account

    @asked(Operation.DELETION, repeatable=True)
    def delete_conversation(self, provider_conversation_id: str) -> None:
        """Delete what ElevenLabs keeps of a conversation; it returns when that is confirmed. Raises UpstreamError."""
        delete_conversation(self._keys, self._http(), provider_conversation_id)

    @asked(Operation.PAST_CONVERSATION, repeatable=True)
    def fetch_cost(self, provider_conversation_id: str) -> CallCost | None:
        """What a conversation cost; None: ElevenLabs has not added it up yet. Raises UpstreamError."""
        return fetch_cost(self._keys, self._http(), provider_conversation_id)

    @asked(Operation.SUBSCRIPTION, repeatable=True)
    def fetch_quota(self) -> Quota:
        """How much of the account's quota is used. Raises UpstreamError."""
        return fetch_quota(self._keys, self._http())

    def _http(self) -> HttpTransport:
        if self._transport is None:
            raise RuntimeError("ElevenLabsService was not started")
        return self._transport

    def _agent_connections(self) -> AgentConnections:
        if self._agents is None:
            raise RuntimeError("ElevenLabsService was not started")
        return self._agents
