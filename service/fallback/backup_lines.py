"""What the backup agent says of its own accord, by language: its greeting, its refusal, and its small talk.

The key decision: the lines stand here and not in the FAQ file, because they must be there in the moment in which
nothing else can be relied on. None promises what the backup cannot keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from service.fallback.local_agent_profile import LINES, Lines

DEFAULT_LANGUAGE = "en"

BACKUP_LINES: Mapping[str, Lines] = {
    "en": replace(
        LINES["en"],
        cannot_hear="I noticed that you spoke, but I cannot understand speech at the moment. Please type it.",
    ),
    "es": replace(
        LINES["es"],
        cannot_hear="He notado que hablaba, pero en este momento no puedo entender la voz. Por favor, escríbalo.",
    ),
    "de": Lines(
        cannot_hear="Ich habe gemerkt, dass Sie sprechen, kann aber gerade nichts verstehen. Bitte schreiben Sie es.",
        cannot_see="Ich kann keine Dateien ansehen. Bitte sagen Sie es mir mit Worten.",
        still_there="Sind Sie noch da?",
        farewell="Auf Wiederhören, und danke für das Gespräch.",
        tool_failed="Es tut mir leid, das hat bei Ihnen nicht geklappt.",
    ),
    "fr": Lines(
        cannot_hear="Je vous ai entendu parler, mais je ne comprends pas la voix en ce moment. Veuillez l'écrire.",
        cannot_see="Je ne peux pas voir de fichiers. Dites-le-moi avec des mots.",
        still_there="Êtes-vous toujours là ?",
        farewell="Au revoir, et merci de votre appel.",
        tool_failed="Je suis désolé, cela n'a pas fonctionné de votre côté.",
    ),
}

_GREETINGS = {
    "en": "Hello. Our usual assistant cannot be reached right now, so I am its stand-in. How can I help you?",
    "es": "Hola. Nuestro asistente habitual no está disponible ahora y yo lo sustituyo. ¿En qué puedo ayudarle?",
    "de": "Guten Tag. Unser Assistent ist gerade nicht erreichbar, ich vertrete ihn. Was kann ich für Sie tun?",
    "fr": "Bonjour. Notre assistant n'est pas joignable en ce moment, je le remplace. Que puis-je faire pour vous ?",
}
_REFUSALS = {
    "en": "I am sorry, we cannot talk at the moment. Please try again later. Goodbye.",
    "es": "Lo siento, en este momento no podemos atenderle. Por favor, inténtelo más tarde. Hasta luego.",
    "de": "Es tut mir leid, wir können im Moment nicht sprechen. Bitte versuchen Sie es später. Auf Wiederhören.",
    "fr": "Je suis désolé, nous ne pouvons pas parler en ce moment. Veuillez réessayer plus tard. Au revoir.",
}


def base_language(tag: str | None) -> str | None:
    """The language of a tag like "es-MX", in lower case; None for none."""
    return (tag or "").replace("_", "-").partition("-")[0].strip().lower() or None


def polite_refusal(language: str | None) -> str:
    """What is said, or written, before a conversation is ended because an operator has disabled conversations."""
    return _REFUSALS.get(base_language(language) or "", _REFUSALS[DEFAULT_LANGUAGE])


def outage_greeting(language: str | None) -> str:
    """What the backup says first when it has the first word."""
    return _GREETINGS.get(base_language(language) or "", _GREETINGS[DEFAULT_LANGUAGE])


def outage_greetings() -> Mapping[str, str]:
    """The greetings by language."""
    return _GREETINGS
