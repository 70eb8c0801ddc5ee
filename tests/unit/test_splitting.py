"""What harness.tcp.splitting promises: one conversation a connection, and who opened it."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tcp.conversation import conversations
from harness.tcp.flags import ACK, FIN, RST, SYN, from_letters
from harness.tcp.notation import parse
from harness.tcp.segments import Segments, from_rows
from harness.tcp.splitting import split

CLIENT, SERVER = "192.168.1.63:40000", "192.168.1.64:22"

HANDSHAKE = """
    +0 > S  0:0(0)
    +0 < S. 0:0(0) ack 1
    +0 > .  1:1(0) ack 1
"""
CLOSE = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
ONE_FIN = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
"""
AGAIN = """
    +1 > S  70000:70000(0)
    +0 < S. 90000:90000(0) ack 70001
    +0 > .  70001:70001(0) ack 90001
"""


def sent(*segments: tuple[str, str, str, int]) -> Segments:
    """Columns from (source, destination, flags, sequence number) of each segment."""

    def end(text: str) -> tuple[int, int]:
        address, _, port = text.rpartition(":")
        return int(ipaddress.IPv4Address(address)), int(port)

    rows = []
    for frame, (source, destination, flags, seq) in enumerate(segments, 1):
        (src, sport), (dst, dport) = end(source), end(destination)
        ends = {"src": src, "sport": sport, "dst": dst, "dport": dport}
        rows.append({"frame": frame, "seq": seq, "flags": from_letters(flags), **ends})
    return from_rows(rows)


def frames(segments: Segments) -> list[list[int]]:
    """Each conversation's frames."""
    return [segments.frame[rows.rows].tolist() for rows in split(segments)]


def numbered(first: int, last: int) -> list[int]:
    """All frames from the first to the last."""
    return list(range(first, last + 1))


# One 4-tuple, used again


def test_one_connection_is_one_conversation() -> None:
    """From the SYN to the last ACK nothing is cut off."""
    assert frames(parse(HANDSHAKE + CLOSE)) == [numbered(1, 7)]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(CLOSE, id="both FINs"),
        pytest.param("+0 > R 1:1(0)", id="RST of the initiator"),
        pytest.param("+0 < R. 1:1(0) ack 1", id="RST of the responder"),
        pytest.param("+0 < F. 1:1(0) ack 1\n+0 > F. 1:1(0) ack 2", id="both FINs, the last ACK lost"),
    ],
)
def test_a_syn_after_the_end_opens_another(end: str) -> None:
    """After a RST or both FINs, a SYN with another number is a new incarnation of the 4-tuple."""
    segments = parse(HANDSHAKE + end + AGAIN)
    first = len(segments) - 3
    assert frames(segments) == [numbered(1, first), numbered(first + 1, first + 3)]


def test_three_incarnations() -> None:
    """Each end counts for its own incarnation only."""
    third = AGAIN.replace("70", "80")
    segments = parse(HANDSHAKE + CLOSE + AGAIN + "+0 > R 70001:70001(0)" + third)
    assert frames(segments) == [numbered(1, 7), numbered(8, 11), numbered(12, 14)]


def test_the_other_end_may_open_the_next() -> None:
    """Who opens is found anew for each incarnation."""
    text = HANDSHAKE + CLOSE + "+1 < S 70000:70000(0)\n+0 > S. 90000:90000(0) ack 70001"
    first, second = conversations(parse(text))
    assert (first.initiator, first.responder) == (CLIENT, SERVER)
    assert (second.initiator, second.responder) == (SERVER, CLIENT)


@pytest.mark.parametrize("end", ["", ONE_FIN, "+0 > P. 1:9(8) ack 1"], ids=["open", "one FIN", "data"])
@pytest.mark.parametrize("answer", ["", "+0 < . 1:1(0) ack 1"], ids=["unanswered", "challenged"])
def test_a_syn_before_the_end_opens_nothing(end: str, answer: str) -> None:
    """A connection that still stands is not cut by a SYN, whatever its number: that is a fault inside it."""
    segments = parse(HANDSHAKE + end + f"\n+1 > S 70000:70000(0)\n{answer}\n+1 > P. 9:10(1) ack 1")
    assert frames(segments) == [numbered(1, len(segments))]


@pytest.mark.parametrize("end", ["", ONE_FIN, "+0 > P. 1:9(8) ack 1"], ids=["open", "one FIN", "data"])
def test_a_syn_that_a_syn_ack_answers_opens_another(end: str) -> None:
    """Only a new connection answers so: the capture lacks the end of the old one."""
    segments = parse(HANDSHAKE + end + AGAIN)
    first = len(segments) - 3
    assert frames(segments) == [numbered(1, first), numbered(first + 1, first + 3)]


def test_an_old_syn_in_time_wait_opens_nothing() -> None:
    """The ACK that answers it speaks of the old connection (RFC 9293 §3.10.7.4)."""
    segments = parse(HANDSHAKE + CLOSE + "+1 < S 70000:70000(0)\n+0 > . 2:2(0) ack 2")
    assert frames(segments) == [numbered(1, len(segments))]


def test_one_ends_fin_sent_twice_is_no_end() -> None:
    """Both FINs means one of each end."""
    segments = parse(HANDSHAKE + ONE_FIN + "+1 > F. 1:1(0) ack 1\n+1 > S 70000:70000(0)")
    assert frames(segments) == [numbered(1, len(segments))]


@pytest.mark.parametrize("before", ["", HANDSHAKE, HANDSHAKE + CLOSE, HANDSHAKE + "+0 < R 1:1(0)"])
def test_a_syn_sent_again_opens_nothing(before: str) -> None:
    """The same initial number is the same SYN, also where it arrives after the end."""
    segments = parse("+0 > S 0:0(0)" + before + "\n+1 > S 0:0(0)\n+2 > S 0:0(0)")
    assert frames(segments) == [numbered(1, len(segments))]


@pytest.mark.parametrize("line", ["+0 > SP. 1:9(8) ack 1", "+0 > S 1:1(0)", "+0 < S. 1:1(0) ack 1", "+0 < S 1:9(8)"])
def test_a_syn_flag_in_midstream_opens_nothing(line: str) -> None:
    """A SYN bit that strayed into a segment of an open connection does not tear it in two."""
    segments = parse(HANDSHAKE + line + CLOSE)
    assert frames(segments) == [numbered(1, 8)]


@pytest.mark.parametrize("flags", ["S.", "SF", "SR", "F.", "R", "."])
def test_only_a_plain_syn_opens_another(flags: str) -> None:
    """After the end, what else comes belongs to what has ended."""
    ack = " ack 1" if "." in flags else ""
    segments = parse(HANDSHAKE + CLOSE + f"+1 > {flags} 70000:70000(0){ack}")
    assert frames(segments) == [numbered(1, 8)]


# Who opened


@pytest.mark.parametrize("initiator", [CLIENT, SERVER, "10.0.0.1:22", "10.0.0.1:1"])
def test_who_sent_the_syn_is_the_initiator(initiator: str) -> None:
    """Whatever its port and address are."""
    responder = "192.168.1.64:40001"
    (found,) = conversations(parse(HANDSHAKE, initiator=initiator, responder=responder))
    assert (found.initiator, found.responder) == (initiator, responder)
    assert [segment.sender for segment in found.segments] == ["initiator", "responder", "initiator"]


@pytest.mark.parametrize("port", [1, 40001])
def test_who_got_the_syn_ack_is_the_initiator(port: int) -> None:
    """Where the SYN is missing, the SYN-ACK tells, wherever it stands."""
    without_syn = HANDSHAKE.replace("+0 > S  0:0(0)", "+0 > . 1:1(0) ack 1")
    (found,) = conversations(parse(without_syn, initiator=f"10.0.0.1:{port}", responder="10.0.0.2:4000"))
    assert found.initiator == f"10.0.0.1:{port}"


@pytest.mark.parametrize("way", ["<", ">"])
def test_without_a_syn_the_higher_port_is_the_initiator(way: str) -> None:
    """Services have low ports; it does not matter who is seen first."""
    (found,) = conversations(parse(f"+0 {way} . 1:1(0) ack 1"))
    assert (found.initiator, found.responder) == (CLIENT, SERVER)


@pytest.mark.parametrize("way", ["<", ">"])
def test_without_a_syn_and_with_equal_ports_the_first_sender_is_the_initiator(way: str) -> None:
    """Nothing else can be told."""
    ends = ("10.0.0.1:179", "10.0.0.2:179")
    (found,) = conversations(parse(f"+0 {way} . 1:1(0) ack 1", initiator=ends[0], responder=ends[1]))
    assert found.initiator == (ends[0] if way == ">" else ends[1])


def test_of_two_syns_the_first_counts() -> None:
    """In a simultaneous open the initiator is whose SYN was captured first."""
    (found,) = conversations(parse("+0 < S 0:0(0)\n+0 > S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < S. 0:0(0) ack 1"))
    assert found.initiator == SERVER


# Several 4-tuples


def test_interleaved_connections_are_sorted_by_their_first_frame() -> None:
    """Each has its own segments in capture order, and the first to begin is the first."""
    one, two, server = "10.0.0.9:40000", "10.0.0.1:40000", "10.0.0.5:22"
    segments = sent(
        (one, server, "S", 100),
        (two, server, "S", 500),
        (server, two, "S.", 600),
        (server, one, "S.", 200),
        (two, server, ".", 501),
        (one, server, ".", 101),
    )
    assert frames(segments) == [[1, 4, 6], [2, 3, 5]]
    assert [found.initiator for found in conversations(segments)] == [one, two]
    assert [rows.forward.tolist() for rows in split(segments)] == [[True, False, True]] * 2


@pytest.mark.parametrize(
    "others",
    [
        ("10.0.0.1:40001", "10.0.0.2:22"),
        ("10.0.0.1:40000", "10.0.0.2:23"),
        ("10.0.0.3:40000", "10.0.0.2:22"),
        ("10.0.0.1:40000", "10.0.0.3:22"),
        ("10.0.0.2:40000", "10.0.0.1:22"),
        ("10.0.0.1:22", "10.0.0.2:40000"),
    ],
)
def test_any_difference_in_the_4_tuple_is_another_connection(others: tuple[str, str]) -> None:
    """Address or port of either end, also if the same numbers stand at the other end."""
    segments = sent(("10.0.0.1:40000", "10.0.0.2:22", "S", 1), (*others, "S", 1))
    assert frames(segments) == [[1], [2]]


def test_no_segments_are_no_conversations() -> None:
    """A capture without TCP has none."""
    assert split(from_rows([])) == []
    assert conversations(from_rows([])) == []


_ENDS = st.sampled_from(["10.0.0.1:40000", "10.0.0.2:22", "10.0.0.2:40000", "10.0.0.1:22"])
_FLAGS = st.sampled_from([SYN, SYN | ACK, ACK, FIN | ACK, RST, SYN | FIN, 0])


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.tuples(_ENDS, _ENDS, _FLAGS, st.sampled_from([0, 1, 5, (1 << 32) - 1])), min_size=1, max_size=25)
)
def test_every_segment_is_in_one_conversation(rows: list[tuple[str, str, int, int]]) -> None:
    """Whatever was captured, nothing is lost, doubled, out of order, or among strangers."""
    segments = sent(*((source, target, "none", seq) for source, target, _, seq in rows))
    segments.flags[:] = [flags for _, _, flags, _ in rows]
    found = split(segments)
    assert sorted(row for part in found for row in part.rows.tolist()) == list(range(len(rows)))
    assert [int(part.rows[0]) for part in found] == sorted(int(part.rows[0]) for part in found)
    for part in found:
        assert part.rows.tolist() == sorted(part.rows.tolist())
        for row, forward in zip(part.rows.tolist(), part.forward.tolist(), strict=True):
            source = (int(segments.src[row]), int(segments.sport[row]))
            target = (int(segments.dst[row]), int(segments.dport[row]))
            assert (source, target) == (
                (part.initiator, part.responder) if forward else (part.responder, part.initiator)
            )
