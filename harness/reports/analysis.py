"""A capture's conversations as text and as JSON (schema tcp-lab/analysis/v1), one after another."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from harness.captures.packets import link_name
from harness.language import _, ngettext
from harness.messages import translated
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
    frames = ngettext("{count} frame", "{count} frames", source.frames).format(count=source.frames)
    segments = ngettext("{count} TCP segment", "{count} TCP segments", source.tcp_segments)
    counts = [frames, segments.format(count=source.tcp_segments)]
    counts += [_("{count} other").format(count=others)] if others else []
    return f"{translated(source.format)}{f' ({links})' if links else ''}{_(': ')}{_(', ').join(counts)}"


def summary_line(summary: Summary) -> str:
    """A conversation in one line."""
    close = _("close {close} by {closer}") if summary.closer else _("close {close}")
    segments = ngettext("{count} segment", "{count} segments", summary.segments).format(count=summary.segments)
    where = _("{segments} in frames {first}–{last}")
    said = [
        _("open {open}").format(open=summary.open),
        close.format(close=summary.close, closer=translated(summary.closer or "")),
        f"{summary.conn_state} {summary.history} {summary.completeness}",
        where.format(segments=segments, first=summary.first_frame, last=summary.last_frame),
        _("{one} and {two} bytes").format(one=summary.bytes[0], two=summary.bytes[1]),
    ]
    if summary.handshake_rtt is not None:
        said.append(_("rtt {ms} ms").format(ms=f"{summary.handshake_rtt / 1e6:.3f}"))
    if resent := sum(summary.retransmissions):
        said.append(_("{count} sent again").format(count=resent))
    return f"{summary.ends[0]} → {summary.ends[1]}{_(': ')}{_(', ').join(said)}"


def details(summary: Summary) -> Iterator[str]:
    """What else is known of a conversation's two ends."""
    for end in (0, 1):
        isn, options = summary.isns[end], summary.options[end]
        words = [_("ISN not shown") if isn is None else f"ISN {isn}"]
        if options is not None:
            words += [] if options.mss is None else [f"MSS {options.mss}"]
            scale = options.window_scale
            words += [] if scale is None else [_("window scale {shift}").format(shift=scale)]
            words += [_("SACK permitted")] * options.sack_permitted + [_("timestamps")] * options.timestamps
            words += ["Fast Open"] * options.fast_open
        size = summary.bytes[end]
        words.append(ngettext("{count} byte", "{count} bytes", size).format(count=size))
        words.append(_("{count} sent again").format(count=summary.retransmissions[end]))
        yield f"{translated(ENDS[end])}{_(': ')}{_(', ').join(words)}"


def as_text(source: Source, rows: Iterable[Row], *, width: int, absolute: bool) -> Iterator["StyledLine"]:
    """One line a conversation; where its segments are wanted, the ladder and what else is known."""
    from harness.reports.ladder import KIND_STYLES, ladder
    from harness.tcp.notes import notes

    yield source_line(source), "bold"
    if source.damage:
        words = _("damaged: {damage}; what stands before it was analyzed")
        yield words.format(damage=translated(source.damage)), "red"
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
        yield _("no conversation has that end"), ""
