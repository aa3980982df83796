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


class ProviderSignInError(VoceroError):
    """Nobody was signed in; trying again is up to the person. `detail` is for the log: no token, no name."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail
