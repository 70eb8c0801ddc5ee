"""What a check found, made ready to be drawn: which frame is wrong, what it says, and what it should have said."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from harness.grading.results import Check, Results
from harness.messages import translated
from harness.reports.gradebook import printable
from harness.tcp.conversation import Conversation
from harness.tcp.values import signed_difference

MARKS = {"passed": "✓", "failed": "✗", "not-shown": "?", "not-judged": "!"}
_MESSAGE = 1000
# What a comparison of two numbers says: see `harness.tcp.values`.
_COMPARED = re.compile(
    r"frame (?P<frame>\d+) \((?P<end>initiator|responder)\) (?P<field>seq|ack|length|flags) (?P<actual>.+?), but "
    r"(?:expected )?(?P<expected>[^(]+?)(?: \(.*)?"  # what pytest says beyond that is about the assert
)
_REFERRED = re.compile(r"\bframe (\d+)\b")
_BLAMED = re.compile(r"<?frame (\d+) ")  # a message begins with the frame that it is about
_MOST_BLAMED = 2
_LAST = re.compile(r"(\d+)$")
_LETTERS = re.compile(r"[\['\"]([SFPRUEWe.]+|none)[\]'\"]$")


class Wrong(NamedTuple):
    """A number, or flags, that a check compared with what they ought to have been.

    Attributes:
        frame: the frame it stands in.
        field: "seq", "ack", "length" or "flags".
        actual: what stands there.
        expected: what ought to, with the frame it comes from.
        says: what the arrow says, in relative and in absolute numbers.
        should_say: what it should say, likewise; empty where the check does not name one value.
        because: the frames that it comes from.
    """

    frame: int
    field: str
    actual: str
    expected: str
    says: tuple[str, str]
    should_say: tuple[str, str]
    because: tuple[int, ...]


class Finding(NamedTuple):
    """A check, made ready to be drawn.

    Attributes:
        check: the outcome.
        anchor: its id on the page.
        mark: a sign for the outcome.
        points: "4/4"; "-/4" if it could not be judged; empty if it is worth nothing.
        title: what the student reads.
        message: why it did not pass, without the words that the outcome says already.
        wrong: what was compared, if it was one number with another.
        blames: the frames that are wrong, as far as the message tells.
        frames: those it looked at, as ranges: "1-3 7".
        frame_count: how many.
        frame_filter: a display filter of Wireshark for them; empty if there are none.
    """

    check: Check
    anchor: str
    mark: str
    points: str
    title: str
    message: str
    wrong: Wrong | None
    blames: tuple[int, ...]
    frames: str
    frame_count: int
    frame_filter: str


def findings(results: Results, by_frame: Mapping[int, tuple[Conversation, int]]) -> tuple[Finding, ...]:
    """All checks of a rubric, in its order.

    Args:
        results: the outcomes.
        by_frame: the conversation and the row of each frame.
    """
    return tuple(_finding(number, check, by_frame) for number, check in enumerate(results.checks, 1))


def first_to_show(found: tuple[Finding, ...]) -> Finding | None:
    """What a reader should see first: the first failure that names a number, else the first, else what is not shown."""
    failed = [one for one in found if one.check.outcome == "failed"]
    others = [one for one in found if one.check.outcome != "passed"]
    return next((one for one in failed if one.wrong), None) or next(iter([*failed, *others]), None)


def _finding(number: int, check: Check, by_frame: Mapping[int, tuple[Conversation, int]]) -> Finding:
    earned = "-" if check.score is None else str(check.score)
    message = printable(check.message, _MESSAGE)
    for said in ("not shown: ", "could not be judged: "):
        message = message.removeprefix(said)
    ranges = ranges_of(check.frames)
    found = wrong(message, by_frame) if check.outcome == "failed" else None
    return Finding(
        check,
        f"check-{number}",
        MARKS[check.outcome],
        f"{earned}/{check.points}" if check.points else "",
        printable(translated(check.title) or check.id, _MESSAGE),
        translated(message),
        found,
        tuple(frame for frame in _blames(check, message, found) if frame in by_frame),
        " ".join(f"{a}-{b}" if b > a else str(a) for a, b in ranges),
        len(check.frames),
        filter_of(ranges),
    )


def _blames(check: Check, message: str, found: Wrong | None) -> tuple[int, ...]:
    if check.outcome != "failed":
        return ()
    if found:
        return (found.frame,)
    begins = _BLAMED.match(message)
    if begins and int(begins[1]) in check.frames:
        return (int(begins[1]),)
    return check.frames if len(check.frames) <= _MOST_BLAMED else ()


def ranges_of(frames: tuple[int, ...]) -> list[tuple[int, int]]:
    """Ascending frames as runs (first, last)."""
    if frames and frames[-1] - frames[0] == len(frames) - 1:
        return [(frames[0], frames[-1])]
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and frame == found[-1][1] + 1:
            found[-1] = (found[-1][0], frame)
        else:
            found.append((frame, frame))
    return found


def filter_of(ranges: list[tuple[int, int]]) -> str:
    """A display filter for frames (wireshark-filter(4), "membership operator"); empty for none."""
    if not ranges:
        return ""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"frame.number == {ranges[0][0]}"
    return f"frame.number in {{{', '.join(f'{a} .. {b}' if b > a else str(a) for a, b in ranges)}}}"


def wrong(message: str, by_frame: Mapping[int, tuple[Conversation, int]]) -> Wrong | None:
    """What a failed comparison says, taken apart; None if it is another message."""
    found = _COMPARED.fullmatch(message)
    if not found or int(found["frame"]) not in by_frame:
        return None
    frame, field, actual, expected = int(found["frame"]), found["field"], found["actual"], found["expected"]
    because = tuple(int(number) for number in _REFERRED.findall(expected) if int(number) in by_frame)
    place = by_frame[frame]
    if actual.isdecimal() and field in ("seq", "ack", "length") and int(actual) != place[0].column(field)[place[1]]:
        return None  # that frame is of another capture
    says, should_say = _said(field, actual, place), _said(field, expected, place)
    return Wrong(frame, field, actual, expected, says, should_say, because)


def _said(field: str, text: str, place: tuple[Conversation, int]) -> tuple[str, str]:
    """A value as an arrow has it, in relative and in absolute numbers; empty where the text does not end in one."""
    conversation, row = place
    if field == "flags":
        letters = _LETTERS.search(text)
        return (f"[{letters[1]}]", f"[{letters[1]}]") if letters else ("", "")
    number = _LAST.search(text)
    if not number:
        return "", ""
    value = int(number[1])
    if field == "length":
        return f"len {value}", f"len {value}"
    begin, _end, ack = conversation.relative_by_row[row]
    on_the_wire = conversation.column(field)[row]
    relative = (begin if field == "seq" else ack) + signed_difference(value, on_the_wire)
    return f"{field} {relative}", f"{field} {value}"
