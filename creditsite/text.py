"""What text may come in: nothing that hides, reorders or breaks what people read."""

import re
import unicodedata

from creditsite.errors import InvalidRequest

# Unicode's Bidi_Control: they make a line read other than it is stored.
BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Control characters (NUL among them), lone surrogates, line and paragraph separators.
REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What a decoder puts where it could not read; the text that was meant is lost.
REPLACEMENT = "\ufffd"
LINE_BREAKS = re.compile(r"[ \t\r\n]+")


def clean_text(value: str, max: int) -> str:
    """
    Return ``value`` as it is stored: in NFC and without outer space; it may come out empty.

    ``max`` counts characters (code points) of what is stored.

    :raises InvalidRequest: too long, or with a character that ``refuse_hidden`` refuses.
    """
    refuse_hidden(value)
    text = unicodedata.normalize("NFC", value).strip()
    if len(text) > max:
        raise InvalidRequest(f"At most {max:,} characters are allowed here.")
    return text


def refuse_hidden(value: str, allowed: str = "") -> None:
    """
    Let ``value`` pass if people read it as it is stored.

    :raises InvalidRequest: a control, bidi, separator, surrogate or replacement character, other
        than those of ``allowed``.
    """
    # Nearly all text is printable, and none of that is refused but for one character.
    if value.isprintable() and REPLACEMENT not in value:
        return
    for character in value:
        if character not in allowed and (
            character in BIDI_CONTROLS
            or character == REPLACEMENT
            or unicodedata.category(character) in REFUSED_CATEGORIES
        ):
            raise InvalidRequest(f"The character U+{ord(character):04X} is not allowed here.")


def one_line(value: str) -> str:
    """Return ``value`` with each run of spaces, tabs and line breaks made one space."""
    return LINE_BREAKS.sub(" ", value)
