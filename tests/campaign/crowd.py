"""A crowd of callers that talk until they are told to stop, whatever becomes of their connections meanwhile.

The key decision: they run in an event loop of a thread of their own, so that a test breaks things in plain lines.
What they saw is compared with what the database says in the end: each question asked is there exactly once, and so is
each answer that was heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from scripts.launcher.waiting import wait_until
from service.storage import ConversationRecord, Conversations, Database, Speaker
from tests.campaign import campaign
from tests.campaign.caller import Line, TalkError, problems_with
from tests.campaign.resuming import Loss, ResumingCaller

LIMIT_SECONDS = 60.0
START_SECONDS = 180.0
"""A hundred who begin at once, on a machine that others use."""


@dataclass(frozen=True)
class CrowdResult:
    """What became of a crowd: what was wrong, and every connection that was lost."""

    problems: list[str]
    losses: list[Loss]
    questions: int


class Crowd:
    """So many callers; `url_of` as `ResumingCaller` takes it. They talk from `__enter__` to `finish`."""

    def __init__(self, url_of: Callable[..., str], count: int, *, seed: int, pause_seconds: float = 0.5) -> None:
        self._answers = campaign.answers()
        self._pause_seconds = pause_seconds
        self.callers = [
            ResumingCaller(url_of, f"crowd-{seed}-{number}", dice=random.Random(seed * 1_000 + number))
            for number in range(count)
        ]
        self._lines: list[list[Line]] = [[] for _ in self.callers]
        self._failures: list[str] = []
        self._stops = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="crowd", daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        wait_until(
            lambda: self._failures or all(len(caller.transcript.answers) > 1 for caller in self.callers),
            START_SECONDS,
            "all talk",
        )
        if self._failures:
            raise AssertionError(self._failures)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stops.set()
        self._thread.join(LIMIT_SECONDS)

    def drop(self, caller: ResumingCaller) -> None:
        """Cut a caller's connection."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(caller.drop)

    def wait_until_all_went_on(self) -> None:
        """Wait until each has asked something new and been answered to the end."""
        before = [len(caller.transcript.answers) for caller in self.callers]
        enough = [count + 2 for count in before]
        wait_until(
            lambda: self._failures or all(
                len(caller.transcript.answers) >= least for caller, least in zip(self.callers, enough, strict=True)
            ),
            LIMIT_SECONDS,
            "everybody goes on",
        )  # fmt: skip

    def finish(self) -> CrowdResult:
        """Let everybody hear the answer to their last question and hang up."""
        self._stops.set()
        self._thread.join(LIMIT_SECONDS)
        problems = list(self._failures)
        if self._thread.is_alive():
            problems.append("some callers never came to an end")
        for caller, lines in zip(self.callers, self._lines, strict=True):
            found = problems_with(caller, lines, campaign.greetings())
            problems += [f"{caller.user_id}: {problem}" for problem in found]
        return CrowdResult(problems, self.losses(), sum(map(len, self._lines)))

    def losses(self) -> list[Loss]:
        """Every connection that was lost until now."""
        return [loss for caller in self.callers for loss in caller.losses]

    async def _all(self) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(self._talk(caller, lines) for caller, lines in zip(self.callers, self._lines, strict=True))
        )

    async def _talk(self, caller: ResumingCaller, lines: list[Line]) -> None:
        dice = random.Random(caller.user_id)
        caller.pauses = lambda: dice.uniform(0, 2 * self._pause_seconds)
        try:
            await caller.talk(self._endless(dice, lines))
        except TalkError as exc:
            self._failures.append(f"{caller.user_id}: {exc}")

    def _endless(self, dice: random.Random, lines: list[Line]) -> Iterator[Line]:
        question = ""
        while not self._stops.is_set():
            question = dice.choice(sorted(self._answers.keys() - {question}))
            lines.append(Line(question, self._answers[question]))
            yield lines[-1]

    # --- What was kept

    def problems_at_last(self, database: Database, limit: float = LIMIT_SECONDS) -> list[str]:
        """`problems_in`, once all is written that will be: an entry may come after the end that it stands before."""
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self._is_written(database) and not self.problems_in(database), limit)
        return self.problems_in(database)

    def problems_in(self, database: Database) -> list[str]:
        """What the database has of these conversations now that is not what was said."""
        kept = Conversations(database)
        found = []
        for caller, lines in zip(self.callers, self._lines, strict=True):
            record = kept.get(caller.conversation_id or "")
            if record is None:
                found.append(f"{caller.user_id}: nothing is kept of its conversation")
                continue
            found += [f"{caller.user_id}: {problem}" for problem in _problems_of(record, caller, lines)]
        return found

    def _is_written(self, database: Database) -> bool:
        kept = Conversations(database)
        records = [kept.get(caller.conversation_id or "") for caller in self.callers]
        return all(record is not None and record.summary.ended_at is not None for record in records)


def _problems_of(record: ConversationRecord, caller: ResumingCaller, lines: list[Line]) -> list[str]:
    times = zip(lines, caller.asked_at, strict=False)
    asked = Counter(line.text for line in lines)
    unwritten = Counter(line.text for line, at in times if caller.may_be_unwritten(at))
    said = Counter(each.text for each in record.utterances if each.speaker is Speaker.USER)
    found = [f"{text!r} was asked {asked[text]} times and is kept {said[text]} times"
             for text in sorted({*asked, *said})
             if not asked[text] - unwritten[text] <= said[text] <= asked[text]]  # fmt: skip
    whole = [answer for answer in caller.transcript.answers if answer.text and not answer.may_be_short]
    heard = Counter(answer.text for answer in whole if not caller.may_be_unwritten(answer.at))
    answered = Counter(each.text for each in record.utterances if each.speaker is Speaker.AGENT)
    most = Counter(line.answer for line in lines) + Counter(answer.text for answer in caller.repeated())
    found += [f"{text!r} was heard {heard[text]} times and is kept {answered[text]} times; {_as_kept(record, text)}"
              for text in sorted(filter(None, heard)) if answered[text] < heard[text]]  # fmt: skip
    found += [f"{text!r} is kept {answered[text]} times, for {most[text]} questions"
              for text in sorted(filter(None, most)) if answered[text] > most[text]]  # fmt: skip
    numbers = [each.sequence for each in record.utterances]
    if len(set(numbers)) != len(numbers) or numbers != sorted(numbers):
        found.append(f"sequence numbers are not rising: {numbers}")
    return found


def _as_kept(record: ConversationRecord, text: str) -> str:
    """What may be known of an answer under another text: all that was kept with the same beginning."""
    alike = [
        f"{each.sequence} {each.provider} {each.text!r}{' interrupted' * each.interrupted}"
        for each in record.utterances
        if each.speaker is Speaker.AGENT and each.text[:12] == text[:12]
    ]
    newest = record.utterances[-1].sequence if record.utterances else 0
    return f"alike: {alike}, newest {newest}, ended {record.summary.ended_at is not None}"
