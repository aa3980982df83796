from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fallback.sentences import MAX_SENTENCE_CHARACTERS, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello. How are you?", ["Hello. ", "How are you?"]),
        ("It costs 3.50 euros. Really!", ["It costs 3.50 euros. ", "Really!"]),
        ("Dr. Smith and Mrs. Jones came. They left.", ["Dr. Smith and Mrs. Jones came. ", "They left."]),
        ("Fruit, e.g. apples, etc. are fine. Yes.", ["Fruit, e.g. apples, etc. are fine. ", "Yes."]),
        ("We close at 5 p.m. on Mondays.", ["We close at 5 p.m. on Mondays."]),
        ("J. R. Tolkien wrote it.", ["J. R. Tolkien wrote it."]),
        ("Well... maybe. Well... Maybe.", ["Well... maybe. ", "Well... ", "Maybe."]),
        ("Hm… no. Wait… No.", ["Hm… no. ", "Wait… ", "No."]),
        ("¿Hola? ¡Buenas! Adiós.", ["¿Hola? ", "¡Buenas! ", "Adiós."]),
        ("El Sr. García vive en la Avda. Blasco. Fin.", ["El Sr. García vive en la Avda. Blasco. ", "Fin."]),
        ("«¿Sí?», dijo ella. «No.»", ["«¿Sí?», dijo ella. ", "«No.»"]),
        ('"Stop!" he cried. "Why?" She left.', ['"Stop!" he cried. ', '"Why?" ', "She left."]),
        ("A title\nA line\n\nThe end", ["A title\n", "A line\n\n", "The end"]),
        ("1. First. 2. Second.", ["1. First. ", "2. Second."]),
        ("Go to telar.example. It works.", ["Go to telar.example. ", "It works."]),
        ("你好。再见。", ["你好。", "再见。"]),
        ("No end", ["No end"]),
        ("  Hi.  ", ["  Hi.  "]),
        ("...", ["..."]),
        (" \n\t ", []),
        ("", []),
    ],
)
def test_a_text_is_cut_where_a_reader_would_pause(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet='aB1.!?…¿¡,; \n\t"»)-é。', max_size=300), st.integers(min_value=1, max_value=60))
def test_sentences_joined_are_the_text_and_none_is_too_long(text: str, limit: int) -> None:
    sentences = split_sentences(text, max_characters=limit)

    assert "".join(sentences) == (text if text.strip() else "")
    assert all(0 < len(sentence) <= limit for sentence in sentences)


def test_an_endless_sentence_is_cut_after_a_clause_rather_than_between_words() -> None:
    clause = "and then a further thing happened in the shop, "
    sentences = split_sentences(clause * 20)

    assert len(sentences) > 1
    assert all(sentence.endswith("shop, ") for sentence in sentences)
    assert all(len(sentence) > MAX_SENTENCE_CHARACTERS / 2 for sentence in sentences[:-1])


def test_an_endless_run_of_words_is_cut_between_words() -> None:
    assert all(sentence.endswith("word ") for sentence in split_sentences("word " * 200))
