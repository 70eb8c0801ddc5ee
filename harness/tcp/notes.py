"""What is worth saying of each segment: Wireshark's notes, and what only both ends' states and options can tell.

Ours, beside Wireshark's (harness.tcp.wireshark):

    duplicate_frame      the same IP packet captured twice: its identification (RFC 6864) and all fields are those of
                         the sender's segment before it
    fast_open            a SYN with a Fast Open option or with data (RFC 7413)
    d_sack               its first SACK block tells of data received twice (RFC 2883)
    paws                 its timestamp is older than one that its receiver had to remember (RFC 7323 §5)
    unacceptable_reset   a RST that its receiver must not take: outside the window, or in SYN-SENT without the right ACK
                         (RFC 9293 §3.10.7)
    inexact_reset        a RST in the window, but not where the receiver expects the next byte: to be answered with a
                         challenge ACK (RFC 5961 §3.2)
    challenge_ack        an ACK that repeats its sender's numbers in answer to a SYN, an inexact or an unacceptable RST
                         (RFC 5961 §3.2, §4.2)

and the names of what is illegal in the sender's or receiver's state, as in the table of harness.tcp.states.
"""

from collections.abc import Callable, Iterator

from harness.tcp.control import AT_NEXT, IN_WINDOW
from harness.tcp.conversation import Conversation
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import ABSENT
from harness.tcp.states import Event, State
from harness.tcp.values import signed_difference
from harness.tcp.wireshark import notes as wiresharks

Notes = tuple[str, ...]
_Found = Iterator[tuple[int, str]]  # row, note

_SAME = ("ip_id", "seq", "ack", "flags", "window", "length", "tsval", "tsecr")
_UNSYNCHRONIZED = (State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED)


def notes(conversation: Conversation) -> list[Notes]:
    """The notes on each segment of a conversation, in capture order."""
    found = wiresharks(conversation.segments_columns, conversation.rows, reused_ports=conversation.reuses_ports)
    for source in _OURS:
        for row, note in source(conversation):
            if note not in found[row]:
                found[row] = (*found[row], note)
    return found


def _duplicate_frames(conversation: Conversation) -> _Found:
    """A packet without an identification of its own (0, or IPv6) cannot be told from one that was sent again."""
    before: dict[bool, tuple[int, ...]] = {}
    rows = zip(*(conversation.column(name) for name in _SAME), strict=True)
    for row, (forward, fields) in enumerate(zip(conversation.rows.forward.tolist(), rows, strict=True)):
        if fields[0] > 0 and before.get(forward) == fields:
            yield row, "duplicate_frame"
        before[forward] = fields


def _fast_open(conversation: Conversation) -> _Found:
    rows = zip(*(conversation.column(name) for name in ("flags", "fast_open", "length")), strict=True)
    for row, (flags, option, length) in enumerate(rows):
        if flags & SYN and (option or (length and not flags & ACK)):
            yield row, "fast_open"


def _d_sack(conversation: Conversation) -> _Found:
    columns, rows = conversation.segments_columns, conversation.rows.rows
    for row, there in enumerate(conversation.column("sack")):
        blocks = columns.sack_blocks(int(rows[row])) if there else ()
        if not blocks:
            continue
        (left, right), ack = blocks[0], conversation.column("ack")[row]
        inside_next = len(blocks) > 1 and (
            signed_difference(left, blocks[1][0]) >= 0 and signed_difference(right, blocks[1][1]) <= 0
        )
        if signed_difference(left, ack) < 0 or inside_next:
            yield row, "d_sack"


def _paws(conversation: Conversation) -> _Found:
    """A receiver remembers the timestamp of a segment that begins at or before what it had acknowledged last."""
    recent: dict[bool, int] = {}
    numbers = conversation.numbers
    columns = zip(
        conversation.rows.forward.tolist(),
        conversation.column("tsval"),
        conversation.column("flags"),
        numbers.position.tolist(),
        numbers.end.tolist(),
        numbers.ack.tolist(),
        strict=True,
    )
    acked = {True: 0, False: 0}  # by who acknowledges
    for row, (forward, tsval, flags, position, end, ack) in enumerate(columns):
        if tsval != ABSENT and not flags & RST:
            if forward in recent and signed_difference(tsval, recent[forward]) < 0:
                yield row, "paws"
            elif position <= acked[not forward] <= end:
                recent[forward] = tsval
        if flags & ACK and not flags & RST:
            acked[forward] = max(acked[forward], ack)


def _resets(conversation: Conversation) -> _Found:
    taken = {step.row for step in conversation.steps if step.event is Event.RCV_RST}
    for row, code in zip(conversation.control_rows, conversation.script, strict=True):
        if not code & RST:
            continue
        state = _receivers_state(conversation, row)
        if state in (State.CLOSED, State.LISTEN):
            continue
        inexact = code & IN_WINDOW and not code & AT_NEXT and state is not State.SYN_SENT
        if inexact or row not in taken:
            yield row, "inexact_reset" if inexact else "unacceptable_reset"


def _receivers_state(conversation: Conversation, row: int) -> State:
    """The state of a segment's receiver before it."""
    receiver = 1 if conversation.rows.forward[row] else 0
    return conversation.states_by_row[row - 1][receiver] if row else State.CLOSED


def _challenge_acks(conversation: Conversation) -> _Found:
    provoking = {row for row, _ in _resets(conversation)}
    flags, forward = conversation.column("flags"), conversation.rows.forward.tolist()
    length, numbers = conversation.column("length"), conversation.numbers
    provoking |= {
        row
        for row in conversation.control_rows
        if flags[row] & SYN and row and _receivers_state(conversation, row) not in _UNSYNCHRONIZED
    }
    for row in sorted(provoking):
        answer = row + 1
        if (
            answer < len(flags)
            and forward[answer] != forward[row]
            and flags[answer] & (SYN | FIN | RST | ACK) == ACK
            and not length[answer]
            and numbers.position[answer] == numbers.sent[answer]
            and numbers.ack[answer] == numbers.acked[answer]
        ):
            yield answer, "challenge_ack"


def _illegal(conversation: Conversation) -> _Found:
    for step in conversation.illegal:
        yield step.row, str(step.illegal).replace("-", "_")


_OURS: tuple[Callable[[Conversation], _Found], ...] = (
    _duplicate_frames,
    _fast_open,
    _d_sack,
    _paws,
    _resets,
    _challenge_acks,
    _illegal,
)
