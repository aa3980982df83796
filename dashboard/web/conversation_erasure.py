"""Erasing a conversation, or everything of a user: for admins, who have shown their password again and typed the id.

The key decision: a conversation goes while its admin waits, because it is a matter of moments. Everything of a user may
be years of it: that is ordered here and carried out by the service's job within a minute, as any order that was broken
off is.
"""

from __future__ import annotations

from flask import Blueprint, Response

from dashboard.access.confirmation import require_confirmed
from dashboard.sight.conversations import ConversationSight
from dashboard.web.answers import fields, json_answer
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.words.said import Said
from service.errors import MaintenanceError, NotFoundError, UnprocessableError
from service.keeping.run import Run
from service.storage import ConversationFilter, Conversations, ProviderDeletions, SubjectKind

ERASED = "conversation.erased"
USER_ERASED = "user.erasure_ordered"

TYPED_CHARACTERS = 6
"""Of the end of a conversation's id: enough to see that it is this one."""

LONGEST_USER_ID = 1000


def add_rules(blueprint: Blueprint) -> None:
    """Add the endpoints that erase."""
    blueprint.add_url_rule("/api/conversations/<conversation_id>/erase", view_func=erase, methods=["POST"])
    blueprint.add_url_rule("/api/conversations/erase-user", view_func=erase_user, methods=["POST"])


def erase(conversation_id: str) -> Response:
    """Erase a conversation from the database and Redis, and have ElevenLabs asked to delete its copy."""
    require_confirmed()
    _refuse_in_maintenance()
    if fields().get("confirmation") != conversation_id[-TYPED_CHARACTERS:]:
        message = Said("conversations.error.typed", characters=TYPED_CHARACTERS)
        raise UnprocessableError(message, param="confirmation")
    if ConversationSight(parts().database, store=parts().redis).see(conversation_id) is None:
        raise NotFoundError(Said("conversations.error.not_found"), code="conversation_not_found")
    erasure = parts().erasure
    order = erasure.request(SubjectKind.CONVERSATION, conversation_id, by=who().user.name)
    erased = erasure.carry_out(order, conversation_id, Run())
    copies = ProviderDeletions(parts().database).of(order)
    came_of_it = {
        "conversations": erased.conversations,
        "redis_keys": erased.keys,
        "provider_copies": sum(copy.confirmed_at is None for copy in copies),
    }
    # By its digest, as the order itself has it: the id of what is erased is not kept in yet another place.
    note(ERASED, order.hash, after=came_of_it)
    return json_answer(came_of_it)


def erase_user() -> Response:
    """Order that every conversation of a user until now is erased."""
    require_confirmed()
    _refuse_in_maintenance()
    body = fields()
    user_id = body.get("user_id")
    if not isinstance(user_id, str) or not user_id.strip() or len(user_id) > LONGEST_USER_ID:
        raise UnprocessableError(Said("conversations.error.user_id"), param="user_id")
    if body.get("confirmation") != user_id:
        raise UnprocessableError(Said("conversations.error.typed_user"), param="confirmation")
    order = parts().erasure.request(SubjectKind.USER, user_id, by=who().user.name)
    note(USER_ERASED, order.hash)
    known = Conversations(parts().database).search(ConversationFilter(user_id=user_id), limit=1)
    return json_answer({"ordered": True, "has_conversations": bool(known.items)})


def _refuse_in_maintenance() -> None:
    if parts().watch.snapshot().maintenance is not None:
        raise MaintenanceError
