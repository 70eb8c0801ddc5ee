"""annotated.pcapng: the capture's frames, unchanged, with comments: what a segment is, and which checks speak of it.

It opens in Wireshark; `tshark -r annotated.pcapng -Y frame.comment -T fields -e frame.number -e frame.comment` lists
the comments. The capture itself stays the evidence.
"""

from collections.abc import Iterable, Iterator

from harness.captures.commented import Commented, Interface, commented
from harness.errors import one_line
from harness.grading.results import Check, Results
from harness.language import _
from harness.messages import translated
from harness.reports.roles import roles
from harness.reports.text import verdict_line
from harness.runs import RunRecord
from harness.tcp.conversation import Conversation

_MOST_LINES = 10  # of a frame's comment: more nobody reads in Wireshark
_MOST_NAMES = 4  # of passed checks
_LONGEST = 300  # characters of a line
_MARKS = {"failed": "✗", "not-shown": "?", "not-judged": "!"}
_NOT_RECORDED = "unknown"  # what Wireshark calls the interface of a pcap file


def annotated(
    data: bytes,
    name: str,
    conversations: Iterable[Conversation],
    results: Results | None = None,
    run: RunRecord | None = None,
) -> Commented:
    """A capture's bytes → those of the annotated capture.

    Args:
        data: the capture file's bytes: pcap, pcapng, or gzip of either.
        name: the file's, for messages.
        conversations: all of the capture.
        results: what a rubric says of it.
        run: what a live run recorded beside it.

    Raises:
        HarnessError: there are no frames' bytes in it.
    """
    comments = frame_comments(conversations, results, _scenes(run))
    return commented(data, name, comments, about=_about(results), interface=_interface(name, run))


def frame_comments(
    conversations: Iterable[Conversation],
    results: Results | None = None,
    scenes: dict[tuple[str, str], str] | None = None,
) -> dict[int, str]:
    """A comment for each control segment, and for each frame that a check speaks of.

    Args:
        conversations: all of the capture.
        results: what a rubric says of it.
        scenes: (initiator, responder) → what its conversations are called.

    Returns:
        Frame number → lines, joined by newlines.
    """
    found: dict[int, list[str]] = {}
    for conversation in conversations:
        scene = (scenes or {}).get((conversation.initiator, conversation.responder), "")
        for frame, lines in roles(conversation).items():
            found[frame] = [f"{scene}: {lines[0]}", *lines[1:]] if scene else lines
    by_frame: dict[int, list[Check]] = {}
    # Who looked at few frames speaks of each more than who looked at all.
    for check in sorted(results.checks if results else (), key=lambda check: len(check.frames)):
        for frame in check.frames:
            by_frame.setdefault(frame, []).append(check)
    for frame, checks in by_frame.items():
        lines = found.setdefault(frame, [])
        lines += _of_checks(checks, _MOST_LINES - len(lines))
    return {frame: "\n".join(found[frame]) for frame in sorted(found)}


def _of_checks(checks: list[Check], most: int) -> Iterator[str]:
    """What checks say of a frame, in at most so many lines: those that do not hold with their messages, then names."""
    wrong = [check for check in checks if check.outcome != "passed"]
    held = [check for check in checks if check.outcome == "passed"]
    room = most - bool(held)
    shown = wrong if len(wrong) <= room else wrong[: room - 1]
    yield from map(_told, shown)
    if len(shown) < len(wrong):
        yield _("… and {count} more that do not hold").format(count=len(wrong) - len(shown))
    if held:
        names = ", ".join(check.id for check in held[:_MOST_NAMES])
        more = len(held) - _MOST_NAMES
        yield f"✓ {names}" + (_(" and {count} more").format(count=more) if more > 0 else "")


def _told(check: Check) -> str:
    return one_line(f"{_MARKS[check.outcome]} {translated(check.title)}: {translated(check.message)}", _LONGEST)


def _about(results: Results | None) -> str:
    """The verdict, and the checks that do not hold and speak of no frame."""
    if results is None:
        return ""
    lines = [one_line(f"{results.lab}: {verdict_line(results)}", _LONGEST)]
    lines += [_told(check) for check in results.checks if check.outcome != "passed" and not check.frames]
    return "\n".join(lines)


def _scenes(run: RunRecord | None) -> dict[tuple[str, str], str]:
    connections = run.document.get("connections") if run else None
    return {(ends["initiator"], ends["responder"]): name for name, ends in (connections or {}).items()}


def _interface(name: str, run: RunRecord | None) -> Interface:
    """What is known of where the capture was taken: a live run's is, that of a pcap file from elsewhere is not."""
    if run is None:
        return Interface(_NOT_RECORDED, _("not recorded in {file}").format(file=one_line(name)))
    server = run.document["hosts"]["server"]
    said = _("the lab link at the server host, {address}").format(address=server["address"])
    return Interface(one_line(str(server.get("interface", _NOT_RECORDED))), said)
