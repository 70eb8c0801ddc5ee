"""Pages to look at: of good captures, wrong ones, large ones and hostile ones."""

from dataclasses import replace
from pathlib import Path

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.judging import judge
from harness.grading.results import Check, Results
from harness.reports.pages import Subject, report_page
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse
from tests.pcaps import Frame, decode, encode

DATA = Path(__file__).resolve().parent / "data"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"

OPEN_AND_CLOSE = """
+0     > S  0:0(0) win 64240 <mss 1460,sackOK,wscale 7>
+.001  < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,wscale 7>
+.001  > .  1:1(0) ack 1
+.001  > P. 1:22(21) ack 1
+.001  < .  1:1(0) ack 22
+.001  < P. 1:23(22) ack 22
+.001  > .  22:22(0) ack 23
+.1    > F. 22:22(0) ack 23
+0     < .  23:23(0) ack 23
+0     < F. 23:23(0) ack 23
+0     > .  23:23(0) ack 24
"""


def conversation_of(script: str) -> Conversation:
    """The one conversation of a script in packetdrill's notation."""
    (found,) = conversations(parse(script))
    return found


def wrong_capture() -> bytes:
    """A real capture in which the ACK of the SYN-ACK, frame 2, is one too high."""
    frames = decode((DATA / "four-segment.pcap").read_bytes())
    frames[1] = replace(frames[1], ack=frames[1].ack + 1)
    return encode(frames)


def judged(capture: bytes) -> tuple[Results, Evidence]:
    """A capture, judged by the handshake's rubric."""
    found = tuple(conversations(read_capture(capture, "made").segments))
    evidence = Evidence(lab_conversation(list(found), "made"), conversations=found)
    return judge("handshake", evidence), evidence


def page_of(capture: bytes) -> str:
    """Its page."""
    results, evidence = judged(capture)
    return report_page(Subject("handshake", results, evidence.conversation, evidence.conversations))


def bulk(packets: int, middle: str = "") -> Conversation:
    """A conversation with so many segments, most of them data from the responder.

    Args:
        packets: how many.
        middle: a segment that stands in the middle instead of another.
    """
    opening, closing = OPEN_AND_CLOSE.strip().splitlines()[:3], 4
    lines, sent = list(opening), 1
    while len(lines) < packets - closing:
        lines.append(f"+.0001 < . {sent}:{sent + 1448}(1448) ack 1")
        sent += 1448
        if len(lines) % 3 == 0:
            lines.append(f"+.0001 > . 1:1(0) ack {sent}")
    lines += [
        f"+.01 > F. 1:1(0) ack {sent}",
        f"+0 < . {sent}:{sent}(0) ack 2",
        f"+0 < F. {sent}:{sent}(0) ack 2",
        f"+0 > . 2:2(0) ack {sent + 1}",
    ]
    kept = lines[: packets - closing] + lines[-closing:]
    if middle:
        kept[packets // 2] = middle
    return conversation_of("\n".join(kept))


def seen_by_other_host(frames: list[Frame], *, lost: int, took: int = 30_000) -> list[Frame]:
    """What the responder's host would have captured of frames that the initiator's did.

    Args:
        frames: as captured.
        lost: the frame that never arrives.
        took: nanoseconds that every other takes.
    """
    return [
        replace(frame, time=frame.time + (took if frame.src == frames[0].src else -took))
        for number, frame in enumerate(frames, 1)
        if number != lost
    ]


def seen_from_both() -> tuple[Conversation, Conversation]:
    """A real capture, and the same as the other host would have captured it, without frame 4."""
    frames = decode((DATA / "four-segment.pcap").read_bytes())
    views = (frames, seen_by_other_host(frames, lost=4))
    (one,), (other,) = (conversations(read_capture(encode(view), "made").segments) for view in views)
    return one, other


def hostile_page(text: str) -> str:
    """A page on which all that can come from outside is this text."""
    conversation = conversation_of(OPEN_AND_CLOSE)
    outcomes = ("failed", "not-shown", "not-judged", "passed")
    checks = tuple(
        Check(text, text, 3, None if outcome == "not-judged" else 0, outcome, (2, 4), text) for outcome in outcomes
    )
    wrong = f"frame 2 (responder) ack {text}, but frame 1 seq 7 + 1 = 8"
    checks += (Check("wrong", text, 3, 0, "failed", (1, 2), wrong),)
    results = Results(text, text, None, checks, text)
    printed = [f"{text} Flags [S] length 0"] * 20
    return report_page(
        Subject(text, results, conversation, (conversation,), None, printed, lines=(text,), problems=(text,))
    )
