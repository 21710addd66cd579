"""The one error of the zoo: what was given cannot be used."""

import re
import reprlib
from typing import Any

# How Keras prints in bold.
_BOLD = re.compile(r"\x1b\[[01]m")
_SHORT = reprlib.Repr()
_SHORT.maxstring = 120  # characters; most paths are shorter
_SHORT.maxother = 80


class CifarZooError(ValueError):
    """Bad input. The message names the offending value and says what to do; nothing has been changed.

    The message is one line, although it may contain the message of a library's error or the name of a file.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Return the message of an error as one line, without the arguments that Keras appends, and escaped."""
    text = _BOLD.sub("", text.partition("\n\nArguments received by ")[0])
    return escaped(re.sub(r"\s*\n\s*", " ", text).strip())


def escaped(text: object) -> str:
    """Return a text, such as a path, with a backslash escape for each character that a terminal cannot print."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )


def shown(value: Any) -> str:
    """Return the representation of a value for an error message. The middle of a long one is left out."""
    if getattr(value, "shape", None) == ():  # a NumPy scalar, which is shown as Python's
        value = value.item()
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python prints no integer of more than 4300 digits
        return f"an integer of {value.bit_length()} bits"
