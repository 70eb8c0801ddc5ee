"""What harness.tcp.notation promises: packetdrill-like text → segments → the same text."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.tcp.conversation import conversations
from harness.tcp.flags import ACK, PSH, SYN, letters
from harness.tcp.notation import parse, write
from harness.tcp.segments import ABSENT, COLUMNS, address_text

MODULUS = 1 << 32


def test_a_line_is_a_segment() -> None:
    """Every field of the line stands in its column."""
    segments = parse(
        "+0 > S 0:0(0) win 64240 <mss 1460,sackOK,TS val 11 ecr 22,nop,wscale 7>\n"
        "+.25 < SP. 0:5(5) ack 1 win 0 <sack 7:9>\n",
        isns=(481914174, MODULUS - 1),
    )
    assert segments.frame.tolist() == [1, 2]
    assert [address_text(key) for key in segments.src] == ["192.168.1.63", "192.168.1.64"]
    assert [address_text(key) for key in segments.dst] == ["192.168.1.64", "192.168.1.63"]
    assert segments.sport.tolist() == [40000, 22]
    assert segments.dport.tolist() == [22, 40000]
    assert segments.seq.tolist() == [481914174, MODULUS - 1]
    assert segments.ack.tolist() == [0, 481914175]
    assert segments.flags.tolist() == [SYN, SYN | PSH | ACK]
    assert segments.window.tolist() == [64240, 0]
    assert segments.length.tolist() == [0, 5]
    assert segments.mss.tolist() == [1460, ABSENT]
    assert segments.wscale.tolist() == [7, ABSENT]
    assert segments.sack_permitted.tolist() == [True, False]
    assert segments.sack.tolist() == [False, True]
    assert segments.tsval.tolist() == [11, ABSENT]
    assert segments.tsecr.tolist() == [22, ABSENT]
    assert np.diff(segments.time).tolist() == pytest.approx([250_000_000], abs=1000)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["+0", "+1", "+.5"], [0, 1, 1.5]),
        (["0", "1.25", "+1"], [0, 1.25, 2.25]),
        (["2", "1", "+0"], [2, 1, 1]),
        (["+.001", "+0.001", "0.5"], [0.001, 0.002, 0.5]),
    ],
)
def test_times(times: list[str], seconds: list[float]) -> None:
    """ "+n" is after the line before, "n" from the start; the start is an argument."""
    segments = parse("\n".join(f"{time} > . 1:1(0) ack 1" for time in times), start=100)
    assert (segments.time / 1e9).tolist() == pytest.approx([100 + second for second in seconds])


@pytest.mark.parametrize(
    "text",
    ["", "\n\n  \n", "// nothing\n", "+0 > S 0:0(0) // the SYN\n\n   // and more\n\t+0 < S. 0:0(0) ack 1\n"],
)
def test_comments_and_empty_lines_are_nothing(text: str) -> None:
    """They are no segments, and no frame numbers."""
    assert parse(text).frame.tolist() == list(range(1, 1 + text.count(":0")))


def test_numbers_wrap_and_may_lie_before_the_isn() -> None:
    """They are relative to the ISNs on the circle of 32 bits."""
    segments = parse("+0 > . -3:2(5) ack -1\n+0 < . 1:1(0) ack 5", isns=(1, MODULUS - 1))
    assert segments.seq.tolist() == [MODULUS - 2, 0]
    assert segments.ack.tolist() == [MODULUS - 2, 6]


def test_an_ack_without_the_flag_is_not_sent() -> None:
    """The field is 0 where ACK is off."""
    assert parse("+0 > S 0:0(0) ack 5").ack.tolist() == [0]


GOOD = "+0 > . 1:1(0) ack 1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hello", "line 3 is not packetdrill's notation: hello"),
        ("+0 = S 0:0(0)", "line 3 is not packetdrill's notation"),
        ("> S 0:0(0)", "line 3 is not packetdrill's notation"),
        ("-1 > S 0:0(0)", "line 3 is not packetdrill's notation"),
        ("+0 > S", "line 3 is not packetdrill's notation"),
        ("+0 > S 0:0", "line 3 is not packetdrill's notation"),
        ("+0 > . 1:6(4) ack 1", "line 3 is not packetdrill's notation"),
        ("+0 > . 6:1(5) ack 1", "line 3 is not packetdrill's notation"),
        ("+0 > . 1:1(0) ack", "line 3 is not packetdrill's notation"),
        ("+0 > . 1:1(0) win 5 ack 1", "line 3 is not packetdrill's notation"),
        ("+0 > . 1:1(0) ack 1 <mss 5", "line 3 is not packetdrill's notation"),
        (f"{GOOD} {GOOD}", "line 3 is not packetdrill's notation"),
        ("+0 > X 0:0(0)", "line 3: 'X' is none of tcpdump's flag letters"),
        ("+0 > SA 0:0(0)", "line 3: 'A' is none of tcpdump's flag letters"),
        ("+0 > S 0:0(0) <mss>", "line 3: 'mss' is no TCP option of this notation"),
        ("+0 > S 0:0(0) <mss 5,md5 x>", "line 3: 'md5 x' is no TCP option of this notation"),
        ("+0 > S 0:0(0) <TS val 5>", "line 3: 'TS val 5' is no TCP option of this notation"),
        ("+0 > S 0:0(0) win 65536", "line 3: window 65536 is more than 65535"),
        ("+0 > S 0:0(0) <mss 65536>", "line 3: mss 65536 is more than 65535"),
        ("+0 > S 0:0(0) <wscale 256>", "line 3: wscale 256 is more than 255"),
        ("+0 > S 0:0(0) <TS val 4294967296 ecr 0>", "line 3: tsval 4294967296 is more than 4294967295"),
        ("+0 > . 1:65537(65536) ack 1", "line 3: length 65536 is more than 65535"),
        ("+99999999999 > S 0:0(0)", "line 3: time "),
    ],
)
def test_what_is_not_in_the_notation_is_an_error_with_its_line(line: str, message: str) -> None:
    """The message says which line, counted with the comments and the empty ones."""
    with pytest.raises(ValueError, match=r"^line 3") as caught:
        parse(f"// a comment\n\n{line}\n{GOOD}\n")
    assert str(caught.value).startswith(message)


_ANY = st.text(st.sampled_from([*"+0123456789.:()<>SFRPackwinmsTvleod, \n/-", "\t", "\u0663", "\x00"]), max_size=60)


@settings(max_examples=100, deadline=None)
@given(text=_ANY | st.builds("{} {}".format, st.just(GOOD), _ANY))
@example(text="+0 > S 0:0(0) <mss \u0663>")
def test_any_text_is_segments_or_an_error_with_a_line(text: str) -> None:
    """Nothing but ValueError comes out, and it begins with the line."""
    try:
        parse(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - or no error at all


# There and back

_SIZES = st.sampled_from([0, 0, 1, 21, 1460, 65495])
_FLAGS = st.integers(0, (1 << 9) - 1)


@st.composite
def scripts(draw: st.DrawFn) -> str:
    """A few segments with any flags at numbers near each other, and times of whole microseconds."""
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        flags = draw(_FLAGS)
        begin, size = draw(st.integers(-50, 3000)), draw(_SIZES)
        ack = f" ack {draw(st.integers(-50, 3000))}" if flags & ACK else ""
        way, wait = draw(st.sampled_from("<>")), draw(st.integers(0, 5_000_000))
        window = draw(st.integers(0, 65535))
        lines.append(f"+{wait / 1e6:.6f} {way} {letters(flags)} {begin}:{begin + size}({size}){ack} win {window}\n")
    return "".join(lines)


@settings(max_examples=70, deadline=None)
@given(script=scripts())
@example(script="+0 > S 0:0(0)\n+0 < R 0:0(0)\n")
@example(script="+0 < R. 500:500(0) ack 7\n")
def test_what_was_written_is_read_as_the_same(script: str) -> None:
    """Each conversation's text, read again, is one that is written the same."""
    for conversation in conversations(parse(script)):
        text = write(conversation)
        again = conversations(parse(text, initiator=conversation.initiator, responder=conversation.responder))
        assert "".join(map(write, again)) == text
        assert [segment.relative for part in again for segment in part.segments] == [
            segment.relative for segment in conversation.segments
        ]


@settings(max_examples=40, deadline=None)
@given(script=scripts(), isns=st.tuples(*[st.integers(0, MODULUS - 1)] * 2))
def test_with_both_syns_the_columns_are_the_same(script: str, isns: tuple[int, int]) -> None:
    """Where the capture shows both ISNs, reading the text with them gives the capture back, but for options."""
    segments = parse("0 > S 0:0(0)\n0 < S. 0:0(0) ack 1\n" + script, isns=isns)
    found = conversations(segments)
    if len(found) > 1:  # a SYN after the end: two incarnations, each with its own ISNs
        return
    again = parse(write(found[0]), isns=isns)
    for name in set(COLUMNS) - {"time"}:
        assert getattr(again, name).tolist() == getattr(segments, name).tolist(), name
    assert np.abs(again.time - segments.time).max() < 1000


def test_a_written_conversation() -> None:
    """One line a segment: seconds from the first, relative numbers, the window; options are left out."""
    script = "+0 > S 0:0(0) win 64240 <mss 1460>\n+.001 < S. 0:0(0) ack 1 win 65160\n+.5 > P. 1:22(21) ack 1\n"
    (conversation,) = conversations(parse(script, isns=(MODULUS - 1, 7)))
    assert write(conversation) == (
        "0.000000 > S 0:0(0) win 64240\n0.001000 < S. 0:0(0) ack 1 win 65160\n0.501000 > P. 1:22(21) ack 1 win 502\n"
    )
