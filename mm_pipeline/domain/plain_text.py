"""Text from outside as it may be stored and shown: nothing in it steers a terminal or breaks a database."""

from __future__ import annotations

from typing import Final

_KEPT: Final = frozenset("\n\t")


def plain_text(text: str) -> str:
    """Replace every control or unprintable character, but tab and line break, by its escaped form.

    ``\\x1b[2J`` becomes the five visible characters of its escape and ``[2J``. Printable text stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(_plain(character) for character in text)


def _plain(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    return character.encode("unicode_escape").decode("ascii")
