"""`python -m scripts.smoke URL`: hold one real conversation with a deployment; exit with 0, or 1 and the reason.

What it does stands in `scripts/smoking/`, how a deployment uses it in docs/front.md. It is also run as a file, and from
the image. The key decision: no secret is an argument or is shown; the key comes from a file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlencode, urlsplit

if __package__ in {None, ""}:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # run as a file: our packages lie one folder up

from scripts.smoking.http_checks import Http, Place, tls_context
from scripts.smoking.report import Report, SmokeError
from scripts.smoking.talk import Talk

DONE, FAILED, USAGE = 0, 1, 2
USUAL_SECONDS = 90.0
MOST_SECONDS = 600.0
LONGEST_KEY = 4096
DEFAULT_VOICE = "JBFqnCBsd6RMkjVDRZzb"
ABOUT = """\
Steps: livez, version, a way in (the page's ticket; with --agent a signed URL if there is a key, else as a public
agent), the conversation (metadata, greeting, a typed question, a spoken one, goodbye), and with a key one streamed
speech request. The conversation costs what a minute of conversation costs at ElevenLabs.

Exit codes: 0 all went well; 1 something failed, with the reason and what to do in one line on the standard error;
2 wrong usage."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; the result is the exit code."""
    options = _parser().parse_args(arguments)
    place = Place(options.url, options.ca_file, _read_key(options.key_file) if options.key_file else None)
    report = Report(
        tell=_say_nothing if options.json else _say,
        ends_at=time.monotonic() + options.timeout,
        patience=max(1.0, options.timeout / USUAL_SECONDS),
    )
    failure = _try(place, report, options)
    if options.json:
        print(json.dumps(report.as_dict(place.url, failure)))
    elif failure is None:
        _say(f"All went well: {len(report.steps)} steps in {sum(step.seconds for step in report.steps):.1f} s.")
    if failure is None:
        return DONE
    print(f"smoke: {report.failed_step}: {failure.reason}. {failure.remedy}", file=sys.stderr)
    return FAILED


def _try(place: Place, report: Report, options: argparse.Namespace) -> SmokeError | None:
    try:
        with closing(Http(place, report)) as http:
            report.run("livez", http.check_alive)
            report.run("version", http.read_version)
            query = _way_in(place, report, http, options.agent)
            with closing(Talk(place, query, report, tls_context(place.ca_file))) as talk:
                _converse(talk, report, is_typed=options.typed)
            if place.key:
                report.run("speech", lambda: http.stream_speech(quote(options.voice, safe="")))
    except SmokeError as exc:
        return exc
    except KeyboardInterrupt:
        return SmokeError("stopped by you", "Run it again.")
    return None


def _say(line: str) -> None:
    print(line, flush=True)


def _say_nothing(line: str) -> None:
    """With --json there is one object at the end."""


def _way_in(place: Place, report: Report, http: Http, agent: str | None) -> str:
    if agent is None:
        return report.run("ticket", http.page_ticket)
    if place.key:
        return report.run("signed URL", lambda: http.signed_url(agent))
    return urlencode({"agent_id": agent})


def _converse(talk: Talk, report: Report, *, is_typed: bool) -> None:
    report.run("conversation", talk.open)
    report.run("greeting", talk.hear_greeting)
    report.run("typed turn", talk.ask_typed)
    report.run("second turn" if is_typed else "spoken turn", talk.ask_typed if is_typed else talk.ask_spoken)
    report.run("goodbye", talk.say_goodbye)


def _read_key(path: str) -> str:
    try:
        key = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        _misuse("--key-file cannot be read.")
    if not key or len(key) > LONGEST_KEY or not key.isprintable() or " " in key:
        _misuse("--key-file must have a key and nothing else.")
    return key


def _misuse(what: str) -> NoReturn:
    print(f"smoke: {what}", file=sys.stderr)
    raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.smoke",
        description="Hold one real conversation with a deployment of Vocero.",
        epilog=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", type=_url, metavar="URL", help="its address: https://voice.example.com")
    parser.add_argument("--agent", help="the agent to talk to; without it, the page's")
    parser.add_argument("--key-file", metavar="FILE", help="the file with an API key of this Vocero")
    parser.add_argument("--ca-file", metavar="FILE", type=_authorities, help="the authority of its certificate (PEM)")
    parser.add_argument("--voice", default=DEFAULT_VOICE, help="the voice of the speech request (%(default)s)")
    parser.add_argument("--typed", action="store_true", help="type both questions: for an agent without ears")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=USUAL_SECONDS,
        help="seconds for everything (%(default)g); more is also more for each",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object in place of lines")
    return parser


def _url(text: str) -> str:
    parts = urlsplit(text)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise argparse.ArgumentTypeError("http://HOST[:PORT] or https://HOST[:PORT]")
    return text.rstrip("/")


def _authorities(text: str) -> str:
    try:
        tls_context(text)
    except OSError:  # also what is no certificate
        raise argparse.ArgumentTypeError(f"{text} is no file of certificates (PEM)") from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"seconds, above 0 and at most {MOST_SECONDS:g}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
