"""A secret shows itself to nobody who does not ask for it by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import string
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import orjson
import pytest
import structlog

from service import secret as secret_module
from service.errors import SecretsSourceError
from service.logs import configure_logging
from service.metrics import FailureCause
from service.secret import LONGEST_SECRET, Secret
from tests.unit.secrets.shown import is_one_line, locals_of, shown_of

CANARY = "sk_canary_that_is_hidden_4c11"
HIDDEN = "Secret(hidden)"


@dataclasses.dataclass
class Holder:
    name: str
    secret: Secret


@pytest.fixture
def secret() -> Secret:
    return Secret(CANARY)


def test_it_is_revealed_to_whoever_asks_by_name(secret: Secret) -> None:
    assert secret.reveal() == CANARY


WRITTEN: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "format": format,
    "format with a width": lambda secret: format(secret, ">60"),
    "format as a number": lambda secret: format(secret, "d"),
    "f-string": lambda secret: f"{secret} {secret!s} {secret!r} {secret:>60}",
    "percent": lambda secret: "%s %r %60s" % (secret, secret, secret),  # noqa: UP031
    "str.format": lambda secret: "{0} {0!r} {x:s}".format(secret, x=secret),  # noqa: UP032
    "template": lambda secret: string.Template("$it").substitute(it=secret),
    "in a list": lambda secret: repr([secret, (secret,), {"key": secret}]),
    "in a dataclass": lambda secret: repr(Holder("x", secret)),
    "in an exception": lambda secret: repr(ValueError(secret)) + str(ValueError(secret)),
    "pprint": lambda secret: pprint.pformat({"a": [secret]}),
    "json with str": lambda secret: json.dumps({"a": secret}, default=str),
    "orjson with repr": lambda secret: orjson.dumps({"a": secret}, default=repr).decode(),
    "printf of a log record": lambda secret: logging.LogRecord("x", 10, "x", 1, "%s", (secret,), None).getMessage(),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_whatever_writes_it_writes_that_it_is_hidden(secret: Secret, write: Callable[[Secret], str]) -> None:
    written = write(secret)
    assert CANARY not in written
    assert HIDDEN in written


REFUSED: dict[str, Callable[[Secret], object]] = {
    "json": lambda secret: json.dumps({"a": secret}),
    "json of its attributes": lambda secret: json.dumps(secret, default=vars),
    "orjson": lambda secret: orjson.dumps({"a": secret}),
    "orjson of a dataclass": lambda secret: orjson.dumps(Holder("x", secret)),
    **{f"pickle {protocol}": lambda secret, protocol=protocol: pickle.dumps(secret, protocol) for protocol in range(6)},
    "pickle of a dataclass": lambda secret: pickle.dumps(Holder("x", secret)),
    "copy": copy.copy,
    "deepcopy": lambda secret: copy.deepcopy({"a": [secret]}),
    "asdict": lambda secret: dataclasses.asdict(Holder("x", secret)),
    "astuple": lambda secret: dataclasses.astuple(Holder("x", secret)),
    "vars": vars,
    "list": list,
    "bytes": bytes,
    "concatenation": lambda secret: secret + "",  # type: ignore[operator]
    "join": lambda secret: "".join([secret]),  # type: ignore[list-item]
    "hash": hash,
    "key of a dict": lambda secret: {secret: 1},
    "order": lambda secret: sorted([secret, Secret("x")]),  # type: ignore[type-var]
}


@pytest.mark.parametrize("take", REFUSED.values(), ids=REFUSED)
def test_whatever_would_take_it_along_is_refused_without_showing_it(
    secret: Secret, take: Callable[[Secret], object]
) -> None:
    with pytest.raises(TypeError) as caught:
        take(secret)
    assert CANARY not in shown_of(caught.value) + locals_of(caught.value)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_log_shows_it(secret: Secret, log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", log_format)
    log = structlog.get_logger("test")
    log.info("told of it", secret=secret, inside={"list": [secret], "pair": (secret, 1)}, holder=Holder("x", secret))
    log.info("told of %s", secret)
    logging.getLogger("test").warning("told of %s %r", secret, [secret], extra={"secret": secret})
    try:
        _fail_with(secret)
    except RuntimeError:
        log.exception("failed", secret=secret)
        logging.getLogger("test").exception("failed with %s", secret)
    written = capsys.readouterr().err
    assert written.count(HIDDEN) >= 8
    assert CANARY not in written


def _fail_with(secret: Secret) -> NoReturn:
    also_here = [secret]
    raise RuntimeError(f"nothing is wrong with {secret}, nor with {also_here}")


def test_no_traceback_shows_it_that_shows_the_locals(secret: Secret) -> None:
    with pytest.raises(RuntimeError) as caught:
        _fail_with(secret)
    plain = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    render = structlog.tracebacks.ExceptionDictTransformer(show_locals=True, locals_max_string=1000)
    rendered = json.dumps(render((type(caught.value), caught.value, caught.value.__traceback__)))
    for shown in ("".join(plain.format()), rendered):
        assert "also_here" in shown
        assert HIDDEN in shown
        assert CANARY not in shown


def test_two_are_equal_when_their_values_are() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != Secret(CANARY[:-1] + "x")
    assert Secret("ü") == Secret("ü")
    assert Secret("") == Secret("")


@pytest.mark.parametrize("other", [CANARY, CANARY.encode(), None, 7, [CANARY]])
def test_it_equals_nothing_that_is_no_secret(secret: Secret, other: object) -> None:
    assert secret != other
    assert other != secret
    assert secret not in [other]


def test_values_are_compared_in_a_time_that_does_not_depend_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(secret_module.hmac, "compare_digest", compare)
    assert Secret("a") != Secret("b")
    assert Secret("a") == Secret("a")
    assert compared == [(b"a", b"b"), (b"a", b"a")]


def test_values_that_no_encoding_has_are_compared_without_showing_them() -> None:
    """Such text is what Python makes of bytes in a variable that are no UTF-8."""
    assert Secret(CANARY + "\udcff") == Secret(CANARY + "\udcff")
    assert Secret(CANARY + "\udcff") != Secret(CANARY)


# --- What can be none


@pytest.mark.parametrize("value", ["x", "!~", CANARY, "x" * LONGEST_SECRET])
def test_what_can_stand_in_a_header_is_a_secret(value: str) -> None:
    assert Secret.checked("Field key", value).reveal() == value


BAD: list[tuple[str, Any, str]] = [
    ("empty", "", "is empty"),
    ("nothing", None, "is nothing, not text"),
    ("a number", 734_501, "is int, not text"),
    ("a fraction", 7.34501, "is float, not text"),
    ("yes", True, "is bool, not text"),
    ("a list", [CANARY], "is list, not text"),
    ("an object", {"key": CANARY}, "is dict, not text"),
    ("bytes", CANARY.encode(), "is bytes, not text"),
    ("a blank", f"{CANARY} {CANARY}", "has a blank"),
    ("a blank before", f" {CANARY}", "has a blank"),
    ("nothing but a blank", " ", "has a blank"),
    ("a tabulator", f"{CANARY}\t", "has a blank"),
    ("a line break", f"{CANARY}\n", "has a blank, a line break"),
    ("a header of its own", f"{CANARY}\r\nx-evil: 1", "has a blank, a line break"),
    ("NUL", f"{CANARY}\0", "another character"),
    ("escape", f"\x1b[31m{CANARY}", "another character"),
    ("delete", f"{CANARY}\x7f", "another character"),
    ("a quotation mark of a word processor", f"\u201c{CANARY}\u201d", "another character"),
    ("no-break space", f"{CANARY}\u00a0", "another character"),
    ("byte order mark", f"\ufeff{CANARY}", "another character"),
    ("no UTF-8", f"{CANARY}\udcff", "another character"),
    ("a character too many", "x" * (LONGEST_SECRET + 1), "has 4097 characters, at most 4096"),
    ("5 MB", CANARY * 172_414, f"has {len(CANARY) * 172_414} characters"),
]


@pytest.mark.parametrize(("value", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_nobody_can_have_meant_is_one_line_that_names_the_place_and_not_the_value(value: Any, words: str) -> None:
    with pytest.raises(SecretsSourceError) as caught:
        Secret.checked("Field key of secret/vocero (version 3)", value)
    message = str(caught.value)
    assert message.startswith("Field key of secret/vocero (version 3) ")
    assert words in message
    assert is_one_line(message)
    assert caught.value.cause == FailureCause.BAD_VALUE
    assert CANARY not in shown_of(caught.value)
    assert "734" not in message
