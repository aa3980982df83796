"""Many conversations at once, something breaking in each of them, and what came of it.

The key decision: rules go to the sandbox in batches, each for one conversation's user, so that conversations run beside
each other and what strikes one does not shift what strikes another.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from service.fallback.backup_lines import outage_greetings
from service.fallback.faq_dialogue import FaqDialogue
from tests.campaign.caller import Caller, TalkError, problems_with
from tests.campaign.injections import Injection
from tests.campaign.transcript import Change

FAQ_FILE = Path(__file__).parents[2] / "sandbox" / "faq.yaml"
GREETING = "Hello, this is the demo shop. How can I help you?"
QUESTIONS = (
    "Do you have parking?", "How do returns work?", "What are your opening hours?", "How much does delivery cost?",
    "Where is your shop?", "How can I pay?", "Do you ship abroad?", "Do you have gift cards?",
)  # fmt: skip
SERVICE_SETTINGS = {
    "VOCERO_WORKERS": "2",
    "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    "VOCERO_FALLBACK_FAQ": str(FAQ_FILE),
    "VOCERO_FALLBACK_RETURN": "stick",
    "VOCERO_LOG_LEVEL": "info",
    # Here faults are the rule, and each is to be met.
    "VOCERO_BREAKER_ENABLED": "false",
    # A connection that stands ready takes one of the sandbox's places.
    "VOCERO_POOL_AGENTS_MIN_IDLE": "0",
}
FIRST_AUDIO_SECONDS = 1.0
HASTY_SETTINGS = {"VOCERO_FIRST_AUDIO_SECONDS": str(FIRST_AUDIO_SECONDS), "VOCERO_AGENT_THINKING_SECONDS": "0.5"}
"""For talks that are broken: the deadlines are short, because the sandbox needs no time; a busy machine needs some."""

SANDBOX_OPTIONS = ("--latency-scale", "0", "--no-ears", "--plan", "business", "--agent-slots", "500")
BATCH = 200
"""Rules that are in force at once; as many as the sandbox takes."""

REQUEST_SECONDS = 30.0
LONGEST_ANSWER = 125
"""Characters; what is longer makes the campaign long and shows nothing more."""


@dataclass
class Outcome:
    """What came of one conversation. `seconds`: from the break (if only the time tells of it: from the deadline) to the
    first sound of the backup, if it was waited for.

    `is_struck`: the sandbox says that the fault has happened.
    """

    name: str
    kind: str
    failures: list[str] = field(default_factory=list)
    is_struck: bool = False
    seconds: float | None = None
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """A service before a sandbox; the addresses have no slash at their ends."""

    service: str
    sandbox: str
    agent_id: str = "agent_demo"

    def url(self, **query: str) -> str:
        """Where a conversation is opened."""
        asked = {"agent_id": self.agent_id, "vocero_events": "true", **query}
        base = self.service.replace("http", "ws", 1)
        return f"{base}/v1/convai/conversation?" + "&".join(f"{name}={value}" for name, value in asked.items())

    def arm(self, rules: Sequence[dict[str, Any]]) -> None:
        """Put rules in force instead of those that are there."""
        requests.delete(f"{self.sandbox}/sandbox/faults", timeout=REQUEST_SECONDS).raise_for_status()
        if rules:
            answer = requests.post(f"{self.sandbox}/sandbox/faults", json=list(rules), timeout=REQUEST_SECONDS)
            if answer.status_code != 201:
                raise AssertionError(answer.text)

    def fired(self) -> list[int]:
        """How often each of the rules in force has struck."""
        rules = requests.get(f"{self.sandbox}/sandbox/faults", timeout=REQUEST_SECONDS).json()
        return [rule["fired"] for rule in rules]

    def accounts(self) -> dict[str, list[dict[str, Any]]]:
        """What the sandbox did in its latest conversations, by user."""
        found: dict[str, list[dict[str, Any]]] = {}
        for account in requests.get(f"{self.sandbox}/sandbox/conversations", timeout=REQUEST_SECONDS).json():
            found.setdefault(account["user_id"], []).append(account)
        return found


def answers() -> dict[str, str]:
    """What the agents of the sandbox, and a backup with the same file, answer to each question."""
    dialogue = FaqDialogue.load(FAQ_FILE)
    found = {question: dialogue.reply(question, language="en").text for question in QUESTIONS}
    return {question: text for question, text in found.items() if len(text) <= LONGEST_ANSWER}


def greetings() -> list[str]:
    """What a conversation may begin with, also when it begins without ElevenLabs."""
    return [GREETING, *outage_greetings().values()]


def run(
    scene: Scene, injections: Sequence[Injection], *, at_once: int, note: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Hold these conversations, so many at once; `note` is told of each as it is judged."""
    outcomes = []
    for begin in range(0, len(injections), BATCH):
        batch = injections[begin : begin + BATCH]
        scene.arm([each.rule for each in batch])
        talks = asyncio.run(_all(scene, batch, at_once))
        accounts = scene.accounts()
        for injection, fired, (caller, failure) in zip(batch, scene.fired(), talks, strict=True):
            outcome = _judge(injection, caller, failure, accounts.get(injection.user_id, []))
            # Whom a refusal meets is chance: it comes before there is a user.
            outcome.is_struck |= "user" not in injection.rule and fired > 0
            outcomes.append(outcome)
            if note is not None:
                note(outcome)
    scene.arm([])
    return outcomes


async def _all(scene: Scene, injections: Iterable[Injection], at_once: int) -> list[tuple[Caller, str]]:
    places = asyncio.Semaphore(at_once)

    async def one(injection: Injection) -> tuple[Caller, str]:
        caller = Caller(scene.url(), injection.user_id)
        async with places:
            try:
                await caller.talk(injection.lines)
            except TalkError as exc:
                return caller, str(exc)
        return caller, ""

    return await asyncio.gather(*(one(injection) for injection in injections))


def _judge(injection: Injection, caller: Caller, failure: str, accounts: list[dict[str, Any]]) -> Outcome:
    struck = [account["struck_at"] for account in accounts if account["struck_at"] is not None]
    outcome = Outcome(injection.user_id, injection.kind, is_struck=bool(struck))
    outcome.causes = tuple(change.cause for change in caller.transcript.changes)
    if failure and injection.ends is not None and struck and caller.ending is not None:
        if caller.ending[0] != injection.ends:
            outcome.failures.append(f"{failure}, and not with {injection.ends}")
        return outcome
    if failure:
        outcome.failures.append(f"{failure} ({', '.join(outcome.causes) or 'no change'}; {injection.rule})")
    else:
        outcome.failures += problems_with(caller, injection.lines, greetings())
    _check_said(caller, accounts, outcome)
    if caller.transcript.changes and struck:
        outcome.seconds = _seconds_to_backup(injection, caller, min(struck))
    return outcome


def _check_said(caller: Caller, accounts: list[dict[str, Any]], outcome: Outcome) -> None:
    """What ElevenLabs' side was asked to say is what the client was told, as far as it came."""
    said = [each["text"] for account in accounts for each in account["said"]]
    told = [answer.text for answer in caller.transcript.answers if answer.text is not None]
    unknown = [text for text in said[:-1] if text not in told]  # the last may have been lost on its way
    outcome.failures += [f"the client was never told of {text!r}" for text in unknown]


def _seconds_to_backup(injection: Injection, caller: Caller, struck_at: float) -> float | None:
    change, heard_at = caller.transcript.changes[0], caller.transcript.backup_audio_at[0]
    if heard_at is None or not change.is_awaited:
        return None
    return heard_at - (_deadline(caller, change) if injection.needs_time else struck_at)


def _deadline(caller: Caller, change: Change) -> float:
    """When the service must have noticed at the latest that something is missing, if only the time tells.

    An answer that stops has so long from when its sound has run out. What one that does not begin has depends on what
    the agent was measured to need, which nobody here knows; so that counts from when the service says that it is late.
    """
    if change.cause != "answer_stalled" or not change.ran_out_at:
        return change.at
    asked = [at for at in caller.asked_at if at <= change.at]
    return min(change.at, max(change.ran_out_at, *asked, 0.0) + FIRST_AUDIO_SECONDS)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which the share of all lies; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def report(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A table by kind, the head first."""
    rows: list[tuple[str, ...]] = [("what broke", "conversations", "struck", "wrong", "to the backup: median", "p95")]
    kinds = Counter(outcome.kind for outcome in outcomes)
    for kind in [*sorted(kinds), "all"]:
        those = [outcome for outcome in outcomes if kind in (outcome.kind, "all")]
        seconds = [outcome.seconds for outcome in those if outcome.seconds is not None]
        median = f"{statistics.median(seconds):.2f} s" if seconds else "-"
        struck, wrong = sum(each.is_struck for each in those), sum(bool(each.failures) for each in those)
        p95 = f"{percentile(seconds, 0.95):.2f} s" if seconds else "-"
        rows.append((kind, str(len(those)), str(struck), str(wrong), median, p95))
    return rows
