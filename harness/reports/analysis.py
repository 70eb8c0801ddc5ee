"""A capture's conversations as text and as JSON (schema tcp-lab/analysis/v1), one after another."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.captures.packets import link_name
from harness.tcp.ends import ENDS
from harness.tcp.flags import ACK, letters
from harness.tcp.summary import Options, Summary

if TYPE_CHECKING:  # what looks at single segments is loaded where they are wanted
    from harness.reports.ladder import StyledLine
    from harness.tcp.conversation import Conversation

SCHEMA = "tcp-lab/analysis/v1"


@dataclass(frozen=True, slots=True)
class Source:
    """What is said of a capture as a whole.

    Attributes:
        format: see `harness.captures.capture.Capture`, likewise link_types, frames and damage.
        tcp_segments: how many TCP segments there are.
    """

    format: str
    link_types: tuple[int, ...]
    frames: int
    tcp_segments: int
    damage: str | None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the document."""
        return {
            "format": self.format,
            "link_types": [link_name(link) for link in self.link_types],
            "frames": self.frames,
            "tcp_segments": self.tcp_segments,
            "other_frames": self.frames - self.tcp_segments,
            "truncated": self.damage is not None,
            "damage": self.damage,
        }


_CLOSERS: dict[str | None, str] = {
    None: "null",
    **{closer: f'"{closer}"' for closer in ("initiator", "responder", "both")},
}

Row = tuple[Summary, "Conversation | None"]  # the second where its segments are wanted


def as_json(source: Source, rows: Iterable[Row]) -> Iterator[str]:
    """The document, in pieces: one a conversation."""
    yield f'{{"schema": "{SCHEMA}", "capture": {json.dumps(source.to_json())}, "conversations": ['
    separator = "\n"
    for summary, conversation in rows:
        document = _summary_as_json(summary)
        if conversation is None:
            yield separator + document
        else:
            segments = ",\n  ".join(_segments_as_json(conversation))
            yield f'{separator}{document[:-1]}, "segments": [\n  {segments}]}}'
        separator = ",\n"
    yield "\n]}\n"


def _summary_as_json(summary: Summary) -> str:
    """A conversation as it stands in the document; nothing in it needs quoting."""
    one, two = summary.ends
    rtt = summary.handshake_rtt
    return (
        f'{{"initiator": "{one}", "responder": "{two}", '
        f'"initiator_isn": {_number(summary.isns[0])}, "responder_isn": {_number(summary.isns[1])}, '
        f'"open": "{summary.open}", "close": "{summary.close}", '
        f'"closer": {_CLOSERS[summary.closer]}, '
        f'"conn_state": "{summary.conn_state}", "history": "{summary.history}", '
        f'"completeness": {summary.completeness}, "first_frame": {summary.first_frame}, '
        f'"last_frame": {summary.last_frame}, "segment_count": {summary.segments}, '
        f'"bytes_initiator": {summary.bytes[0]}, "bytes_responder": {summary.bytes[1]}, '
        f'"retransmissions_initiator": {summary.retransmissions[0]}, '
        f'"retransmissions_responder": {summary.retransmissions[1]}, '
        f'"handshake_rtt": {"null" if rtt is None else _seconds(rtt)}, '
        f'"options_initiator": {_options_as_json(summary.options[0])}, '
        f'"options_responder": {_options_as_json(summary.options[1])}}}'
    )


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _seconds(nanoseconds: int) -> str:
    """With all nine digits: more than a float holds."""
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // 1_000_000_000}.{abs(nanoseconds) % 1_000_000_000:09}"


@lru_cache(maxsize=1 << 10)
def _options_as_json(options: Options | None) -> str:
    return json.dumps(asdict(options) if options else None)


def _segments_as_json(conversation: "Conversation") -> Iterator[str]:
    """A conversation's segments as they stand in the document; seq and ack as on the wire, time since the epoch."""
    from harness.tcp.notes import notes

    names = ("frame", "time", "flags", "seq", "seq_shown", "ack", "length", "window")
    columns = zip(*(conversation.column(name) for name in names), strict=True)
    rows = zip(
        columns, conversation.rows.forward.tolist(), notes(conversation), conversation.states_by_row, strict=True
    )
    for (frame, time, bits, seq, seq_shown, ack, length, window), forward, said, states in rows:
        yield (
            f'{{"frame": {frame}, "time": {_seconds(time)}, "from": "{ENDS[0 if forward else 1]}", '
            f'"flags": "{letters(bits)}", "seq": {seq if seq_shown else "null"}, '
            f'"ack": {ack if bits & ACK else "null"}, "len": {length}, "win": {window}, '
            f'"notes": {json.dumps(said)}, "initiator_state": "{states[0]}", "responder_state": "{states[1]}"}}'
        )


# -- text ------------------------------------------------------------------------------------------------------------


def source_line(source: Source) -> str:
    """The capture in one line."""
    links = ", ".join(link_name(link) for link in source.link_types)
    others = source.frames - source.tcp_segments
    return (
        f"{source.format}{f' ({links})' if links else ''}: {_count(source.frames, 'frame')}, "
        f"{_count(source.tcp_segments, 'TCP segment')}{f', {others} other' if others else ''}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary_line(summary: Summary) -> str:
    """A conversation in one line."""
    closer = f" by {summary.closer}" if summary.closer else ""
    rtt = "" if summary.handshake_rtt is None else f", rtt {summary.handshake_rtt / 1e6:.3f} ms"
    resent = sum(summary.retransmissions)
    return (
        f"{summary.ends[0]} → {summary.ends[1]}: open {summary.open}, close {summary.close}{closer}, "
        f"{summary.conn_state} {summary.history} {summary.completeness}, "
        f"{_count(summary.segments, 'segment')} in frames {summary.first_frame}–{summary.last_frame}, "
        f"{summary.bytes[0]} and {summary.bytes[1]} bytes{rtt}{f', {resent} sent again' if resent else ''}"
    )


def details(summary: Summary) -> Iterator[str]:
    """What else is known of a conversation's two ends."""
    for end in (0, 1):
        isn, options = summary.isns[end], summary.options[end]
        words = ["ISN not shown" if isn is None else f"ISN {isn}"]
        if options is not None:
            words += [] if options.mss is None else [f"MSS {options.mss}"]
            words += [] if options.window_scale is None else [f"window scale {options.window_scale}"]
            words += ["SACK permitted"] * options.sack_permitted + ["timestamps"] * options.timestamps
            words += ["Fast Open"] * options.fast_open
        words += [f"{_count(summary.bytes[end], 'byte')}", f"{summary.retransmissions[end]} sent again"]
        yield f"{ENDS[end]}: {', '.join(words)}"


def as_text(source: Source, rows: Iterable[Row], *, width: int, absolute: bool) -> Iterator["StyledLine"]:
    """One line a conversation; where its segments are wanted, the ladder and what else is known."""
    from harness.reports.ladder import KIND_STYLES, ladder
    from harness.tcp.notes import notes

    yield source_line(source), "bold"
    if source.damage:
        yield f"damaged: {source.damage}; what stands before it was analyzed", "red"
    found = False
    for summary, conversation in rows:
        found = True
        yield summary_line(summary), ""
        if conversation is not None:
            yield from ((f"  {line}", "") for line in details(summary))
            for line in ladder(conversation, width=width, absolute=absolute, notes=notes(conversation)):
                yield line.text, KIND_STYLES[line.kind]
            yield "", ""
    if source.tcp_segments and not found:
        yield "no conversation has that end", ""
