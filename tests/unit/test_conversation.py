"""What harness.tcp.conversation promises: what rubrics assert on, and NotShown for what was not captured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.ends import ENDS, other
from harness.tcp.notation import parse
from harness.tcp.segment import NotShown, Options, Segment
from harness.tcp.segments import address_key, from_rows
from tests.pcaps import decode, encode

DATA_FILES = Path(__file__).resolve().parents[1] / "data"

HANDSHAKE = """
    +0 > S  0:0(0)
    +0 < S. 0:0(0) ack 1
    +0 > .  1:1(0) ack 1
"""
DATA = """
    +0 > P. 1:22(21) ack 1
    +0 < P. 1:41(40) ack 22
    +0 > .  22:22(0) ack 41
"""
FOUR_SEGMENTS = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
THREE_SEGMENTS = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
SIMULTANEOUS_CLOSE = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 1
    +0 > .  2:2(0) ack 2
    +0 < .  2:2(0) ack 2
"""
HALF_CLOSE_WITH_DATA = """
    +0 > F. 1:1(0) ack 1
    +0 < P. 1:101(100) ack 2
    +0 > .  2:2(0) ack 101
    +0 < F. 101:101(0) ack 2
    +0 > .  2:2(0) ack 102
"""


def one(text: str) -> Conversation:
    """The only conversation of a script."""
    (found,) = conversations(parse(text))
    return found


def turned(text: str) -> str:
    """The same with the ends' parts exchanged."""
    return text.translate(str.maketrans("<>", "><"))


# How it was opened


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (HANDSHAKE, "three-way"),
        (HANDSHAKE + DATA + FOUR_SEGMENTS, "three-way"),
        ("+0 > S 0:0(0)\n+1 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+1 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1", "three-way"),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > P. 1:9(8) ack 1", "three-way"),
        ("+0 > S 0:0(0)\n+0 < S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < S. 0:0(0) ack 1", "simultaneous"),
        ("+0 < S 0:0(0)\n+0 > S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < . 1:1(0) ack 1", "simultaneous"),
        ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", "refused"),
        ("+0 > S 0:0(0)\n+1 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", "refused"),
        ("+0 > S 0:0(0)", "unanswered"),
        ("+0 > S 0:0(0)\n+1 > S 0:0(0)\n+2 > S 0:0(0)", "unanswered"),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1", "incomplete"),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R 1:1(0)", "incomplete"),
        ("+0 > S 0:0(0)\n+0 < S 0:0(0)", "incomplete"),
        (DATA, "not-shown"),
        (FOUR_SEGMENTS, "not-shown"),
        ("+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1", "not-shown"),
    ],
)
def test_kinds_of_open(script: str, kind: str) -> None:
    """The opening is told from the SYNs and what acknowledges them."""
    assert one(script).open == kind


# How it was closed

CLOSES: dict[str, tuple[str, str, str | None, tuple[str, ...], bool]] = {
    # name: script after the handshake, kind, closer, who holds TIME-WAIT, whether it is over
    "four segments": (FOUR_SEGMENTS, "four-segment", "initiator", ("initiator",), True),
    "four segments, the responder first": (
        *(turned(FOUR_SEGMENTS), "four-segment", "responder", ("responder",), True),
    ),
    "data after the first FIN": (HALF_CLOSE_WITH_DATA, "four-segment", "initiator", ("initiator",), True),
    "four segments, all but the last": (
        *(FOUR_SEGMENTS.rstrip().rpartition("\n")[0], "four-segment", "initiator", ("initiator",), False),
    ),
    "three segments": (THREE_SEGMENTS, "three-segment", "initiator", ("initiator",), True),
    "three segments, the responder first": (
        *(turned(THREE_SEGMENTS), "three-segment", "responder", ("responder",), True),
    ),
    "simultaneous": (SIMULTANEOUS_CLOSE, "simultaneous", "both", ("initiator", "responder"), True),
    "simultaneous, the responder's FIN first": (
        *(turned(SIMULTANEOUS_CLOSE), "simultaneous", "both", ("initiator", "responder"), True),
    ),
    "simultaneous, before the ACKs": (
        "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 1",
        *("simultaneous", "both", ("initiator", "responder"), False),
    ),
    "crossed FINs, the second sent again with an ACK": (
        "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 1\n+1 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2",
        *("simultaneous", "both", ("initiator", "responder"), True),
    ),
    "one FIN": ("+0 > F. 1:1(0) ack 1", "half-closed", "initiator", ("initiator",), False),
    "one FIN, acknowledged": (
        "+0 < F. 1:1(0) ack 1\n+0 > . 1:1(0) ack 2",
        *("half-closed", "responder", ("responder",), False),
    ),
    "RST of the initiator": ("+0 > R 1:1(0)", "reset", "initiator", (), True),
    "RST of the responder": ("+0 < R. 1:1(0) ack 1", "reset", "responder", (), True),
    "RST after one FIN": ("+0 > F. 1:1(0) ack 1\n+0 < R 1:1(0)", "reset", "responder", (), True),
    "RST in place of the last ACK": (
        "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 2\n+0 > R 2:2(0)",
        *("reset", "initiator", (), True),
    ),
    "RST after everything": (
        FOUR_SEGMENTS + "+1 < R 2:2(0)",
        *("four-segment", "initiator", ("initiator",), True),
    ),
    "RST far out of the window": ("+0 > R 900000:900000(0)", "open", None, (), False),
    "nothing": ("", "open", None, (), False),
    "data": (DATA, "open", None, (), False),
}


@pytest.mark.parametrize(("script", "kind", "closer", "active", "is_over"), CLOSES.values(), ids=CLOSES)
def test_kinds_of_close(script: str, kind: str, closer: str | None, active: tuple[str, ...], is_over: bool) -> None:
    """The close is told from the FINs, what acknowledged them when, and from a RST that had to be taken."""
    conversation = one(HANDSHAKE + script)
    assert conversation.close == kind
    assert conversation.closer == closer
    assert conversation.active_closers == active
    assert conversation.is_over is is_over


@pytest.mark.parametrize(
    ("script", "over"),
    [
        ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", True),
        ("+0 > S 0:0(0)", False),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R 1:1(0)", True),
    ],
)
def test_a_refused_or_abandoned_opening_is_over(script: str, over: bool) -> None:
    """A RST that ends the opening ends the conversation."""
    assert one(script).is_over is over
    assert one(script).close == ("reset" if over else "open")


@pytest.mark.parametrize("script", [FOUR_SEGMENTS, THREE_SEGMENTS, SIMULTANEOUS_CLOSE, HALF_CLOSE_WITH_DATA])
def test_a_fin_sent_again_is_the_same_close(script: str) -> None:
    """Each FIN counts where it was sent first, and the ACK of it where it came first."""
    again = [line for line in script.splitlines() for _ in range(2 if " F" in line else 1)]
    first, second = one(HANDSHAKE + script), one(HANDSHAKE + "\n".join(again))
    assert (second.close, second.closer, second.is_over) == (first.close, first.closer, True)


# Wireshark's completeness


@pytest.mark.parametrize(
    ("script", "bits"),
    [
        ("+0 > S 0:0(0)", 1),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1", 1 | 2),
        ("+0 > S 0:0(0)\n+0 < R 0:0(0)", 1 | 32),
        ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", 1 | 4 | 32),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > P. 1:9(8) ack 1", 1 | 2 | 8),
        (HANDSHAKE, 1 | 2 | 4),
        (HANDSHAKE + DATA, 1 | 2 | 4 | 8),
        (HANDSHAKE + FOUR_SEGMENTS, 1 | 2 | 4 | 16),
        (HANDSHAKE + HALF_CLOSE_WITH_DATA, 1 | 2 | 4 | 8 | 16),
        (HANDSHAKE + "+0 > R 1:1(0)", 1 | 2 | 4 | 32),
        (HANDSHAKE + DATA + "+0 > F. 22:22(0) ack 41\n+0 < R 41:41(0)", 63),
        (DATA, 4 | 8),
        ("+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1", 2 | 4),
    ],
)
def test_completeness(script: str, bits: int) -> None:
    """One bit for each kind of segment that was captured: SYN, SYN-ACK, ACK, data, FIN, RST."""
    assert one(script).completeness == bits


# Accessors

CLOSED = (
    HANDSHAKE
    + DATA.replace("22:22(0) ack 41", "22:22(0) ack 41 // 6")
    + ("+0 > F. 22:22(0) ack 41\n+0 < . 41:41(0) ack 23\n+0 < F. 41:41(0) ack 23\n+0 > . 23:23(0) ack 42")
)


@pytest.mark.parametrize(
    ("ask", "frame", "looked_at"),
    [
        (lambda c: c.syn, 1, {1}),
        (lambda c: c.syn_ack, 2, {2}),
        (lambda c: c.handshake_ack, 3, {2, 3}),
        (lambda c: c.initiator_stream.first_data, 4, {4}),
        (lambda c: c.responder_stream.first_data, 5, {5}),
        (lambda c: c.initiator_stream.fin, 7, {7}),
        (lambda c: c.initiator_stream.fin_ack, 8, {7, 8}),
        (lambda c: c.responder_stream.fin, 9, {9}),
        (lambda c: c.responder_stream.fin_ack, 10, {9, 10}),
    ],
)
def test_accessors_find_their_segment(ask: Callable[[Conversation], Segment], frame: int, looked_at: set[int]) -> None:
    """Each finds the one segment it stands for; the check that asked has looked at it and at what it answers."""
    conversation = one(CLOSED)
    assert ask(conversation).frame == frame
    assert conversation.looked_at == looked_at


def test_the_first_of_several_counts() -> None:
    """What was sent again is found where it was sent first."""
    script = "".join(f"{line}\n{line}\n" for line in CLOSED.splitlines() if line.strip())
    conversation = one(script)
    assert [conversation.syn.frame, conversation.syn_ack.frame, conversation.handshake_ack.frame] == [1, 3, 5]
    assert [stream.fin.frame for stream in conversation.streams] == [13, 17]
    assert [stream.fin_ack.frame for stream in conversation.streams] == [15, 19]


@pytest.mark.parametrize(
    ("script", "ask", "message"),
    [
        (DATA, lambda c: c.syn, "the initiator's SYN"),
        (DATA, lambda c: c.syn_ack, "the responder's SYN-ACK"),
        (DATA, lambda c: c.handshake_ack, "the responder's SYN-ACK"),
        ("+0 > S 0:0(0)", lambda c: c.syn_ack, "the responder's SYN-ACK"),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1", lambda c: c.handshake_ack, "the third segment of the handshake"),
        ("+0 > S 0:0(0)", lambda c: c.responder_stream.segments, "no segment sent by the responder"),
        ("+0 > S 0:0(0)", lambda c: c.responder_stream.data, "no segment sent by the responder"),
        ("+0 > S 0:0(0)", lambda c: c.responder_stream.fin, "no segment sent by the responder"),
        (DATA, lambda c: c.initiator_stream.isn, "the initiator's SYN"),
        (DATA, lambda c: c.responder_stream.isn, "the responder's SYN"),
        (HANDSHAKE, lambda c: c.initiator_stream.first_data, "no data sent by the initiator"),
        (HANDSHAKE, lambda c: c.responder_stream.fin, "no FIN of the responder"),
        (HANDSHAKE, lambda c: c.responder_stream.fin_ack, "no FIN of the responder"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1", lambda c: c.initiator_stream.fin_ack, r"no ACK of .* FIN \(frame 4\)"),
        (
            HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < R. 1:1(0) ack 2",
            lambda c: c.initiator_stream.fin_ack,
            r"no ACK of the initiator's FIN \(frame 4\)",
        ),
        (HANDSHAKE + DATA, lambda c: c.initiator_stream.first_data.payload, "the payload of frame 4"),
    ],
)
def test_what_was_not_captured_is_not_shown(script: str, ask: Callable[[Conversation], object], message: str) -> None:
    """The accessor says what is missing; a check that runs into it has neither passed nor failed."""
    conversation = one(script)
    with pytest.raises(NotShown, match=message):
        ask(conversation)


def test_data_is_what_has_payload() -> None:
    """All segments with payload, also a FIN with some; a RST's text is no data."""
    conversation = one(HANDSHAKE + "+0 > P. 1:5(4) ack 1\n+0 > FP. 5:9(4) ack 1\n+0 > R 10:20(10)")
    assert [segment.frame for segment in conversation.initiator_stream.data] == [4, 5]
    assert conversation.responder_stream.data == ()


def test_resets_are_all_rsts() -> None:
    """Of both ends, in order."""
    conversation = one(HANDSHAKE + "+0 > R 1:1(0)\n+0 < R. 1:1(0) ack 1")
    assert [segment.frame for segment in conversation.resets] == [4, 5]


def test_streams_are_the_two_ends() -> None:
    """By name, by attribute and both together; each has the other one."""
    conversation = one(HANDSHAKE)
    assert [stream.end for stream in conversation.streams] == list(ENDS)
    assert [conversation.stream(end).end for end in ENDS] == list(ENDS)
    assert [other(end) for end in ENDS] == ["responder", "initiator"]
    assert [segment.frame for segment in conversation.stream("initiator").segments] == [1, 3]


def test_the_ends_are_named_by_address_and_port() -> None:
    """As "IP:PORT"."""
    conversation = one(HANDSHAKE)
    assert conversation.initiator == "192.168.1.63:40000"
    assert conversation.responder == "192.168.1.64:22"


# A segment


def test_a_segments_fields() -> None:
    """They are as on the wire, and know where they stood."""
    segments = parse(HANDSHAKE + "+.5 > PE. 1:22(21) ack 1 win 229", isns=(481914174, 2737267461))
    (conversation,) = conversations(segments)
    segment = conversation.at(3)
    assert (segment.frame, segment.frames, segment.row, segment.sender) == (4, (4,), 3, "initiator")
    assert segment.flags == "P.E"
    assert segment.control == "."
    assert (segment.has_syn, segment.has_ack, segment.has_fin, segment.has_rst) == (False, True, False, False)
    assert segment.window == 229
    assert segment.len == 21
    assert segment.relative == (1, 22, 1)
    assert segment.time - conversation.at(0).time == pytest.approx(500_000_000, abs=1000)
    assert segment.seq.as_expected() == "frame 4 seq 481914175"
    assert segment.ack.as_found() == "frame 4 (initiator) ack 2737267462"
    assert segment.end.as_expected() == "frame 4 seq 481914175 + 21 = 481914196"
    assert segment.expected_seq.as_expected() == "frame 1 seq 481914174 + 1 = 481914175"
    assert repr(segment) == "<frame 4 initiator: P.E 1:22(21) ack 1>"


@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("+0 > S 0:0(0)", 1),
        ("+0 > S 0:5(5)", 6),
        ("+0 > F 0:0(0)", 1),
        ("+0 > F 0:5(5)", 6),
        ("+0 > P. 0:5(5) ack 1", 5),
        ("+0 > . 0:0(0) ack 1", 0),
    ],
)
def test_syn_and_fin_occupy_a_number(line: str, added: int) -> None:
    """RFC 9293 §3.4: SEG.LEN counts the data, and one for SYN or FIN."""
    segment = one(line).at(0)
    assert segment.end.distance_from(segment.seq) == added
    assert segment.relative[1] - segment.relative[0] == added


def test_without_the_flag_there_is_no_relative_ack() -> None:
    """The first SYN acknowledges nothing."""
    assert one(HANDSHAKE).syn.relative == (0, 1, None)
    assert repr(one(HANDSHAKE).syn) == "<frame 1 initiator: S 0:1(0)>"


def test_what_the_peer_had_sent_and_what_was_acknowledged_before() -> None:
    """Both are fields of earlier frames, None where there is none."""
    conversation = one(HANDSHAKE + DATA)
    sent = [segment.highest_sent_by_peer for segment in conversation.segments]
    acked = [segment.acked_before for segment in conversation.segments]
    assert [None if seq is None else seq.as_expected() for seq in sent] == [
        None,
        "frame 1 seq 1000 + 1 = 1001",
        "frame 2 seq 5000 + 1 = 5001",
        "frame 2 seq 5000 + 1 = 5001",
        "frame 4 seq 1001 + 21 = 1022",
        "frame 5 seq 5001 + 40 = 5041",
    ]
    assert [None if seq is None else seq.as_expected() for seq in acked] == [
        None,
        None,
        None,
        "frame 3 ack 5001",
        "frame 2 ack 1001",
        "frame 3 ack 5001",
    ]


def test_in_midstream_an_empty_segment_counts_as_captured() -> None:
    """What the peer had sent is known from any segment of it, also one without data."""
    conversation = one("+0 > . 1:1(0) ack 1\n+0 < . 1:1(0) ack 1\n+0 > P. 101:111(10) ack 1")
    assert [segment.highest_sent_by_peer is None for segment in conversation.segments] == [True, False, False]
    assert [segment.offset for segment in conversation.segments] == [0, 0, 100]
    assert [segment.in_place for segment in conversation.segments] == [True, True, False]


def test_options() -> None:
    """Each option as the RFCs have it; None where one is absent."""
    conversation = one("""
        +0 > S  0:0(0) <mss 1460,sackOK,TS val 7 ecr 0,nop,wscale 7>
        +0 < S. 0:0(0) ack 1
        +0 > .  1:1(0) ack 1 <nop,nop,sack 1:2>
    """)
    assert conversation.syn.options == Options(1460, 7, sack_permitted=True, sack=False, timestamps=(7, 0))
    assert conversation.syn_ack.options == Options(None, None, sack_permitted=False, sack=False, timestamps=None)
    assert conversation.handshake_ack.options.sack


def test_options_that_the_capture_does_not_hold() -> None:
    """A text listing without options does not show them; it does not say that there are none."""
    (conversation,) = conversations(replace(parse(HANDSHAKE), options_shown=False))
    with pytest.raises(NotShown, match=r"TCP options \(frame 1\)"):
        _ = conversation.syn.options


@pytest.mark.parametrize(("held", "shown"), [(b"abcd", True), (b"abc", False), (b"", False), (None, False)])
def test_payload_is_whole_or_not_shown(held: bytes | None, shown: bool) -> None:
    """A payload of which the capture has a part only is not shown."""
    ends = {"src": address_key("10.0.0.1"), "dst": address_key("10.0.0.2"), "sport": 40000, "dport": 22}
    (conversation,) = conversations(from_rows([{**ends, "frame": 1, "flags": 16, "length": 4}], [held]))
    if shown:
        assert conversation.at(0).payload == held
    else:
        with pytest.raises(NotShown, match="payload of frame 1"):
            _ = conversation.at(0).payload


# Where segments fit

# Each after a handshake: (begin:end, offset, in place).
FITS: dict[str, list[tuple[str, int, bool]]] = {
    "in sequence": [("1:11", 0, True), ("11:21", 0, True), ("21:21", 0, True)],
    "retransmitted": [("1:11", 0, True), ("1:11", -10, True), ("11:21", 0, True)],
    "retransmitted in one piece": [("1:11", 0, True), ("11:21", 0, True), ("1:21", -20, True)],
    "retransmitted in part": [("1:21", 0, True), ("1:11", -20, True)],
    "retransmitted from no boundary": [("1:21", 0, True), ("11:21", -10, False)],
    "lost, then filled": [("1:11", 0, True), ("21:31", 10, True), ("11:21", -20, True), ("31:41", 0, True)],
    "lost, then filled in pieces": [("1:11", 0, True), ("31:41", 20, True), ("11:21", -30, True), ("21:31", -20, True)],
    "lost, and not filled": [("1:11", 0, True), ("21:31", 10, False)],
    "lost, and filled in part": [("21:31", 20, False), ("1:11", -30, True)],
    "a number too far": [("1:11", 0, True), ("12:22", 1, False), ("22:32", 0, True)],
    "reordered": [("11:21", 10, True), ("1:11", -20, True), ("21:31", 0, True)],
    "overlapping": [("1:11", 0, True), ("6:16", -5, False)],
    "overlapping, from a boundary": [("1:11", 0, True), ("1:16", -10, False)],
}


@pytest.mark.parametrize(
    ("after", "other_byte", "in_place"), [(210_000_000, 0, True), (210_000_000, 1, False), (1_000_000, 0, False)]
)
def test_sent_again_with_what_was_lost_behind_it(after: int, other_byte: int, in_place: bool) -> None:
    """What is sent again may be cut anew: with the same bytes, and not at once (RFC 9293 §3.8.1)."""
    frames = decode((DATA_FILES / "four-segment.pcap").read_bytes())
    own = [place for place, frame in enumerate(frames) if frame.sport == 22 and frame.payload]
    one, two = own[5], own[6]
    payload = bytes([frames[one].payload[0] ^ other_byte]) + frames[one].payload[1:] + frames[two].payload
    frames[two] = replace(frames[two], seq=frames[one].seq, payload=payload, time=frames[one].time + after)
    (found,) = conversations(read_capture(encode(frames), "made").segments)
    assert found.at(two).in_place is in_place


@pytest.mark.parametrize("pieces", FITS.values(), ids=FITS)
@pytest.mark.parametrize("way", [">", "<"])
def test_where_segments_fit(pieces: list[tuple[str, int, bool]], way: str) -> None:
    """In sequence, sent again whole, or early and late by exactly what the network lost or reordered."""
    script = HANDSHAKE
    for piece, *_ in pieces:
        begin, end = map(int, piece.split(":"))
        script += f"+0 {way} . {piece}({end - begin}) ack 1\n"
    segments = one(script).segments[3:]
    assert [(f"{s.relative[0]}:{s.relative[1]}", s.offset, s.in_place) for s in segments] == pieces


@pytest.mark.parametrize(
    ("pieces", "repeats"),
    [
        (["1:11", "11:21"], [False, False]),
        (["1:11", "1:11", "1:11"], [False, True, True]),
        (["1:11", "11:21", "1:21", "1:11", "11:21"], [False, False, True, True, True]),
        (["1:21", "11:21"], [False, False]),
        (["1:11", "6:16"], [False, False]),
        (["1:11", "1:16"], [False, False]),
        (["1:11", "21:31"], [False, False]),
        (["1:11", "11:11", "1:1"], [False, False, False]),
    ],
)
def test_what_repeats(pieces: list[str], repeats: list[bool]) -> None:
    """What was sent before, all of it, from where a segment began or ended: new data and empty segments do not."""
    script = HANDSHAKE
    for piece in pieces:
        begin, end = map(int, piece.split(":"))
        script += f"+0 > . {piece}({end - begin}) ack 1\n"
    assert [segment.repeats for segment in one(script).segments[3:]] == repeats


@pytest.mark.parametrize("line", ["+1 > S 0:0(0)", "+1 < S. 0:0(0) ack 1"])
def test_a_syn_sent_again_repeats(line: str) -> None:
    """It occupies its number like data."""
    segment = one(HANDSHAKE + line).at(3)
    assert (segment.repeats, segment.in_place, segment.offset) == (True, True, -1)


def test_a_fin_sent_again_repeats() -> None:
    """And an ACK after it, which occupies nothing, does not."""
    conversation = one(HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+1 > F. 1:1(0) ack 1\n+0 > . 2:2(0) ack 1")
    assert [segment.repeats for segment in conversation.segments] == [False, False, False, False, True, False]
    assert all(segment.in_place for segment in conversation.segments)


def test_a_fin_ahead_of_its_data() -> None:
    """A FIN that overtook data is in place once the data has come."""
    conversation = one(HANDSHAKE + "+0 > F. 11:11(0) ack 1\n+0 > P. 1:11(10) ack 1")
    assert all(segment.in_place for segment in conversation.segments)
    assert not one(HANDSHAKE + "+0 > F. 11:11(0) ack 1").at(3).in_place


@pytest.mark.parametrize(
    ("after", "start", "stop", "filled"),
    [(3, 1, 11, True), (3, 1, 16, False), (4, 1, 11, False), (4, 6, 11, True), (3, 1, 21, False), (3, 2, 11, False)],
)
def test_is_filled_later(after: int, start: int, stop: int, filled: bool) -> None:
    """The segments after a row must cover all of the gap, and nothing but the gap."""
    conversation = one(HANDSHAKE + "+0 > . 11:21(10) ack 1\n+0 > . 1:6(5) ack 1\n+0 > . 6:11(5) ack 1")
    assert conversation.is_filled_later("initiator", start, stop, after=after) is filled
    assert not conversation.is_filled_later("responder", start, stop, after=after)


# How much was sent


@pytest.mark.parametrize(
    ("script", "count"),
    [
        (HANDSHAKE, 0),
        (HANDSHAKE + "+0 > . 1:11(10) ack 1\n+0 > . 11:21(10) ack 1", 20),
        (HANDSHAKE + "+0 > . 1:11(10) ack 1\n+0 > . 1:11(10) ack 1\n+0 > . 6:16(10) ack 1", 15),
        (HANDSHAKE + "+0 > . 11:21(10) ack 1\n+0 > . 1:11(10) ack 1", 20),
        (HANDSHAKE + "+0 > . 1:11(10) ack 1\n+0 > FP. 11:21(10) ack 1\n+1 > FP. 11:21(10) ack 1", 20),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1", 0),
        (HANDSHAKE + "+0 > . 1:11(10) ack 1\n+0 > R 11:99(88)", 10),
        ("+0 > . 501:511(10) ack 1\n+0 > F. 511:511(0) ack 1", 10),
        ("+0 > S 0:0(0)", 0),
        ("+0 > R 5:9(4)", 0),
    ],
)
def test_bytes_are_counted_once(script: str, count: int) -> None:
    """Payload that was sent again counts once; SYN, FIN and what a RST carries do not count."""
    assert one(script).initiator_stream.bytes == count
    assert one(script).responder_stream.bytes == 0


@pytest.mark.parametrize(("position", "frames"), [(0, [2, 5]), (1, [5]), (21, [5]), (22, [])])
def test_acks_of_a_position(position: int, frames: list[int]) -> None:
    """The peer's segments that acknowledge more than the position."""
    conversation = one(HANDSHAKE + DATA)
    assert [segment.frame for segment in conversation.initiator_stream.acks_of(position)] == frames
    assert conversation.looked_at == set(frames)


# What a check has looked at


def test_a_fresh_view_has_looked_at_nothing() -> None:
    """Each check has a view of its own: it sees all, and only its own looks are noted in it."""
    conversation = one(CLOSED)
    _ = conversation.syn
    one_view, other_view = conversation.fresh_view(), conversation.fresh_view()
    assert one_view.looked_at == other_view.looked_at == set()
    _ = one_view.syn_ack, one_view.responder_stream.fin
    assert one_view.looked_at == {2, 9}
    assert other_view.looked_at == set()
    assert one_view.close == conversation.close
    assert [segment.frame for segment in other_view.segments] == list(range(1, 11))
    assert other_view.looked_at == set(range(1, 11))


@pytest.mark.parametrize(
    ("ask", "frames"),
    [
        (lambda c: c.initiator_stream.isn, {1}),
        (lambda c: c.responder_stream.isn, {2}),
        (lambda c: c.initiator_stream.segments, {1, 3, 4, 6, 7, 10}),
        (lambda c: c.responder_stream.data, {5}),
        (lambda c: c.resets, set()),
        (lambda c: c.initiator_stream.fin_ack, {7, 8}),
        (lambda c: c.rows_in_order, set()),
        (lambda c: c.at(4).seq, set()),
        (lambda c: (c.states("initiator"), c.states_by_row, c.illegal, c.history, c.completeness), set()),
        (lambda c: c.initiator_stream.bytes, set()),
    ],
)
def test_what_is_handed_out_has_been_looked_at(ask: Callable[[Conversation], object], frames: set[int]) -> None:
    """Segments that a rubric gets are noted; what is only worked out is not."""
    view = one(CLOSED).fresh_view()
    ask(view)
    assert view.looked_at == frames
