"""Read answers.yaml: one mapping of names to plain values, and nothing else of YAML."""

import codecs
import re
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.intake.names import shown

Answer = str | int | float | bool | None

_MOST_BYTES = 64 << 10
_MOST_KEYS = 200
_LONGEST = 1_000
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEX = re.compile(r"0[xX][0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Answer] = {"": None, "~": None, "null": None, "true": True, "false": False}


def read_answers(data: bytes) -> dict[str, Answer]:
    """Read the bytes of an answers.yaml: UTF-8, or UTF-16 with its mark.

    A value in quotes is text. Without quotes it is a number only if it is written plainly, 481914174, 0x1f or 2.5;
    true, false and null are themselves. All else stays the text that was written, so that 22:10, 0755, 481,914,174,
    yes and 2024-05-06 mean what they say.

    Raises:
        HarnessError: one line that names the line: no YAML, no flat mapping, an alias, anchor or tag, a name that is
            there twice, too many or too long, or an integer of more than 64 bits.
    """
    import yaml

    text = _text(data)
    try:
        return _mapping(yaml.parse(text, Loader=yaml.CSafeLoader), yaml)
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        raise HarnessError(f"answers.yaml: line {line}: has a control character") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(mark, f"is no YAML: {error.problem or error.context}") from None


def _text(data: bytes) -> str:
    if len(data) > _MOST_BYTES:
        raise HarnessError(f"answers.yaml: is larger than {_MOST_BYTES >> 10} KiB")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(f"answers.yaml: line {line}: is no UTF-8 text; save the file as UTF-8") from None


def _wrong(mark: Any, why: str) -> HarnessError:
    return HarnessError(one_line(f"answers.yaml: line {mark.line + 1}: {why}" if mark else f"answers.yaml: {why}"))


def _mapping(events: Any, yaml: Any) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    key: str | None = None
    inside = begun = False
    for event in events:
        mark = event.start_mark
        if isinstance(event, yaml.DocumentStartEvent):
            if begun:
                raise _wrong(mark, "there is a second document; write one")
            begun = True
        elif isinstance(event, yaml.MappingEndEvent):
            inside = False
        if not isinstance(event, yaml.NodeEvent):
            continue
        if isinstance(event, yaml.AliasEvent):
            raise _wrong(mark, "has an alias (*); write the value itself, in quotes if it begins so")
        if event.anchor or event.tag:
            raise _wrong(mark, "has an anchor or a tag (& or !); write the value alone, in quotes if it begins so")
        if not inside:
            if isinstance(event, yaml.ScalarEvent) and not event.value and event.implicit[0]:
                continue  # nothing but comments
            if not isinstance(event, yaml.MappingStartEvent):
                raise _wrong(mark, "does not read 'name: value'")
            inside = True
        elif not isinstance(event, yaml.ScalarEvent):
            raise _wrong(mark, "has a list or a mapping; write one plain value behind each name")
        elif len(event.value) > _LONGEST:
            raise _wrong(mark, f"is longer than {_LONGEST} characters")
        elif key is None:
            key = event.value
            if not key:
                raise _wrong(mark, "has no name before the colon")
            if key in answers:
                raise _wrong(mark, f"has the name {shown(key)!r} again")
            if len(answers) == _MOST_KEYS:
                raise _wrong(mark, f"there are more than {_MOST_KEYS} names")
        else:
            answers[key] = _plain(event.value, mark) if event.implicit[0] else event.value
            key = None
    return answers


def _plain(text: str, mark: Any) -> Answer:
    """The value of a scalar without quotes."""
    if (word := text.lower()) in _WORDS:
        return _WORDS[word]
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if abs(value) != float("inf") else text
    is_hex = bool(_HEX.fullmatch(text))
    if not is_hex and not _INTEGER.fullmatch(text):
        return text
    number = int(text, 16 if is_hex else 10)
    if not -(1 << 63) <= number < 1 << 63:
        raise _wrong(mark, "has an integer of more than 64 bits; write it in quotes")
    return number


def read_answers_file(path: Path) -> dict[str, Answer]:
    """The answers of a file.

    Raises:
        HarnessError: as `read_answers`, or the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot read the answers: {error.strerror}") from None
    return read_answers(data)
