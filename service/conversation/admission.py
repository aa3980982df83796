"""Who may talk to which agent: deny by default.

A conversation is opened with a ticket (our page, or a signed URL that an integrator asked for), with an integrator's
API key, or with nothing at all when the agent is listed as public.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.conversation.tickets import Ticket, TicketOffice
from service.errors import NotAuthenticatedError, RequestError
from service.key_limits import KeyBound, bound_of, require_scope
from service.storage import ApiKeys, ApiScope

MAX_AGENT_ID_CHARACTERS = 128


@dataclass(frozen=True)
class Credentials:
    """What a client shows when it opens the conversation socket, and what it wants to be told: of a wait, of what
    Vocero does besides; `resumes`: it will show a token in its first message instead."""

    agent_id: str | None = None
    signature: str | None = None
    api_key: str | None = None
    origin: str | None = None
    wants_queue_status: bool = False
    wants_events: bool = False
    resumes: bool = False


@dataclass(frozen=True)
class Admitted:
    """Which agent the conversation is with, and the bound of the API key that it counts for; None: no bound."""

    agent_id: str
    bound: KeyBound | None = None


class Admission:
    """Decides, for the credentials shown, which agent the conversation is with."""

    def __init__(self, tickets: TicketOffice, *, keys: ApiKeys, public_agents: frozenset[str]) -> None:
        self._tickets = tickets
        self._keys = keys
        self._public_agents = public_agents

    def admit(self, shown: Credentials) -> Admitted:
        """Let the conversation in.

        Raises:
            RequestError: no agent named, or an id that cannot be one.
            NotAuthenticatedError: nothing shown that allows this agent.
            NotAllowedError: a ticket for another agent or web origin, or an API key that is not for conversations.
        """
        if shown.agent_id is not None and len(shown.agent_id) > MAX_AGENT_ID_CHARACTERS:
            raise RequestError("agent_id is too long.", code="invalid_parameters", param="agent_id")
        if shown.signature:
            ticket = self._tickets.redeem(shown.signature, agent_id=shown.agent_id, origin=shown.origin)
            return Admitted(ticket.agent_id, self._bound_of(ticket))
        if not shown.agent_id:
            raise RequestError("agent_id is missing.", code="missing_required_field", param="agent_id")
        if shown.api_key:
            key = self._keys.verify(shown.api_key)
            if key is None:
                raise NotAuthenticatedError("The API key is not valid.", code="invalid_api_key")
            require_scope(key, ApiScope.CONVERSATION)
            return Admitted(shown.agent_id, bound_of(key))
        if shown.agent_id not in self._public_agents:
            raise NotAuthenticatedError(
                "Could not authorize the conversation: this agent is not public; use a signed URL."
            )
        return Admitted(shown.agent_id)

    def _bound_of(self, ticket: Ticket) -> KeyBound | None:
        """The bound that the key of a signed URL has now; while the database cannot say, the one that it had then.

        Raises:
            NotAuthenticatedError: the key is not valid any more.
            NotAllowedError: it is not for conversations any more.
        """
        if ticket.key_id is None:
            return ticket.bound
        standing = self._keys.standing(ticket.key_id)
        if not standing.is_good:
            raise NotAuthenticatedError("The API key that the signed URL was made with is not valid any more.")
        if standing.key is None:
            return ticket.bound
        require_scope(standing.key, ApiScope.CONVERSATION)
        return bound_of(standing.key)
