"""The one error of the zoo: what was given cannot be used."""

import re

# How Keras prints in bold.
_BOLD = re.compile(r"\x1b\[[01]m")


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
