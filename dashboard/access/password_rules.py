"""What a password must be like: long, and none that is tried first.

The key decision: length and no rules about kinds of characters (NIST SP 800-63B, 5.1.1.2). At twelve characters almost
all of the well-known lists fall away; what is left of them are a few words with something added, rows of keys, and
repetitions, and these are looked for as what they are.
"""

from __future__ import annotations

import unicodedata

from dashboard.words.said import Said
from service.errors import RequestError

SHORTEST, LONGEST = 12, 128
FEWEST_DIFFERENT = 5

# What is left of common passwords when digits and signs are taken off their ends.
_COMMON_WORDS = (
    "abcabc access admin adminadmin administrator afcliverpool alexander arsenal asdf asdfasdf asdfgh asdfghjkl "
    "asdfjkl autumn bailey barcelona baseball basketball batman blink butterfly changeit changeme charlie chelsea "
    "chocolate computer contrasena contraseña cookie corvette dashboard default donald dragon elevenlabs elizabeth "
    "everton football footballfootball freedom ginger google guest hello helloworld hunter iloveyou iloveyouforever "
    "internet jennifer jessica jordan killer letmein letmeinnow letmeinplease liverpool login london lovely loveme "
    "manchester master masterpassword matthew michael michelle microsoft monkey mustang mynoob myspace nicole "
    "operator pass passphrase passw password passwordpassword pepper pokemon princess private qazwsx qazwsxedc "
    "qazwsxedcrfv qqww qweasd qweasdzxc qwer qwerty qwertyqwerty qwertyui qwertyuiop qwertyuiopasdf qwertyuiopasdfgh "
    "qwertyuiopasdfghjkl root samsung secret server service shadow spring starwars summer sunshine superman superuser "
    "system temporary tequiero test tester testing testtest thisismypassword trustno trustnoone twitter user username "
    "vocero voceroadmin voceroadministrator welcome welcomehome whatever william winter xxxxxx zaqwsx zxcvbn zxcvbnm "
    "zxcvbnmasdfghjkl "
)
_COMMON = frozenset(_COMMON_WORDS.split())
_SUBSTITUTES = str.maketrans("0134578@$!€", "oieastbasie")
_ROWS = ("1234567890" * 3, "abcdefghijklmnopqrstuvwxyz" * 2, "qwertyuiop" * 2, "asdfghjkl" * 2, "zxcvbnm" * 3)


def check_password(password: str, *, name: str) -> None:
    """Raises RequestError (param "password") unless `password` is fit for the user called `name`."""
    wrong = _what_is_wrong(unicodedata.normalize("NFKC", password), name)
    if wrong is not None:
        message = Said(f"account.error.{wrong}", shortest=SHORTEST, longest=LONGEST)
        raise RequestError(message, code=wrong, param="password")


def _what_is_wrong(password: str, name: str) -> str | None:
    """What stands against it: a code of ours, which has words for people (`account.error.CODE`)."""
    if len(password) < SHORTEST:
        return "password_too_short"
    if len(password) > LONGEST:
        return "password_too_long"
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        return "password_unusable"
    if _is_common(password, name):
        return "password_common"
    return None


def _is_common(password: str, name: str) -> bool:
    folded = password.casefold()
    if len(set(folded)) < FEWEST_DIFFERENT or any(folded in row or folded[::-1] in row for row in _ROWS):
        return True
    own = unicodedata.normalize("NFKC", name).casefold()
    words = _COMMON | ({own, own * 2} if len(own) >= 3 else set())
    core = _core(folded)
    return not words.isdisjoint({folded, core, core.translate(_SUBSTITUTES)})


def _core(text: str) -> str:
    """`text` without what is not a letter at its ends."""
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    return text[letters[0] : letters[-1] + 1] if letters else ""
