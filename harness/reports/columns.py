"""Text in columns of a terminal, where a Chinese character takes two (Unicode Standard Annex #11)."""

import re
import textwrap
import unicodedata

# A run of other characters, or one wide one, with what may not stand at a line's end before it and what may not begin
# a line behind it (Requirements for Chinese Text Layout, section 3.1.3).
_OPENING, _CLOSING = "“‘（《「【", "”’）》」】，。、；：？！…%"
_UNIT = re.compile(rf"\s+|[{_OPENING}]*(?:[\u2e80-\uffee]|[^\s\u2e80-\uffee{_OPENING}{_CLOSING}]+)?[{_CLOSING}]*")


def cells(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def left(text: str, width: int) -> str:
    """The text, filled up with spaces to a width."""
    return text + " " * (width - cells(text))


def right(text: str, width: int) -> str:
    """The text at the right of a width."""
    return " " * (width - cells(text)) + text


def cut(text: str, width: int) -> str:
    """The text, with … where it is wider than a width."""
    if cells(text) <= width:
        return text
    while cells(text) > width - 1:
        text = text[:-1]
    return text + "…"


def shorten(text: str, width: int) -> str:
    """The text without its last words, and … for them, where it is wider than a width."""
    if cells(text) == len(text):
        return textwrap.shorten(text, width, placeholder=" …")
    return text if cells(text) <= width else f"{wrap(text, width - 2)[0]} …"


def wrap(
    text: str, width: int, *, first_indent: str = "", indent: str = "", break_on_hyphens: bool = True
) -> list[str]:
    """The text in lines of at most a width; as `textwrap.wrap`, but between Chinese characters a line may end, too.

    Args:
        text: what to wrap.
        width: columns, indents included.
        first_indent: what the first line begins with.
        indent: what the others begin with.
        break_on_hyphens: whether a line may end behind a hyphen, where there are no Chinese characters.
    """
    if cells(text) == len(text):
        return textwrap.wrap(
            text,
            width,
            initial_indent=first_indent,
            subsequent_indent=indent,
            break_on_hyphens=break_on_hyphens,
        )
    lines, line = list[str](), first_indent
    begun = False
    for unit in _units(text, width - max(cells(first_indent), cells(indent))):
        if begun and cells(line) + cells(unit.rstrip()) > width:
            lines.append(line.rstrip())
            line, begun = indent, False
        if begun or not unit.isspace():
            line, begun = line + unit, True
    return [*lines, line.rstrip()] if begun else lines


def _units(text: str, room: int) -> list[str]:
    """What is not to be torn apart, but where it is wider than the room there is."""
    units = []
    for unit in (found for found in _UNIT.findall(text) if found):
        rest = " " if unit.isspace() else unit
        while cells(rest) > room:
            piece = rest[:room]
            while cells(piece) > room:
                piece = piece[:-1]
            units.append(piece)
            rest = rest[len(piece) :]
        units.append(rest)
    return units
