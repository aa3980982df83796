"""The connections that conversations begin on: dialled beforehand, TCP and TLS, so that only the upgrade is left.

The key decisions:

* a connection serves one conversation and is lent for as long as that lasts: what the pool counts as lent are the open
  conversations, and its `max_size` is their bound. It is discarded when its socket ends, which is the one thing that
  every way to end a conversation has in common (`WebSocketConnection.on_end`);
* a connection that has waited may have died a moment ago, unseen by the check at checkout. If it ends before a byte of
  an answer has come, one fresh one is dialled at once. That repeats nothing: ElevenLabs has not answered, so no
  conversation was opened, and an upgrade by itself costs nothing. A fresh one that ends so has told us something
  about ElevenLabs, and is not tried again here.
"""

from __future__ import annotations

import http
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from service.connection_pool import ConnectionPool
from service.deadline import within_deadline
from service.elevenlabs.faults import Phase, error_from_exception
from service.elevenlabs.live_conversation import socket_base_url
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.prepared_connection import PreparedConnection, place_of
from service.elevenlabs.signed_urls import SignedUrlShelf
from service.elevenlabs.vocabulary import CONVERSATION_PATH
from service.errors import HandshakeError, UnansweredError
from service.metrics_elevenlabs import PoolName
from service.websocket import WebSocketConnection

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""What the official SDKs take in one message of a conversation."""

_REFUSED = frozenset({400, 401, 403, 404, 410, 422})
"""Statuses by which an upgrade may say that the signature in its URL is not good (any more)."""

SignQuery = Callable[[Mapping[str, str]], str]
"""Fetches the signed URL for the fields of a query."""


class AgentConnections:
    """Opens the sockets of conversations at `base_url`, on connections of a pool.

    `sign` fetches a signed URL. For `default_agent_id` as many as the pool keeps connections ready are fetched ahead,
    and used until they are `signed_url_max_age_seconds` old. Connecting takes at most `connect_seconds`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        sign: SignQuery,
        default_agent_id: str | None,
        options: PoolOptions,
        signed_url_max_age_seconds: float,
        connect_seconds: float,
        write_deadline_seconds: float,
    ) -> None:
        self._socket_base_url = socket_base_url(base_url)
        self._sign = sign
        self._connect_seconds = connect_seconds
        self._write_deadline_seconds = write_deadline_seconds
        self._tls_context: ssl.SSLContext | None = None
        self._take_seconds = options.timeout_seconds
        self._keeps_ready = options.min_idle > 0
        # Where the next connection leads: to where the last signed URL did.
        self._url = f"{self._socket_base_url}{CONVERSATION_PATH}"
        self._default_query = {"agent_id": default_agent_id} if default_agent_id else None
        self._shelf = SignedUrlShelf(
            lambda: sign(self._default_query or {}),
            size=options.min_idle if default_agent_id else 0,
            max_age_seconds=signed_url_max_age_seconds,
        )
        self._pool = options.make_pool(
            self._prepare,
            name=PoolName.AGENTS,
            close_connection=PreparedConnection.close,
            is_healthy=PreparedConnection.is_healthy,
            opens_at_once=not self._keeps_ready,
        )

    @property
    def pool(self) -> ConnectionPool[PreparedConnection]:
        """What counts the connections."""
        return self._pool

    def start(self, tls_context: ssl.SSLContext | None) -> None:
        """Begin to keep connections ready; `tls_context` is needed for an `https:` base URL."""
        self._tls_context = tls_context
        self._pool.start()
        self._shelf.start()

    def close(self) -> None:
        """End those that lie ready; conversations end with their owners."""
        self._shelf.close()
        self._pool.close()

    def drain(self) -> None:
        """Use nothing that was prepared until now for another conversation; those that run go on."""
        self._shelf.forget()
        self._pool.drain()

    def open_socket(self, query: Mapping[str, str], *, signed: bool) -> WebSocketConnection:
        """The socket of a new conversation, by a signed URL for `query` or, if the agent is public, without one.

        Raises:
            CapacityError: no connection was to be had in time; nothing was asked of ElevenLabs.
            UpstreamError: ElevenLabs did not open it.
        """
        lent = self._pool.take(within_deadline(self._take_seconds))
        try:
            socket = self._upgrade(lent.connection, query, signed=signed)
        except BaseException:  # whatever it is, nobody else would give it back
            lent.discard()
            raise
        lent.connection.hand_over()
        socket.on_end = lent.discard
        return socket

    def _prepare(self) -> PreparedConnection:
        prepared = PreparedConnection(self._connect_seconds)
        if not self._keeps_ready:
            return prepared  # to be dialled when the signed URL is there: who is refused one has opened nothing
        try:
            prepared.dial(self._url, self._tls_context)
        except OSError as exc:
            error = error_from_exception(exc, Phase.CONNECT)
        else:
            return prepared
        raise error

    # --- The upgrade

    def _upgrade(self, prepared: PreparedConnection, query: Mapping[str, str], *, signed: bool) -> WebSocketConnection:
        try:
            return self._upgrade_or_again(prepared, query, signed=signed)
        except (HandshakeError, OSError) as exc:
            # Nothing of the user's has left us before the socket is open.
            error = error_from_exception(exc, Phase.CONNECT)
        raise error

    def _upgrade_or_again(
        self, prepared: PreparedConnection, query: Mapping[str, str], *, signed: bool
    ) -> WebSocketConnection:
        kept = self._shelf.take() if signed and query == self._default_query else None
        url = kept or self._new_url(query, signed=signed)
        try:
            return self._upgrade_once(prepared, url)
        except UnansweredError:
            if not prepared.has_waited:
                raise
        except HandshakeError as exc:
            if kept is not None and exc.status in _REFUSED:
                url = self._new_url(query, signed=signed)  # the key may have changed since it was fetched
            # The status by which some load balancers end an idle connection.
            elif not prepared.has_waited or exc.status != http.HTTPStatus.REQUEST_TIMEOUT:
                raise
        prepared.dial(url, self._tls_context)
        return self._upgrade_once(prepared, url)

    def _upgrade_once(self, prepared: PreparedConnection, url: str) -> WebSocketConnection:
        if prepared.place != place_of(url):
            self._url = url.partition("?")[0]
            prepared.dial(url, self._tls_context)
        return prepared.upgrade(
            url, write_deadline_seconds=self._write_deadline_seconds, max_message_bytes=MAX_MESSAGE_BYTES
        )

    def _new_url(self, query: Mapping[str, str], *, signed: bool) -> str:
        return self._sign(query) if signed else f"{self._socket_base_url}{CONVERSATION_PATH}?{urlencode(query)}"
