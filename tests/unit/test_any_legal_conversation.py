"""What a conversation is does not depend on how it came over the network: split, wrapped, sent again or reordered."""

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.tcp.conversation import Conversation, conversations
from harness.tcp.flags import ACK, FIN, PSH, SYN
from harness.tcp.segments import from_rows

ENDS = ((10, 40000), (20, 22))
MODULUS = 1 << 32


@dataclass(frozen=True)
class Sent:
    """One segment, in positions of the two streams."""

    end: int
    flags: int
    position: int
    length: int
    ack: int

    @property
    def stop(self) -> int:
        return self.position + self.length + bool(self.flags & (SYN | FIN))


def legal(exchanges: list[tuple[int, int]], closer: int, close: str) -> list[Sent]:
    """A handshake, data both ways with an ACK for each piece, and a close."""
    sent = [Sent(0, SYN, 0, 0, 0), Sent(1, SYN | ACK, 0, 0, 1), Sent(0, ACK, 1, 0, 1)]
    at = [1, 1]
    for end, length in exchanges:
        sent.append(Sent(end, PSH | ACK, at[end], length, at[1 - end]))
        at[end] += length
        sent.append(Sent(1 - end, ACK, at[1 - end], 0, at[end]))
    one, two = closer, 1 - closer
    first = Sent(one, FIN | ACK, at[one], 0, at[two])
    if close == "simultaneous":
        second = Sent(two, FIN | ACK, at[two], 0, at[one])
        acks = Sent(one, ACK, first.stop, 0, second.stop), Sent(two, ACK, second.stop, 0, first.stop)
        return [*sent, first, second, *acks]
    second = Sent(two, FIN | ACK, at[two], 0, first.stop)
    middle = [Sent(two, ACK, at[two], 0, first.stop)] if close == "four-segment" else []
    return [*sent, first, *middle, second, Sent(one, ACK, first.stop, 0, second.stop)]


def conversation(sent: list[Sent], isns: tuple[int, int]) -> Conversation:
    """The only conversation of a capture of these segments."""
    rows = []
    for frame, one in enumerate(sent, 1):
        (src, sport), (dst, dport) = ENDS[one.end], ENDS[1 - one.end]
        rows.append(
            {
                "frame": frame, "time": frame * 10**6, "src": src, "sport": sport, "dst": dst, "dport": dport,
                "flags": one.flags, "length": one.length, "window": 502,
                "seq": (isns[one.end] + one.position) % MODULUS,
                "ack": (isns[1 - one.end] + one.ack) % MODULUS if one.flags & ACK else 0,
            }
        )  # fmt: skip
    (found,) = conversations(from_rows(rows))
    return found


def verdict(of: Conversation) -> dict[str, object]:
    return {
        "open": of.open,
        "close": of.close,
        "closer": of.closer,
        "initiator": of.states("initiator"),
        "responder": of.states("responder"),
        "conn_state": of.conn_state,
        "bytes": [stream.bytes for stream in of.streams],
        "illegal": of.illegal,
    }


isn = st.integers(0, MODULUS - 1) | st.integers(MODULUS - 3000, MODULUS - 1)
talks = st.builds(
    legal,
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 1460)), max_size=12),
    st.integers(0, 1),
    st.sampled_from(["four-segment", "three-segment", "simultaneous"]),
)
SHORT = legal([(0, 10), (1, 20)], 0, "four-segment")


@settings(max_examples=100, deadline=None)
@given(talks, isn, isn)
@example(SHORT, MODULUS - 1, MODULUS - 5)
def test_numbers_wrap(sent: list[Sent], one: int, two: int) -> None:
    """Wherever the ISNs are."""
    assert verdict(conversation(sent, (one, two))) == verdict(conversation(sent, (0, 0)))


@settings(max_examples=100, deadline=None)
@given(talks, st.data())
def test_segments_are_split(sent: list[Sent], data: st.DataObject) -> None:
    """Data in smaller segments is the same data."""
    pieces = []
    for one in sent:
        if one.length < 2:
            pieces.append(one)
            continue
        cut = data.draw(st.integers(1, one.length - 1))
        pieces += [replace(one, length=cut), replace(one, position=one.position + cut, length=one.length - cut)]
    assert verdict(conversation(pieces, (1, 2))) == verdict(conversation(sent, (1, 2)))


@settings(max_examples=150, deadline=None)
@given(talks, st.data())
@example(SHORT, None)
def test_segments_are_sent_again(sent: list[Sent], data: st.DataObject | None) -> None:
    """A SYN, data or a FIN sent again before its ACK was seen."""
    again = []
    for row, one in enumerate(sent):
        again.append(one)
        answer = next((later for later in sent[row + 1 :] if later.end != one.end), None)
        unanswered = answer is not None and answer.ack >= one.stop and one.stop > one.position
        if unanswered and sent[row + 1] is answer and (data is None or data.draw(st.booleans())):
            again += [one] * (2 if data is None else data.draw(st.integers(1, 3)))
    assert verdict(conversation(again, (1, 2))) == verdict(conversation(sent, (1, 2)))


@settings(max_examples=150, deadline=None)
@given(talks, st.data())
def test_segments_come_in_another_order(sent: list[Sent], data: st.DataObject) -> None:
    """Two data segments of one end, of which the second was captured first."""
    split: list[Sent] = []
    for one in sent:
        if one.length >= 2 and data.draw(st.booleans()):
            half = one.length // 2
            split += [replace(one, position=one.position + half, length=one.length - half), replace(one, length=half)]
        else:
            split.append(one)
    assert verdict(conversation(split, (7, 9))) == verdict(conversation(sent, (7, 9)))
