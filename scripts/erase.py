"""`python -m scripts.erase conversation ID | user ID | status`: forget a conversation, or everything of a user.

It goes from the database and from Redis now, and from ElevenLabs as soon as that confirms it: the service sees to that,
or with --wait this command. What a restored backup brings back is erased again. Nothing of this can be undone.

Exit codes: 0 erased (with --wait: and confirmed by ElevenLabs); 1 failed, run it again; 2 usage, or --yes is needed;
3 refused, because the service is in maintenance; 4 ordered, and not at its end yet: the service goes on with it.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scripts.stores import DONE, UNFINISHED, USAGE, Stores, open_elevenlabs, open_stores, told
from service.keeping.erasure import SETTLE_SECONDS, Erased, Erasure
from service.keeping.provider_requests import ProviderRequests
from service.keeping.run import Run
from service.storage import Database, ProviderDeletions, SubjectKind, Tombstone, Tombstones
from service.storage.conversation_export import moment

LOOK_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "status":
        if options.kind is not None and options.id is None:
            parser.error(f"the id of the {options.kind} is missing")
        return told(lambda: _show_status(options.kind, options.id))
    kind = SubjectKind(options.command)
    if not options.id.strip():
        print("The id is empty.", file=sys.stderr)
        return USAGE
    if not (options.yes or _agrees(kind, options.id)):
        print("Nothing was erased. Give --yes where there is no terminal.", file=sys.stderr)
        return USAGE
    return told(lambda: _erase(kind, options.id, wait=options.wait))


def _agrees(kind: SubjectKind, subject: str) -> bool:
    if not sys.stdin.isatty():
        return False
    what = "this conversation" if kind is SubjectKind.CONVERSATION else "every conversation of this user"
    print(f"{subject}\nErase {what} here and at ElevenLabs? This cannot be undone. Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


# --- Erasing -------------------------------------------------------------------------------------------------------


def _erase(kind: SubjectKind, subject: str, *, wait: float | None) -> int:
    with open_stores() as stores:
        stores.refuse_in_maintenance()
        erasure = Erasure(stores.database, stores.redis, settle_seconds=SETTLE_SECONDS)
        with _provider(stores, wanted=wait is not None) as requests:
            order = erasure.request(kind, subject, by=_operator())
            erased = erasure.carry_out(order, subject, Run())
            _tell(erased)
            if requests is None or wait is None:
                return DONE if erased.keys is not None else UNFINISHED
            return _wait(_Waiting(stores.database, erasure, requests, order, subject), wait)


@contextmanager
def _provider(stores: Stores, *, wanted: bool) -> Iterator[ProviderRequests | None]:
    if not wanted:
        yield None
        return
    with open_elevenlabs(stores.settings) as elevenlabs:
        yield ProviderRequests(stores.database, elevenlabs)


def _tell(erased: Erased) -> None:
    print(f"Erased {erased.conversations} conversations from the database.")
    if erased.keys is None:
        print("Redis does not answer; what lies there goes as soon as it does.", file=sys.stderr)
    else:
        print(f"Erased {erased.keys} keys from Redis.")


class _Waiting:
    """An order on its way to its end."""

    def __init__(
        self, database: Database, erasure: Erasure, requests: ProviderRequests, order: Tombstone, subject: str
    ) -> None:
        self._tombstones, self._deletions = Tombstones(database), ProviderDeletions(database)
        self._erasure = erasure
        self._requests = requests
        self._order = order
        self._subject = subject
        self._settled_at = time.monotonic() + erasure.settling.total_seconds()

    def go_on(self) -> tuple[bool, int]:
        """Do what can be done now; whether nothing is left here, and how many deletions ElevenLabs owes."""
        self._requests.ask_for(self._order, Run())
        owed = sum(deletion.confirmed_at is None for deletion in self._deletions.of(self._order))
        found = self._tombstones.get(self._order.kind, self._subject)
        if found is not None and found.applied_at is None and time.monotonic() >= self._settled_at:
            self._erasure.carry_out(self._order, self._subject, Run())
            found = self._tombstones.get(self._order.kind, self._subject)
        return found is None or found.applied_at is not None, owed


def _wait(waiting: _Waiting, seconds: float) -> int:
    ends_at = time.monotonic() + seconds
    while True:
        is_applied, owed = waiting.go_on()
        if is_applied and not owed:
            print("ElevenLabs has confirmed; nothing of it is left.")
            return DONE
        if time.monotonic() >= ends_at:
            left = [] if is_applied else ["a second look here"]
            left += [f"{owed} confirmations of ElevenLabs'"] if owed else []
            print(f"Not at its end after {seconds:g} s: {' and '.join(left)}. The service goes on.", file=sys.stderr)
            return UNFINISHED
        time.sleep(min(LOOK_SECONDS, max(0.0, ends_at - time.monotonic())))


def _operator() -> str:
    with suppress(KeyError, OSError):  # there is no such user in a container
        return f"{getpass.getuser()} (command line)"
    return "command line"


# --- Status --------------------------------------------------------------------------------------------------------


def _show_status(kind: str | None, subject: str | None) -> int:
    with open_stores() as stores:
        tombstones = Tombstones(stores.database)
        if kind is not None and subject is not None:
            found = tombstones.get(SubjectKind(kind), subject)
            orders = [] if found is None else [found]
        else:
            orders = tombstones.list_all()
        lines = [line for order in orders for line in _lines(stores.database, order, all_of_it=kind is not None)]
    print("\n".join(lines) if lines else "There is no such order." if kind else "Nothing is left to be erased.")
    return DONE


def _lines(database: Database, order: Tombstone, *, all_of_it: bool) -> list[str]:
    deletions = ProviderDeletions(database).of(order)
    owed = [deletion for deletion in deletions if deletion.confirmed_at is None]
    if not all_of_it and not owed and order.applied_at is not None:
        return []
    here = "open" if order.applied_at is None else f"done {moment(order.applied_at)}"
    confirmed = f"{len(deletions) - len(owed)} of {len(deletions)} confirmed"
    ordered = moment(order.requested_at)
    lines = [f"{order.kind} {order.hash[:16]}  ordered {ordered}  here: {here}  ElevenLabs: {confirmed}"]
    for deletion in owed:
        last = "not asked yet" if deletion.last_error is None else f"{deletion.attempts} times: {deletion.last_error}"
        lines.append(f"    next attempt {moment(deletion.next_attempt_at)}; {last}")
    return lines


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 86_400:
        raise argparse.ArgumentTypeError("must be from 0 to 86400")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.erase", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for kind, whose in (("conversation", "the conversation's id, ours or ElevenLabs'"), ("user", "the user's id")):
        erase = commands.add_parser(kind, help=f"forget a {kind}" if kind == "conversation" else "forget a user")
        erase.add_argument("id", help=whose)
        erase.add_argument("--yes", action="store_true", help="do not ask")
        erase.add_argument("--wait", type=_seconds, metavar="SECONDS", help="wait until ElevenLabs has confirmed")
    status = commands.add_parser("status", help="tell what is not at its end, or how far one order has come")
    status.add_argument("kind", nargs="?", choices=[kind.value for kind in SubjectKind])
    status.add_argument("id", nargs="?")
    return parser


if __name__ == "__main__":
    sys.exit(main())
