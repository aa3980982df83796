"""How far a voice has come in its text, whatever its alignment is like."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.conversation.sound_format import read_sound_format
from service.conversation.spoken import AnswerOnItsWay, SpeakingPace
from tests.unit.turns.talks import LETTER_SECONDS, Clock, aligned, audio, in_words, spoken, voice

TEXT = "The shop opens at nine, and closes – on most days – at half past five. Do you want to know more?"
words = st.text(st.characters(categories=["Lu", "Ll", "Nd"], max_codepoint=0x24F), min_size=1, max_size=12)
texts = st.lists(st.tuples(words, st.sampled_from([" ", ", ", ". ", "\n", "  ", " – ", "? ¿", "—"])), min_size=1).map(
    lambda pairs: "".join(word + gap for word, gap in pairs).strip()
)


def answer(text: str | None = None, *, pace: SpeakingPace | None = None, clock: Clock | None = None) -> AnswerOnItsWay:
    made = AnswerOnItsWay(
        clock=clock or Clock(), sound_format=read_sound_format("pcm_16000"), pace=pace or SpeakingPace()
    )
    if text is not None:
        made.answer_text(1, text)
    return made


def send(made: AnswerOnItsWay, *messages: bytes) -> AnswerOnItsWay:
    for message in messages:
        made.audio_message(bytearray(b"before" + message + b"behind"), 6, 6 + len(message))
    return made


@settings(deadline=None, max_examples=60)
@given(texts, st.data())
def test_heard_and_rest_are_the_text_word_for_word_wherever_it_breaks(text, data):
    letters = data.draw(st.integers(1, 9))
    messages = spoken(1, text, letters_a_message=letters)
    made = send(answer(text), *messages[: data.draw(st.integers(0, len(messages)))])
    sent = text[: round(made.sent_seconds / LETTER_SECONDS)]
    assert made.said + made.rest() == text
    assert in_words(each.replace("—", "— ") for each in (made.said, made.rest())) == text.replace("—", "— ").split()
    assert made.said.rstrip() == "" or text.startswith(made.said.rstrip())
    # Nothing counts as said that was not sent, and every word that was sent whole does.
    assert len(made.said.rstrip(" –—.,?¿\n")) <= len(sent)
    whole = [word for word in sent.split(" ")[:-1] if any(letter.isalnum() for letter in word)]
    assert len(in_words([made.said])) >= len(whole) or made.rest() == ""


@settings(deadline=None, max_examples=60)
@given(texts, st.integers(0, 200), st.sampled_from(["spaces", "case", "marks", "all"]))
def test_what_a_voice_makes_of_its_text_does_not_matter(text, count, change):
    exact = send(answer(text), *spoken(1, text)[:count])
    told = "".join(message_characters(message) for message in spoken(1, text)[:count])
    if change in {"case", "all"}:
        told = told.upper()
    if change in {"marks", "all"}:
        told = "".join(each for each in told if each.isalnum() or each.isspace())
    if change in {"spaces", "all"}:
        told = told.replace("\n", " ").replace("  ", " ")
    changed = answer(text)
    if told:
        step = exact.sent_seconds / len(told)
        send(changed, audio(1, voice(exact.sent_seconds), aligned(told, step=step)))
        assert changed.rest() == exact.rest()


def message_characters(message: bytes) -> str:
    return "".join(json.loads(message)["audio_event"]["alignment"]["chars"])


@pytest.mark.parametrize(
    ("told", "rest"),
    [
        ("It costs seventeen thirty euros. Or", "by card.** 😀"),
        ("It costs seventeen thirty euros", "**Or by card.** 😀"),
        ("It costs seventeen th", "17:30 euros. [laughs] **Or by card.** 😀"),
        ("It costs ", "17:30 euros. [laughs] **Or by card.** 😀"),
        ("It costs seventeen thirty euros. Or by ca", "card.** 😀"),
        ("It costs seventeen thirty euros. Or by card.", ""),
    ],
)
def test_what_is_spoken_otherwise_than_written_is_followed(told, rest):
    made = send(
        answer("It costs 17:30 euros. [laughs] **Or by card.** 😀"), audio(1, voice(2), aligned(told, step=0.02))
    )
    assert made.rest() == rest
    assert made.is_complete == (not rest)


def test_a_number_at_the_end_that_was_written_out_ends_the_answer():
    made = send(answer("It opens at 17:30."), audio(1, voice(2), aligned("It opens at seventeen thirty.", step=0.02)))
    assert made.is_complete
    assert made.rest() == ""


def test_a_word_that_was_cut_is_spoken_again_whole():
    made = send(answer("On Thursday at noon."), audio(1, voice(0.6), aligned("On Thursda", step=0.06)))
    assert (made.said, made.rest()) == ("On ", "Thursday at noon.")


def test_a_mark_that_was_cut_off_is_not_spoken_again():
    made = send(answer("On Thursday, at noon."), audio(1, voice(0.66), aligned("On Thursday", step=0.06)))
    assert (made.said, made.rest()) == ("On Thursday, ", "at noon.")


def test_characters_whose_sound_was_never_sent_are_not_said():
    """A stream that is truncated may have told of all its characters."""
    made = send(answer("One two three four"), audio(1, voice(0.5), aligned("One two three four", step=0.06)))
    assert made.rest() == "three four"
    assert made.misses_words


def test_a_voice_that_counts_from_the_answers_begin_is_understood():
    first, second = "One two three ", "four five six seven"
    messages = (audio(1, voice(len(first) * 0.06), aligned(first)), audio(1, voice(0.5), aligned(second, begin=0.84)))
    assert send(answer(first + second), *messages).rest() == "five six seven"


def test_ideographs_are_words_of_their_own():
    text = "今天天气很好，我们去公园吧。"
    assert send(answer(text), audio(1, voice(1.0), aligned(text[:5], step=0.2))).rest() == text[5:]


def test_without_an_alignment_the_time_tells_to_the_begin_of_a_word():
    made = send(answer(TEXT), *[audio(1, voice(0.25))] * 8)  # two seconds: about thirty letters
    assert made.said + made.rest() == TEXT
    assert made.rest().startswith(("closes", "– on", "on most"))
    assert made.misses_words


def test_a_voice_that_is_quicker_than_others_is_learned():
    pace = SpeakingPace()
    for _ in range(4):
        send(answer("a" * 100 + " b", pace=pace), audio(1, voice(4.0))).settle()
    made = send(answer("c " * 50, pace=pace), audio(1, voice(3.9)))
    assert 24 < pace.letters_per_second < 27
    assert not made.misses_words


@pytest.mark.parametrize("seconds", [0.5, 300.0])
def test_what_no_voice_can_have_said_teaches_nothing(seconds):
    pace = SpeakingPace()
    pace.learn(200.0, seconds)
    assert pace.letters_per_second == SpeakingPace.USUAL


def test_by_time_alone_an_answer_that_may_be_whole_misses_nothing():
    made = send(answer(TEXT), audio(1, voice(4.5)))
    assert made.rest() != ""
    assert not made.misses_words


def test_several_texts_of_one_turn_are_one_answer():
    made = answer("Let me see.")
    made.answer_text(1, "Let me see. It is open.")
    made.answer_text(1, "Let me see. It is open.")
    made.answer_text(2, "Until five.")
    assert made.full_text == "Let me see. It is open. Until five."
    assert send(made, *spoken(1, "Let me see. It is open. Unt")).rest() == "Until five."


def test_text_may_come_behind_its_sound():
    made = send(answer(), *spoken(1, "One two th"))
    assert (made.full_text, made.rest(), made.has_text) == ("One two th", "", False)
    made.answer_text(1, "One two three")
    assert (made.said, made.rest()) == ("One two ", "three")


def test_who_breaks_in_has_heard_what_was_played():
    clock = Clock()
    made = send(answer(TEXT, clock=clock), *spoken(1, TEXT))
    clock.tick(30 * LETTER_SECONDS)
    made.interrupted()
    assert made.said == "The shop opens at nine, and "
    assert made.rest() == ""
    assert made.plays_until(clock.now) == clock.now
    made.corrected("The shop opens")
    assert made.said == "The shop opens"


def test_another_leg_goes_on_where_the_one_before_broke_off():
    made = send(answer(TEXT), *spoken(1, TEXT)[:7])
    said, rest = made.said, made.rest()
    for again in (TEXT, rest):
        made.go_on(0.0, said=said, rest=rest, announced=False)
        made.answer_text(7, again)
        made.is_audible = True
        send(made, *spoken(7, rest)[:5])
        assert made.full_text == TEXT
        assert made.said + made.rest() == TEXT
        assert made.said.startswith(said)
        assert len(said) < len(made.said) < len(TEXT)


@pytest.mark.parametrize("order", ["id last", "id first", "alignment first", "spaces"])
def test_a_message_is_measured_in_any_order_of_its_fields(order):
    alignment = aligned("abc")
    sound = audio(5, voice(0.2))
    base64_part = json.loads(sound)["audio_event"]["audio_base_64"]
    fields = {"audio_base_64": base64_part, "event_id": 5, "alignment": alignment}
    names = {
        "id last": ["alignment", "audio_base_64", "event_id"],
        "id first": ["event_id", "audio_base_64", "alignment"],
        "alignment first": ["alignment", "event_id", "audio_base_64"],
        "spaces": ["audio_base_64", "event_id", "alignment"],
    }[order]
    separators = (", ", ": ") if order == "spaces" else (",", ":")
    with_alignment = json.dumps({"audio_event": {n: fields[n] for n in names}, "type": "audio"}, separators=separators)
    plain = json.dumps({"audio_event": {n: fields[n] for n in names if n != "alignment"}}, separators=separators)
    made = answer("abc def")
    for message in (plain, with_alignment, plain, plain, plain):
        send(made, message.encode())
    assert made.sent_seconds == pytest.approx(1.0, abs=1e-3)
    assert made.rest() == "def"


@pytest.mark.parametrize(
    "garbage", [b"", b"{}", b'{"audio_event":{"audio_base_64":', b'{"audio_base_64":"AAAA', b'"' * 300]
)
def test_what_is_no_audio_counts_for_nothing(garbage):
    assert send(answer("abc"), garbage).sent_seconds == 0


def test_an_alignment_that_makes_no_sense_is_left_aside():
    for nonsense in ({"chars": 1}, {"chars": ["a"] * 60}, ["x" * 99], None):
        made = send(answer(TEXT), audio(1, voice(2.0), nonsense))  # type: ignore[arg-type]
        assert made.said + made.rest() == TEXT
        assert made.said


def test_a_long_answer_takes_a_bounded_amount_of_memory():
    made = answer(TEXT * 150)
    message = audio(1, b"\0" * 64, aligned("abcdefgh" * 4))
    tracemalloc.start()
    try:
        send(made, *[message] * 5_000)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 3_000_000
    assert len(made.full_text) <= 20_000
