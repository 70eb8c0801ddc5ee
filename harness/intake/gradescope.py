"""Gradescope's "Export Submissions": folders `submission_123456`, and who handed them in, in submission_metadata.yml.

The metadata is written by Ruby: its keys are symbols, `:submitters:`, its times `2026-04-26 17:34:00.86 Z` or an object
of Rails. It holds all outputs of an autograder and may be large, so it is read event by event: only what is needed is
kept, no object is made, and no alias is followed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from harness.errors import HarnessError, one_line
from harness.intake.bulk import Entry, bytes_of
from harness.intake.names import printable, student_name
from harness.intake.submission import Submission, newest

METADATA = "submission_metadata.yml"
EXAMPLE = METADATA
_MOST_BYTES = 64 << 20
_DEPTH = 4  # of what is needed: submission, :submitters, number, :name
_LONGEST = 300
_MOST_PARTNERS = 100
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))? ?(?:Z|UTC|([+-])(\d\d):?(\d\d))?",
)


@dataclass(slots=True)
class _Record:
    """What the metadata says of one submission."""

    submitters: dict[int, dict[str, str]] = field(default_factory=dict)
    time: float | None = None


def fits(entry: Entry) -> bool:
    """Whether it is the metadata, by which Gradescope's export is known."""
    return entry.name == METADATA and not entry.folder


def submissions(entries: Iterable[Entry]) -> tuple[list[Submission], list[Entry]]:
    """One submission for each student that the metadata names; of several the newest counts.

    Returns:
        The submissions, and the entries that the metadata does not name.

    Raises:
        HarnessError: the metadata cannot be read.
    """
    at_top = {entry.name: entry for entry in entries}
    metadata = at_top.pop(METADATA)
    of_student: dict[str, list[Submission]] = {}
    for name, record in _records(bytes_of(metadata, _MOST_BYTES)).items():
        known = [student for submitter in record.submitters.values() if (student := _known(submitter))]
        student, *partners = known or [name]
        entry = at_top.pop(name, None)
        problems = []
        if not known:
            problems.append(f"{METADATA} names no submitter of {name}")
        if entry is None:
            problems.append(f"{METADATA} names {name}, which is not in the download")
        of_student.setdefault(student, []).append(
            Submission(
                student=student_name(student),
                source=printable(name),
                path=metadata.path if entry is None else entry.path,
                time=entry.time() if record.time is None and entry else record.time,
                partners=tuple(map(student_name, partners)),
                problems=tuple(map(one_line, problems)),
                pieces=(entry.piece(),) if entry else (),
            )
        )
    return [newest(several) for several in of_student.values()], list(at_top.values())


def _known(submitter: dict[str, str]) -> str:
    return submitter.get(":sid") or submitter.get(":email") or submitter.get(":name") or ""


def _records(data: bytes) -> dict[str, _Record]:
    """What the metadata says of each submission, by its folder.

    Raises:
        HarnessError: it is no YAML, or has an alias in what is needed.
    """
    import yaml

    records: dict[str, _Record] = {}
    try:
        for path, value in _scalars(yaml.parse(data, Loader=yaml.CSafeLoader)):
            name, *rest = path
            record = records.setdefault(str(name)[:_LONGEST], _Record())
            match rest:
                case [":submitters", int() as number, str() as key] if key in (":sid", ":email", ":name"):
                    if number < _MOST_PARTNERS and value:
                        record.submitters.setdefault(number, {})[key] = value[:_LONGEST]
                case [":created_at"] | [":created_at", "utc"]:
                    record.time = _time(value) or record.time
    except yaml.YAMLError as error:
        raise HarnessError(one_line(f"{METADATA}: is no YAML: {error}")) from None
    return records


def _scalars(events: Iterable[Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each key at the top, and each scalar value that is not too deep, with the keys and numbers that lead to it.

    Raises:
        HarnessError: an alias stands among what is needed.
    """
    from yaml import events as kinds

    # For each open mapping and sequence: the key of its value now, or its number; a mapping without a value now: None.
    keys: list[str | int | None] = []
    sequence: list[bool] = []
    for event in events:
        starts = isinstance(event, kinds.CollectionStartEvent)
        if isinstance(event, kinds.CollectionEndEvent):
            keys.pop()
            sequence.pop()
        elif not isinstance(event, kinds.NodeEvent):
            continue
        elif keys and keys[-1] is None:  # a key; one that is itself a collection is of no use
            keys[-1] = key = event.value if isinstance(event, kinds.ScalarEvent) else ""
            if len(keys) == 1 and key:
                yield (key,), ""  # a submission, of which nothing may be said
            if not starts:
                continue
        elif len(keys) <= _DEPTH and isinstance(event, kinds.AliasEvent) and ":submitters" in keys:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise HarnessError(f"{METADATA}: line {line}: has an alias among the submitters")
        elif len(keys) <= _DEPTH and isinstance(event, kinds.ScalarEvent):
            yield tuple(key for key in keys if key is not None), event.value
        if starts:
            is_sequence = isinstance(event, kinds.SequenceStartEvent)
            keys.append(0 if is_sequence else None)
            sequence.append(is_sequence)
        elif keys:  # a value is over
            last = keys[-1]
            keys[-1] = last + 1 if sequence[-1] and isinstance(last, int) else None


def _time(text: str) -> float | None:
    """Seconds since the epoch of a time as Ruby writes it."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    *parts, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[arg-type,misc] # six numbers
    except ValueError:
        return None
    east = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    return (moment - east).timestamp() + float(f"0.{fraction or 0}")
