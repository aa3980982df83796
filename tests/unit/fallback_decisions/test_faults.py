"""Whose fault a failure is: every class of ours, and the words that say it better than their class."""

from __future__ import annotations

import pytest

from service import errors
from service.elevenlabs.fault_actions import BY_CLASS, BY_CODE
from service.elevenlabs.fault_rules import CLOSE_RULES, HTTP_RULES, WIRE_RULES
from service.elevenlabs.faults import (
    FailoverCause,
    Fault,
    FaultAction,
    FaultDomain,
    error_from_close,
    error_from_exception,
    error_from_response,
    fault_of,
)

REPORT, NEXT, RETRY = FaultAction.REPORT, FaultAction.NEXT_PROVIDER, FaultAction.RETRY
SLOT, KEY = FaultAction.WAIT_FOR_SLOT, FaultAction.OTHER_KEY


def classes(root: type[BaseException]) -> list[type[BaseException]]:
    return [root, *(each for sub in root.__subclasses__() for each in classes(sub))]


OURS = [each for each in classes(errors.VoceroError) if each.__module__ == errors.__name__]


WITHOUT_WORDS = {
    errors.MaintenanceError,
    errors.InvalidResumeTokenError,
    errors.ResumeTokenUsedError,
    errors.ResumeTokenExpiredError,
}


def made(kind: type[BaseException]) -> BaseException:
    if issubclass(kind, errors.SocketError):
        return kind(1006, "")
    if issubclass(kind, errors.HandshakeError):
        return kind(503)
    if issubclass(kind, errors.UpstreamError):
        return kind("It failed.", code="some_word")
    if kind in WITHOUT_WORDS:
        return kind()
    if kind is errors.KeyBusyError:
        return errors.KeyBusyError(2)
    if kind is errors.KeyQuotaError:
        return errors.KeyQuotaError(used=900, limit=1_000, asked=200)
    if kind is errors.SecretsSourceError:
        return kind("away", cause="timeout")
    if issubclass(kind, errors.NotFoundError):
        return kind("gone", code="voice_not_found")
    if issubclass(kind, errors.TooManyRequestsError | errors.ServiceUnavailableError):
        return kind("later", retry_after=1.0)
    return kind("it failed")


EXPECTED: dict[type[BaseException], tuple[FaultDomain, FaultAction, bool, bool]] = {
    # class: whose fault, what to do first, may another provider be asked, does it speak against this one
    errors.VoceroError: (FaultDomain.US, REPORT, False, False),
    errors.ConfigurationError: (FaultDomain.US, REPORT, False, False),
    errors.SettingsError: (FaultDomain.US, REPORT, False, False),
    errors.SchemaError: (FaultDomain.US, REPORT, False, False),
    errors.SecretsSourceError: (FaultDomain.US, REPORT, False, False),
    errors.RequestError: (FaultDomain.CALLER, REPORT, False, False),
    errors.NotAuthenticatedError: (FaultDomain.CALLER, REPORT, False, False),
    errors.NotAllowedError: (FaultDomain.CALLER, REPORT, False, False),
    errors.NotFoundError: (FaultDomain.CALLER, REPORT, False, False),
    errors.ConflictError: (FaultDomain.CALLER, REPORT, False, False),
    errors.UnprocessableError: (FaultDomain.CALLER, REPORT, False, False),
    errors.InvalidResumeTokenError: (FaultDomain.CALLER, REPORT, False, False),
    errors.ResumeTokenUsedError: (FaultDomain.CALLER, REPORT, False, False),
    errors.ResumeTokenExpiredError: (FaultDomain.CALLER, REPORT, False, False),
    errors.TooManyRequestsError: (FaultDomain.CALLER, REPORT, False, False),
    errors.KeyBusyError: (FaultDomain.CALLER, REPORT, False, False),
    errors.KeyQuotaError: (FaultDomain.CALLER, REPORT, False, False),
    errors.ServiceUnavailableError: (FaultDomain.US, NEXT, True, False),
    errors.SecretsUnavailableError: (FaultDomain.KEY, NEXT, True, False),
    errors.MaintenanceError: (FaultDomain.US, REPORT, False, False),
    errors.SocketError: (FaultDomain.CALLER, REPORT, False, False),
    errors.ConnectionClosedError: (FaultDomain.CALLER, REPORT, False, False),
    errors.FrameError: (FaultDomain.CALLER, REPORT, False, False),
    errors.WriteDeadlineError: (FaultDomain.CALLER, REPORT, False, False),
    errors.HandshakeError: (FaultDomain.PROVIDER, RETRY, True, True),
    errors.UnansweredError: (FaultDomain.NETWORK, RETRY, True, True),
    errors.CapacityError: (FaultDomain.US, NEXT, True, False),
    errors.PoolTimeoutError: (FaultDomain.NETWORK, RETRY, True, True),
    errors.PoolExhaustedError: (FaultDomain.US, NEXT, True, False),
    errors.PoolClosedError: (FaultDomain.US, NEXT, True, False),
    errors.LimiterTimeoutError: (FaultDomain.QUOTA, SLOT, True, False),
    errors.LimiterFullError: (FaultDomain.QUOTA, SLOT, True, False),
    errors.LimiterClosedError: (FaultDomain.US, NEXT, True, False),
    errors.UpstreamError: (FaultDomain.PROVIDER, RETRY, True, True),
    errors.UpstreamRequestError: (FaultDomain.CALLER, REPORT, False, False),
    errors.UpstreamPolicyError: (FaultDomain.POLICY, NEXT, True, False),
    errors.UpstreamKeyError: (FaultDomain.KEY, KEY, True, True),
    errors.UpstreamQuotaError: (FaultDomain.QUOTA, NEXT, True, True),
    errors.UpstreamConcurrencyError: (FaultDomain.QUOTA, SLOT, True, False),
    errors.UpstreamBusyError: (FaultDomain.PROVIDER, RETRY, True, True),
    errors.UpstreamUnavailableError: (FaultDomain.PROVIDER, RETRY, True, True),
    errors.UpstreamConnectError: (FaultDomain.NETWORK, RETRY, True, True),
    errors.UpstreamTimeoutError: (FaultDomain.PROVIDER, RETRY, True, True),
    errors.UpstreamProtocolError: (FaultDomain.PROVIDER, RETRY, True, True),
}


def told(fault: Fault) -> tuple[FaultDomain, FaultAction, bool, bool]:
    return fault.domain, fault.action, fault.may_go_elsewhere, fault.is_evidence


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_class_of_ours_is_judged(kind: type[BaseException]) -> None:
    # One that is added to errors.py is added here by somebody who has thought about it.
    assert told(fault_of(made(kind), untried=True)) == EXPECTED[kind]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_what_left_the_service_was_tried_as_far_as_it_may_be(kind: type[BaseException]) -> None:
    fault = fault_of(made(kind))
    assert fault.action is (NEXT if fault.may_go_elsewhere else REPORT)


def test_every_domain_and_every_action_occurs() -> None:
    judged = [fault_of(made(kind), untried=True) for kind in OURS]
    assert {fault.domain for fault in judged} == set(FaultDomain)
    assert {fault.action for fault in judged} == set(FaultAction)


def test_a_bug_is_ours_and_goes_nowhere() -> None:
    assert told(fault_of(KeyError("word of a user"))) == (FaultDomain.US, REPORT, False, False)
    assert fault_of(KeyError("word of a user")).code == "unexpected"


NOT_THE_PROVIDERS = [
    errors.RequestError("The text is empty.", code="empty_text"),
    errors.UpstreamRequestError("Nothing to speak.", code="empty_text", status=400),
    errors.ConnectionClosedError(1000, ""),  # a client that leaves
    errors.ConnectionClosedError(1006, ""),  # or whose network does
    errors.WriteDeadlineError(1011, ""),
    error_from_close(1008, "Override for field 'first_message' is not allowed by config."),
    error_from_close(1008, "Missing required dynamic variables in the first message."),
    error_from_close(1008, "invalid_message"),
    error_from_close(3000, "The agent does not exist"),
    error_from_close(1002, "safety_violation"),
    # The agent has ended the conversation with its tool, in a turn of nothing but tool calls.
    error_from_exception(errors.ConnectionClosedError(1000, "")),
    errors.UpstreamConcurrencyError("Too many.", code="concurrent_limit_exceeded", status=429),
    error_from_close(1002, "custom_llm_error: the language model of the operator does not answer"),
]


@pytest.mark.parametrize("exc", NOT_THE_PROVIDERS, ids=str)
def test_it_is_never_held_against_the_provider(exc: BaseException) -> None:
    fault = fault_of(exc)
    assert not fault.is_evidence
    assert fault.domain not in {FaultDomain.PROVIDER, FaultDomain.NETWORK}


def test_what_safety_forbids_is_not_got_around_but_what_the_plan_forbids_is() -> None:
    for code in ("safety_violation", "content_moderation", "prohibited_use"):
        assert not fault_of(errors.UpstreamPolicyError("No.", code=code)).may_go_elsewhere
    said = errors.UpstreamPolicyError("This text violates our Terms of Service.", code="http_403", status=403)
    assert not fault_of(said).may_go_elsewhere
    plan = error_from_response(403, {}, b'{"detail": {"status": "only_for_creator+", "message": "Upgrade your plan."}}')
    assert told(fault_of(plan)) == (FaultDomain.POLICY, NEXT, True, False)


CAUSES = [
    (errors.UpstreamTimeoutError("It does not come.", code="first_audio_late"), FailoverCause.FIRST_AUDIO_LATE),
    (errors.UpstreamTimeoutError("It does not go on.", code="answer_stalled"), FailoverCause.ANSWER_STALLED),
    (errors.UpstreamProtocolError("No sound in it.", code="silent"), FailoverCause.SILENT),
    (errors.UpstreamProtocolError("It broke off.", code="truncated"), FailoverCause.TRUNCATED),
    (errors.UpstreamTimeoutError("Silent.", code="read_timeout"), FailoverCause.SILENT),
    (error_from_exception(errors.FrameError(1002, "a reserved bit")), FailoverCause.BROKEN_PROTOCOL),
    (error_from_exception(errors.ConnectionClosedError(1006, "")), FailoverCause.CONNECTION_LOST),
    (error_from_exception(errors.WriteDeadlineError(1011, "")), FailoverCause.CONNECTION_LOST),
    (error_from_exception(errors.HandshakeError(500)), FailoverCause.SERVER_ERROR),
    (error_from_close(1011, ""), FailoverCause.CLOSED),
    (error_from_close(1002, "llm_timeout"), FailoverCause.CLOSED),
    (error_from_close(1012, ""), FailoverCause.CLOSED),
    (error_from_close(1013, ""), FailoverCause.BUSY),
    (error_from_close(3008, ""), FailoverCause.CONCURRENCY),
    (error_from_close(1002, "This request exceeds your quota limit."), FailoverCause.QUOTA),
    (errors.UpstreamConnectError("No.", code="connect_failed"), FailoverCause.UNREACHABLE),
    (errors.UpstreamKeyError("No.", code="invalid_api_key"), FailoverCause.KEY),
    (errors.SecretsUnavailableError("No keys."), FailoverCause.KEY),
    (errors.LimiterTimeoutError("full"), FailoverCause.CONCURRENCY),
    (errors.PoolExhaustedError("full"), FailoverCause.NO_ROOM),
]


@pytest.mark.parametrize(("exc", "cause"), CAUSES, ids=str)
def test_the_cause_says_what_happened(exc: BaseException, cause: FailoverCause) -> None:
    fault = fault_of(exc)
    assert fault.cause is cause
    assert fault.may_go_elsewhere


def test_whatever_elevenlabs_may_do_has_its_rule() -> None:
    kinds = {rule.error for table in (HTTP_RULES, CLOSE_RULES, WIRE_RULES) for rule in table}
    assert kinds <= set(EXPECTED)
    assert kinds <= set(BY_CLASS)
    codes = {rule.code for rule in CLOSE_RULES} | {rule.code for rule in WIRE_RULES}
    assert {"connection_lost", "custom_llm_error"} <= codes & set(BY_CODE)
