"""Whose a conversation is and which token is good, as its owner decides it without Redis."""

from __future__ import annotations

import pytest

from service.conversation import resume_state
from service.conversation.resume_state import Progress, ResumeFacts, ResumeState, Verdict, new_token, read_token
from service.errors import InvalidResumeTokenError


def digest_of(token: str) -> str:
    return read_token(token)[1]


@pytest.fixture
def state() -> ResumeState:
    return ResumeState("conv_1", ResumeFacts("agent"), Progress)


def test_a_token_names_its_conversation_and_cannot_be_guessed() -> None:
    tokens = {new_token("conv.1") for _ in range(100)}
    assert len(tokens) == 100
    assert {read_token(token)[0] for token in tokens} == {"conv.1"}
    assert {len(token) for token in tokens} == {len("conv.1") + 44}


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "conv_1", "conv_1.", "conv_1.short", ".".join(["", "A" * 43]), "conv_1." + "A" * 44, "c." + "Ä" * 43,
        "x" * 257 + "." + "A" * 43, "conv_1." + "A" * 42 + "\n", "conv_1." + "A" * 42 + "=",
    ],
)  # fmt: skip
def test_what_cannot_be_a_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidResumeTokenError):
        read_token(token)


def test_a_token_works_once_and_is_told_from_a_forged_one(state: ResumeState) -> None:
    first = state.issue()
    assert state.show(digest_of(first)) is Verdict.OK
    assert state.fence == 2
    second = state.issue()
    assert state.show(digest_of(first)) is Verdict.UNCONFIRMED
    assert state.confirm()
    assert not state.confirm()
    assert state.show(digest_of(first)) is Verdict.USED
    assert state.show(digest_of(new_token("conv_1"))) is Verdict.INVALID
    assert state.show(digest_of(second)) is Verdict.OK


def test_the_network_that_drops_before_the_next_token_arrives_leaves_the_last_one_good(state: ResumeState) -> None:
    first = state.issue()
    state.lose_client()
    assert state.show(digest_of(first)) is Verdict.OK
    lost = state.issue()
    state.lose_client()
    assert state.show(digest_of(first)) is Verdict.OK
    assert state.show(digest_of(lost)) is Verdict.USED
    second = state.issue()
    state.confirm()
    state.lose_client()
    assert state.show(digest_of(first)) is Verdict.USED
    assert state.show(digest_of(second)) is Verdict.OK


def test_if_the_next_token_has_arrived_after_all_the_last_one_is_used_up(state: ResumeState) -> None:
    first = state.issue()
    state.show(digest_of(first))
    second = state.issue()
    state.lose_client()
    assert state.show(digest_of(second)) is Verdict.OK
    assert state.show(digest_of(first)) is Verdict.USED


def test_who_used_a_token_and_was_never_heard_of_again_does_not_keep_it(
    state: ResumeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = state.issue()
    assert state.show(digest_of(first)) is Verdict.OK
    assert state.show(digest_of(first)) is Verdict.UNCONFIRMED
    monkeypatch.setattr(resume_state.time, "monotonic", lambda: 1e12)
    assert state.show(digest_of(first)) is Verdict.OK
    assert state.fence == 3


def test_only_the_last_eight_tokens_are_remembered(state: ResumeState) -> None:
    tokens = []
    for _ in range(10):
        tokens.append(state.issue())
        assert state.show(digest_of(tokens[-1])) is Verdict.OK
    state.issue()
    state.confirm()
    verdicts = [state.show(digest_of(token)) for token in tokens]
    assert verdicts == [Verdict.INVALID] * 2 + [Verdict.USED] * 8


def test_a_claim_whose_answer_was_lost_is_taken_over(state: ResumeState) -> None:
    first = state.issue()
    state.adopt(2, digest_of(first))
    state.adopt(2, "anything")
    assert state.fence == 2
    snapshot = state.snapshot()
    assert (snapshot.good, snapshot.last) == ("", digest_of(first))


def test_no_token_or_initiation_is_in_a_repr(state: ResumeState) -> None:
    token = state.issue()
    claim = state.as_claim(digest_of(token))
    assert digest_of(token) not in repr(claim)
    assert "secret words" not in repr(ResumeFacts("agent", initiation=b"secret words"))
