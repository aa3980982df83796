"""Why a sign-in by the provider came to nothing."""

from __future__ import annotations

from enum import StrEnum

from service.errors import VoceroError


class Reason(StrEnum):
    """What whoever tried is told; each has words of its own (`oidc.error.REASON.text`)."""

    AWAY = "away"  # the provider does not answer, or nothing that is OpenID Connect
    TOO_MANY = "too_many"  # too many sign-ins were begun from this network, or in all
    STALE = "stale"  # not begun in this browser, begun too long ago, or used already
    DENIED = "denied"  # the provider, or its user, said no
    MISTRUSTED = "mistrusted"  # what the provider sent does not hold: signature, issuer, audience, time, nonce
    NO_GROUP = "no_group"  # none of the groups that give a role
    DISABLED = "disabled"  # an admin of ours lets this user in no more
    NOT_FRESH = "not_fresh"  # the provider did not ask for the password again
    ANOTHER = "another"  # somebody else came back than went away to confirm it


class Fault(StrEnum):
    """What is wrong with a provider that is AWAY: whoever looks after it does something else about each."""

    NETWORK = "network"  # no connection, no name, no answer in time
    CERTIFICATE = "certificate"  # nobody whom we trust vouches for it
    ANSWER = "answer"  # another status than 200, no JSON object, or too long
    ISSUER = "issuer"  # it calls itself otherwise than we do
    ENDPOINTS = "endpoints"  # an address is missing, or is not https
    KEYS = "keys"  # its list of keys is empty, or cannot be read


class ProviderSignInError(VoceroError):
    """Nobody was signed in; trying again is up to the person. `detail` is for the log: no token, no name."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class ProviderAwayError(ProviderSignInError):
    """The provider does not say what it has to say of itself; `fault` is of what kind that is."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(Reason.AWAY, detail)
        self.fault = fault
