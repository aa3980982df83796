"""What words tell about a question: their stems, how much each says, and the language they are of.

The key decision: short lists and rules for two languages instead of a model. They are read in a minute, need no
download, and the rates that they reach are asserted by a test (`tests/unit/fallback/test_faq_dialogue.py`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Language = Literal["en", "es"]
LANGUAGES: tuple[Language, ...] = ("en", "es")

_WORD = re.compile(r"[a-z0-9]+")
_APOSTROPHE = re.compile(r"['’]")

_QUESTION_WORDS: dict[Language, frozenset[str]] = {
    "en": frozenset({"what", "which", "who", "whose", "when", "where", "why", "how"}),
    "es": frozenset(
        {"cual", "cuales", "quien", "quienes", "cuando", "donde", "como", "cuanto", "cuanta", "cuantos", "cuantas"}
    ),
}
_ENGLISH_FILLERS = """
a an the i id im ive ill me my we us our you your he his she her they them their it its this that these those
one some any am is are was were be been do does did dont doesnt didnt have has had havent hasnt will would can
could should may might must let to of in on at by for with from about into than then as if so and or but not no
yes also just very really too still yet already only even quite exactly here there please okay ok well hey oh
like want need get got take give tell say know think see make put come go try explain mean rather guys thing
something anything someone somebody more much many lot few other maybe now today tomorrow yesterday
"""
_SPANISH_FILLERS = """
un una unos unas el la los las lo al del de en a con por para sin sobre entre que y o ni si no ya muy mas tan
tambien solo aun todavia pues bueno vale oiga oye mire yo tu ella usted ustedes nosotros me te se le les nos os
mi mis su sus tus este esta esto estos estas ese esa eso algo alguien algun alguna alguno es son era fue ser
estoy estan he ha han hemos hay tengo tiene tienen teneis puedo puede pueden podria quiero quisiera querria
gustaria necesito hace hacen hacer acabo voy va van ir dar da deme dan diga digame saber sabe favor aqui alli
cosa verdad hoy manana ayer
"""
_INFLECTIONS = """
irlo irla irme arlo arla arme erlo erla erme mente ciones cion siones sion iendo ando ados adas idos idas ado
ada ido ida amos emos imos ais eis aron ieron aban aria eria iria ara era ira ar er ir an en as os a o e y ing
tion tions ed es s ies ly
"""
_FILLERS: dict[Language, frozenset[str]] = {
    "en": frozenset(_ENGLISH_FILLERS.split()),
    "es": frozenset(_SPANISH_FILLERS.split()),
}
_SUFFIXES = tuple(sorted(_INFLECTIONS.split(), key=len, reverse=True))
_SPANISH_LETTERS = re.compile("[¿¡ñáéíóúü]", re.IGNORECASE)

_CONTENT_WEIGHT = 1.0
_QUESTION_WORD_WEIGHT = 0.6
_FILLER_WEIGHT = 0.25


def fold(text: str) -> str:
    """Return `text` in lower case without accents: ears and thumbs leave them out."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def words(text: str) -> list[str]:
    """Return the folded words of `text`; "don't" is one word, "dont"."""
    return _WORD.findall(_APOSTROPHE.sub("", fold(text)))


def weight(word: str) -> float:
    """Return how much a folded word says about the topic, before its rarity is counted."""
    if any(word in fillers for fillers in _FILLERS.values()):
        return _FILLER_WEIGHT
    if any(word in asked for asked in _QUESTION_WORDS.values()):
        return _QUESTION_WORD_WEIGHT
    return _CONTENT_WEIGHT


def stem(word: str) -> str:
    """Return what a folded word's forms share: "shipping", "shipped" and "ship"; "devuelto" not, that is irregular."""
    if word.isdigit():
        return word
    short = _without_suffix(_without_suffix(word, 3), 4)
    if len(short) > 3 and short[-1] == short[-2]:
        short = short[:-1]
    return short[:-1] + "f" if len(short) > 3 and short.endswith("v") else short


def detect_language(text: str) -> Language | None:
    """Return the language of `text`, judged by its small words and letters; None when they do not tell."""
    found = words(text)
    scores = {name: _small_words(found, name) for name in LANGUAGES}
    scores["es"] += 2 * bool(_SPANISH_LETTERS.search(text))
    if scores["en"] == scores["es"]:
        return None
    return "en" if scores["en"] > scores["es"] else "es"


def _small_words(found: list[str], language: Language) -> int:
    others = frozenset[str]().union(*(_FILLERS[name] | _QUESTION_WORDS[name] for name in LANGUAGES if name != language))
    return sum(word in (_FILLERS[language] | _QUESTION_WORDS[language]) - others for word in found)


def _without_suffix(word: str, keep: int) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= keep:
            return word[: -len(suffix)]
    return word
