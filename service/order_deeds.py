"""What a worker does when an admin orders it: one function for each kind of order.

The key decision: each checks what it is told as if it came from outside, calls one thing that the service has anyway,
and says in a sentence what came of it. Nothing here decides whether an order is wise: who may give which is the
dashboard's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.connection_pool import ConnectionPool
from service.conversation.endings import BY_OPERATOR
from service.conversation.registry import ConversationRegistry
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.fault_actions import fault_of
from service.errors import RequestError, ServiceUnavailableError, VoceroError
from service.fallback.audible_canaries import AudibleCanaries, Trial
from service.fallback.breaker_report import words_of
from service.metrics_elevenlabs import PoolName
from service.metrics_platform import OrderKind
from service.orders.order import EVERYBODY, MOST_CONNECTIONS, Order
from service.orders.taker import Deed, Done
from service.secrets_manager import SecretsManager
from service.storage import ApiKeys, Capability

REFRESH_SECONDS = 8.0
_NORMAL_CLOSE = 1000
"""What clients understand as an end that is no failure."""

_LONGEST_ID = 200


def make_deeds(
    *,
    elevenlabs: ElevenLabsService,
    conversations: ConversationRegistry,
    secrets: SecretsManager,
    api_keys: ApiKeys,
    canaries: AudibleCanaries,
) -> dict[OrderKind, Deed]:
    """How this worker carries out each kind of order; the pools are those of `elevenlabs`, the first account."""

    def resize(order: Order) -> Done:
        _only(order, "pool", "min_idle", "max_size")
        pool = _pool(order, elevenlabs)
        min_idle, max_size = _whole(order, "min_idle", 0), _whole(order, "max_size", 1)
        before = pool.stats()
        try:
            pool.resize(min_idle=min_idle, max_size=max_size)
        except ValueError as exc:
            code = "bad_request" if min_idle > max_size else "pool_keeps_none"
            raise RequestError(f"That cannot be: {str(exc).rstrip('.')}.", code=code) from None
        held = {"min_idle": before.min_idle, "max_size": before.max_size}
        details = {"before": held, "min_idle": min_idle, "max_size": max_size}
        text = f"Pool {pool.name}: {min_idle} to {max_size} connections, until this worker ends."
        return Done(text, details=details, said="pool_resized")

    def drain(order: Order) -> Done:
        pool = _only_pool(order, elevenlabs)
        pool.drain()
        return Done(f"Pool {pool.name}: no connection of before is used for anything new.", said="pool_drained")

    def refill(order: Order) -> Done:
        pool = _only_pool(order, elevenlabs)
        pool.refill()
        min_idle = pool.stats().min_idle
        text = f"Pool {pool.name}: what lacks of {min_idle} ready connections is opened now."
        return Done(text, details={"min_idle": min_idle}, said="pool_refilled")

    def end_conversation(order: Order) -> Done | None:
        _only(order, "conversation_id")
        is_here = conversations.end_one(_text(order, "conversation_id"), _NORMAL_CLOSE, BY_OPERATOR)
        return Done("The conversation is ended.", said="conversation_ended") if is_here else None

    def forget_keys(order: Order) -> Done:
        _only(order)
        api_keys.forget()
        return Done("Every API key is looked up again.", said="keys_forgotten")

    return {
        OrderKind.POOL_RESIZE: Deed(resize),
        OrderKind.POOL_DRAIN: Deed(drain),
        OrderKind.POOL_REFILL: Deed(refill),
        OrderKind.CONVERSATION_END: Deed(end_conversation),
        OrderKind.KEYS_FORGET: Deed(forget_keys),
        OrderKind.SECRETS_REFRESH: Deed(_refresher(secrets), takes_time=True),
        OrderKind.CANARY: Deed(_canary(canaries), takes_time=True),
    }


def _refresher(secrets: SecretsManager) -> Callable[[Order], Done]:
    def refresh(order: Order) -> Done:
        _only(order)
        if not secrets.can_refresh:
            text = "They come from the environment: they change when the service is restarted."
            return Done(text, is_done=False, said="secrets_of_environment")
        before = secrets.status()
        has_changed = secrets.refresh(REFRESH_SECONDS)
        status = secrets.status()
        details = {"version": status.version, "state": status.state.value, "changed": has_changed}
        if status.failed_at is not None and status.failed_at != before.failed_at:
            text = f"They could not be read: {status.last_cause}."
            return Done(text, is_done=False, details={**details, "cause": status.last_cause}, said="secrets_failed")
        if status.read_at == before.read_at:
            text = f"They were not read within {REFRESH_SECONDS:g} s."
            return Done(
                text, is_done=False, details={**details, "seconds": round(REFRESH_SECONDS)}, said="secrets_late"
            )
        news = "other values than before" if has_changed else "the same values as before"
        text = f"They were read: version {status.version}, {news}."
        return Done(text, details=details, said="secrets_changed" if has_changed else "secrets_same")

    return refresh


def _canary(canaries: AudibleCanaries) -> Callable[[Order], Done]:
    def sing(order: Order) -> Done:
        _only(order, "provider", "capability")
        provider, capability = _text(order, "provider"), _text(order, "capability")
        if order.target == EVERYBODY:
            raise RequestError("A canary is for one worker: each one costs money.")
        if capability not in list(Capability):
            raise RequestError("A capability is conversation or speech.", param="capability")
        is_speech = capability == Capability.SPEECH
        try:
            trial = canaries.speak(provider) if is_speech else canaries.converse(provider)
        except ServiceUnavailableError as exc:
            text, details = f"{provider} does not: {exc.message}", {"provider": provider, "fault": exc.code}
            return Done(text, is_done=False, details=details, said="canary_unavailable")
        except RequestError:
            raise
        except VoceroError as exc:
            fault = fault_of(exc)
            words = words_of(fault)
            details = {"fault": fault.code[:60], "cause": fault.cause.value, "domain": fault.domain.value}
            return Done(f"{provider} does not: {words}.", is_done=False, details=details)
        return _sung(provider, trial, is_speech=is_speech)

    return sing


def _sung(provider: str, trial: Trial, *, is_speech: bool) -> Done:
    what = "first sound" if is_speech else "conversation open"
    details = {"first_byte_seconds": trial.first_byte_seconds, "seconds": trial.seconds, "bytes": trial.size}
    return Done(f"{provider}: {what} after {trial.first_byte_seconds:.2f} s.", details=details, sound=trial.wav)


# --- Arguments


def _only_pool(order: Order, elevenlabs: ElevenLabsService) -> ConnectionPool[Any]:
    _only(order, "pool")
    return _pool(order, elevenlabs)


def _pool(order: Order, elevenlabs: ElevenLabsService) -> ConnectionPool[Any]:
    name = _text(order, "pool")
    found = [pool for pool in elevenlabs.pools() if pool.name == name]
    if not found:
        raise RequestError(f"A pool is one of: {', '.join(PoolName)}.", param="pool")
    return found[0]


def _only(order: Order, *names: str) -> None:
    if set(order.arguments) != set(names):
        raise RequestError(f"This order has these arguments and no others: {', '.join(names) or 'none'}.")


def _text(order: Order, name: str) -> str:
    found = order.arguments[name]
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST_ID:
        raise RequestError(f"{name} is a text of 1 to {_LONGEST_ID} characters.", param=name)
    return found


def _whole(order: Order, name: str, least: int) -> int:
    found = order.arguments[name]
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= MOST_CONNECTIONS:
        raise RequestError(f"{name} is a whole number from {least} to {MOST_CONNECTIONS}.", param=name)
    return found
