"""What workers answer to an order, in the reader's language.

The key decision: an answer names its sentence, and what stands in it. One that names none of ours (a worker of another
version, a refusal in somebody else's words) is shown as it came: it says more than nothing.
"""

from __future__ import annotations

from dashboard.web.looks import language
from dashboard.words import translate
from service.orders import OrderAnswer


def answer_in_words(answer: OrderAnswer) -> str:
    """What the worker says."""
    key = f"orders.{answer.said}"
    said = translate(key, language(), **answer.details)
    return answer.text if said == key else said
