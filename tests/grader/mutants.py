"""Single-field corruptions of a good capture, and legal variants of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from harness.tcp.conversation import Conversation
from harness.tcp.flags import ACK, CWR, ECE, FIN, PSH, RST, SYN
from tests.pcaps import Frame

CONTROL_BITS = {"SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST}


@dataclass(frozen=True)
class Mutant:
    """A changed capture: what was done to which frame (from 1), and all its frames."""

    what: str
    frame: int
    frames: tuple[Frame, ...]

    def __str__(self) -> str:
        return f"{self.what} of frame {self.frame}"


def control_rows(conversation: Conversation) -> list[int]:
    """The three segments of the handshake, both FINs, and their ACKs."""
    segments = [conversation.syn, conversation.syn_ack, conversation.handshake_ack]
    for stream in conversation.streams:
        segments += [stream.fin, stream.fin_ack]
    return sorted({segment.row for segment in segments})


def _changed(frames: list[Frame], row: int, *, mend: bool, **change: object) -> tuple[Frame, ...]:
    old = frames[row]
    kept = {} if mend else {"checksum": old.stored_checksum()}
    new = replace(old, **{**kept, **change})  # type: ignore[arg-type]
    return (*frames[:row], new, *frames[row + 1 :])


def field_mutants(frames: list[Frame], conversation: Conversation, *, mend: bool) -> Iterator[Mutant]:
    """SYN, ACK, FIN, RST flipped, seq ± 1 and length ± 1 of any segment; ack ± 1 of the control segments."""
    for row, frame in enumerate(frames):
        for name, bit in CONTROL_BITS.items():
            yield Mutant(f"{name} flipped", row + 1, _changed(frames, row, mend=mend, flags=frame.flags ^ bit))
        for step in (1, -1):
            yield Mutant(f"seq {step:+d}", row + 1, _changed(frames, row, mend=mend, seq=(frame.seq + step) % 2**32))
        yield Mutant("length +1", row + 1, _changed(frames, row, mend=mend, payload=frame.payload + b"\0"))
        if frame.payload:
            yield Mutant("length -1", row + 1, _changed(frames, row, mend=mend, payload=frame.payload[:-1]))
    for row in control_rows(conversation):
        for step in (1, -1):
            ack = (frames[row].ack + step) % 2**32
            yield Mutant(f"ack {step:+d}", row + 1, _changed(frames, row, mend=mend, ack=ack))


def ack_mutants_that_break_a_rule(frames: list[Frame], conversation: Conversation) -> Iterator[Mutant]:
    """Ack ± 1 of the other segments, where it acknowledges what was not sent or takes back what was acknowledged."""
    control = set(control_rows(conversation))
    for segment in conversation.rows_in_order:
        if segment.row in control:
            continue
        for step in (1, -1):
            ack = segment.ack + step
            sent, before = segment.highest_sent_by_peer, segment.acked_before
            ahead = sent is not None and ack.distance_from(sent) > 0
            back = before is not None and ack.distance_from(before) < 0
            if ahead or back:
                yield Mutant(f"ack {step:+d}", segment.frame, _changed(frames, segment.row, mend=True, ack=ack.value))


def order_mutants(frames: list[Frame], conversation: Conversation) -> Iterator[Mutant]:
    """A control segment dropped, or two of them swapped (each with its own time, or in the other's place and time)."""
    rows = control_rows(conversation)
    for row in rows:
        yield Mutant("dropped", row + 1, (*frames[:row], *frames[row + 1 :]))
    for one, two in combinations(rows, 2):
        swapped = list(frames)
        swapped[one], swapped[two] = frames[two], frames[one]
        yield Mutant(f"swapped with frame {two + 1}", one + 1, tuple(swapped))
        swapped[one] = replace(swapped[one], time=frames[one].time)
        swapped[two] = replace(swapped[two], time=frames[two].time)
        yield Mutant(f"swapped with frame {two + 1}, times mended", one + 1, tuple(swapped))


def _shifted(frames: list[Frame], conversation: Conversation, initiator: int, responder: int) -> tuple[Frame, ...]:
    """The same conversation with other ISNs."""
    ours, theirs = conversation.initiator_stream.isn.value, conversation.responder_stream.isn.value
    shifts = {True: initiator - ours, False: responder - theirs}
    moved = []
    for row, frame in enumerate(frames):
        forward = bool(conversation.rows.forward[row])
        ack = (frame.ack + shifts[not forward]) % 2**32 if frame.flags & ACK else frame.ack
        moved.append(replace(frame, seq=(frame.seq + shifts[forward]) % 2**32, ack=ack))
    return tuple(moved)


RTO = 210_000_000  # ns: Linux's shortest, and a bit


def _again(frames: list[Frame], row: int, after: int, answer: Frame | None = None) -> tuple[Frame, ...]:
    """A frame sent again after a timeout, and what answers it."""
    later = frames[after].time + RTO
    frames = [*frames[: after + 1], *(replace(f, time=f.time + 2 * RTO) for f in frames[after + 1 :])]
    extra = [replace(frames[row], time=later, ip_id=frames[row].ip_id + 1000)]
    if answer:
        goes_on = (answer.seq + len(answer.payload) + bool(answer.flags & FIN)) % 2**32
        extra.append(replace(answer, time=later + 1000, payload=b"", flags=ACK, seq=goes_on))
    return (*frames[: after + 1], *extra, *frames[after + 1 :])


def legal_variants(frames: list[Frame], conversation: Conversation) -> Iterator[Mutant]:
    """What is legal TCP and must lose nothing."""
    syn, syn_ack = conversation.syn.row, conversation.syn_ack.row
    for name, isns in {
        "initiator's ISN wraps in the handshake": (2**32 - 1, 7),
        "initiator's ISN wraps in the data": (2**32 - 500, 7),
        "responder's ISN wraps in the handshake": (7, 2**32 - 1),
        "both wrap in the data": (2**32 - 900, 2**32 - 1200),
        "both are 0": (0, 0),
        "ACK of the SYN is 0": (2**32 - 1, 2**32 - 1),
        "they cross 2**31": (2**31 - 50, 2**31 - 1000),
    }.items():
        yield Mutant(name, 1, _shifted(frames, conversation, *isns))
    yield Mutant("SYN sent again", syn + 1, _again(frames, syn, syn))
    yield Mutant("SYN-ACK sent again", syn_ack + 1, _again(frames, syn_ack, syn_ack))
    for stream in conversation.streams:
        data = stream.data[len(stream.data) // 2].row
        yield Mutant(f"{stream.end}'s data sent again before its ACK", data + 1, _again(frames, data, data))
        acked = next(s for s in conversation.rows_in_order[data:] if s.sender != stream.end and s.has_ack).row
        yield Mutant(f"{stream.end}'s data sent again late", data + 1, _again(frames, data, acked, frames[acked]))
        lost = (*frames[:data], *frames[data + 1 : data + 2], replace(frames[data], time=frames[data + 1].time + 10))
        if conversation.at(data + 1).sender == stream.end:
            name = f"{stream.end}'s data lost before the capture and sent again"
            yield Mutant(name, data + 1, (*lost, *frames[data + 2 :]))
        fin, ack = stream.fin.row, stream.fin_ack.row
        yield Mutant(f"{stream.end}'s FIN sent again before its ACK", fin + 1, _again(frames, fin, fin))
        twice = (*frames[: fin + 1], *frames[fin:])
        yield Mutant(f"{stream.end}'s FIN captured twice", fin + 1, twice)
        yield Mutant(f"{stream.end}'s FIN sent again late", fin + 1, _again(frames, fin, ack, frames[ack]))
    for row in range(8, len(frames) - 8):
        one, two = conversation.at(row), conversation.at(row + 1)
        if one.sender == two.sender and not one.len and two.len:
            overtaken = (
                *frames[:row],
                replace(frames[row + 1], time=frames[row].time),
                frames[row],
                *frames[row + 2 :],
            )
            yield Mutant(f"{one.sender}'s ACK overtaken by its data", row + 1, overtaken)
    ecn = list(frames)
    ecn[syn] = replace(ecn[syn], flags=ecn[syn].flags | ECE | CWR)
    ecn[syn_ack] = replace(ecn[syn_ack], flags=ecn[syn_ack].flags | ECE)
    some = conversation.initiator_stream.data[1].row
    ecn[some] = replace(ecn[some], flags=ecn[some].flags | CWR)
    yield Mutant("ECN", syn + 1, tuple(ecn))
    yield Mutant("PSH everywhere", 1, tuple(replace(frame, flags=frame.flags | PSH) for frame in frames))
    yield Mutant("PSH nowhere", 1, tuple(replace(frame, flags=frame.flags & ~PSH) for frame in frames))
