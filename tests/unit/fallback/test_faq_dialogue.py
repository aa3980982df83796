from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.errors import ConfigurationError
from service.fallback.faq_dialogue import FaqDialogue
from service.fallback.faq_file import read_faq
from service.fallback.faq_words import detect_language, stem
from service.fallback.talk_history import PastTurn
from tests.unit.fallback.conftest import DATA

FAQ_FILE = Path(__file__).parents[3] / "sandbox" / "faq.yaml"
QUESTIONS: list[dict[str, Any]] = yaml.safe_load((DATA / "faq-questions.yaml").read_text(encoding="utf-8"))
ON_TOPIC = [entry for entry in QUESTIONS if entry["topic"]]
OFF_TOPIC = [entry for entry in QUESTIONS if not entry["topic"]]


@pytest.fixture(scope="module")
def dialogue() -> FaqDialogue:
    return FaqDialogue.load(FAQ_FILE)


@pytest.mark.parametrize("language", ["en", "es"])
def test_nine_of_ten_questions_get_the_right_answer(dialogue: FaqDialogue, language: str) -> None:
    asked = [entry for entry in ON_TOPIC if entry["language"] == language]
    wrong = [entry["question"] for entry in asked if dialogue.reply(entry["question"]).topic != entry["topic"]]

    assert len(asked) >= 30
    assert len(wrong) <= 0.1 * len(asked), wrong


@pytest.mark.parametrize("language", ["en", "es"])
def test_nine_of_ten_off_topic_questions_are_refused(dialogue: FaqDialogue, language: str) -> None:
    asked = [entry for entry in OFF_TOPIC if entry["language"] == language]
    answered = [entry["question"] for entry in asked if dialogue.reply(entry["question"]).topic is not None]

    assert len(asked) >= 15
    assert len(answered) <= 0.1 * len(asked), answered


def test_the_questions_are_not_those_of_the_file() -> None:
    known = {text for topic in read_faq(FAQ_FILE).topics for texts in topic.questions.values() for text in texts}

    assert [entry["question"] for entry in QUESTIONS if entry["question"] in known] == []


def test_every_question_of_the_file_finds_its_own_topic(dialogue: FaqDialogue) -> None:
    lost = [
        (topic.id, text)
        for topic in read_faq(FAQ_FILE).topics
        for texts in topic.questions.values()
        for text in texts
        if dialogue.reply(text).topic != topic.id
    ]

    assert lost == []


def test_every_question_is_answered_in_its_own_language(dialogue: FaqDialogue) -> None:
    assert [
        entry["question"] for entry in QUESTIONS if dialogue.reply(entry["question"]).language != entry["language"]
    ] == []


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("Hello, what are your opening hours?", "opening-hours"),  # as the ears write the recordings down
        ("How much does delivery cost please?", "delivery-cost"),
        ("Hola, ¿cuál es su horario de atención?", "opening-hours"),
        ("Wait, stop. I have another question.", "interruption"),
    ],
)
def test_the_recordings_questions_are_answered(dialogue: FaqDialogue, question: str, topic: str) -> None:
    assert dialogue.reply(question).topic == topic


def test_an_agents_language_wins_over_the_questions(dialogue: FaqDialogue) -> None:
    english, spanish = (dialogue.reply("¿A qué hora abren?", language=tag) for tag in ("en-GB", "es"))

    assert english.topic == spanish.topic == "opening-hours"
    assert (english.language, spanish.language) == ("en", "es")
    assert english.text.startswith("We are open")
    assert spanish.text.startswith("Abrimos")


@pytest.mark.parametrize("question", ["Can you repeat that, please?", "¿Me lo puede repetir?", "Say that again"])
def test_repeat_that_says_the_last_answer_once_more(dialogue: FaqDialogue, question: str) -> None:
    history = (PastTurn("agent", "First."), PastTurn("agent", "Delivery is free."), PastTurn("user", "Good."))

    assert dialogue.reply(question, history=history).text == "Delivery is free."
    assert dialogue.reply(question).topic == "repeat"
    assert dialogue.reply(question).text


@pytest.mark.parametrize("question", ["", "   ", "?!", "👍", "x" * 100_000, "qwerty " * 5_000])
def test_what_is_no_question_gets_an_honest_answer(dialogue: FaqDialogue, question: str) -> None:
    reply = dialogue.reply(question)

    assert reply.topic is None
    assert "don't know" in reply.text
    assert 0 <= reply.score < 1


def test_the_answers_can_be_spoken_and_one_is_long_enough_to_barge_in(dialogue: FaqDialogue) -> None:
    answers = [answer for topic in read_faq(FAQ_FILE).topics for answer in topic.answers.values()]

    assert not [answer for answer in answers if any(sign in answer for sign in "@#*_<>€$/[]")]
    assert 150 < len(dialogue.reply("How do returns work?").text) < 600


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the shop?", "en"),
        ("donde esta la tienda", "es"),
        ("¿Wifi?", "es"),
        ("PayPal", None),
        ("", None),
    ],
)
def test_the_language_is_found_by_small_words_and_letters(text: str, language: str | None) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "forms",
    [
        ("ship", "shipped", "shipping", "ships"),
        ("envio", "envios", "enviar", "envian", "enviado"),
        ("devolver", "devolvemos", "devolviendo"),
        ("scarf", "scarves"),
    ],
)
def test_the_forms_of_a_word_share_a_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        ("topics: [", "cannot be read"),
        ("hello", "needs a list called topics"),
        ("topics: [{questions: {}}]", "no id"),
        ("topics: [{id: a}]", "'a' needs its texts by language"),
        ("topics: [{id: a, questions: {en: [Hi]}, answers: {en: Hi, es: Hola}}]", "needs a list of questions in 'es'"),
        ("topics: [{id: a, questions: {en: [Hi], es: [3]}, answers: {en: Hi, es: Hola}}]", "questions in 'es'"),
        ("topics: [{id: a, questions: {en: [Hi], es: [Hola]}, answers: {en: Hi}}]", "'a' needs a text in each"),
        ("topics: []", "'unknown' needs its texts"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "faq.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=complaint):
        FaqDialogue.load(path)
