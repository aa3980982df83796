"""What a worker knows of its conversations: who leads each, and how one of them is ended."""

from __future__ import annotations

from contextlib import ExitStack

from scripts.launcher.waiting import wait_until
from service.conversation.endings import BY_OPERATOR, Ending
from service.conversation.registry import ConversationRegistry
from service.metrics_conversations import EndReason


class Talk:
    """A conversation that notes how it is ended."""

    def __init__(self, conversation_id: str | None, provider: str) -> None:
        self.conversation_id = conversation_id
        self.provider = provider
        self.ends: list[tuple[int, str]] = []

    def drain(self, reconnect_in_seconds: float) -> None:
        raise AssertionError("nobody leaves")

    def end(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


def test_one_conversation_is_ended_by_its_id_and_no_other() -> None:
    registry = ConversationRegistry(capacity=10)
    talks = [Talk("conv_1", "elevenlabs"), Talk("conv_2", "local"), Talk(None, "")]
    with ExitStack() as stack:
        for talk in talks:
            stack.enter_context(registry.place(talk))
        assert registry.end_one("conv_2", 1000, BY_OPERATOR)
        assert not registry.end_one("conv_3", 1000, BY_OPERATOR)
        wait_until(lambda: talks[1].ends == [(1000, BY_OPERATOR)], 10, "it is ended")
        assert (talks[0].ends, talks[2].ends) == ([], [])
    assert not registry.end_one("conv_1", 1000, BY_OPERATOR)


def test_those_that_are_led_are_counted_by_who_leads_them() -> None:
    registry = ConversationRegistry(capacity=10)
    assert (registry.speaking(), registry.capacity) == ({}, 10)
    talks = [Talk("1", "elevenlabs"), Talk("2", "elevenlabs"), Talk("3", "local"), Talk(None, "")]
    with ExitStack() as stack:
        for talk in talks:
            stack.enter_context(registry.place(talk))
        talks[0].provider = "local"
        assert registry.speaking() == {"elevenlabs": 1, "local": 2}


def test_what_an_operator_ends_is_told_as_an_order_and_not_as_a_failure() -> None:
    assert Ending("service", 1000, BY_OPERATOR).category is EndReason.DISABLED
