"""The article's listing and ours, side by side: what is the same, and what each difference comes from.

`printed/` holds the article's two listings as it prints them (tcpdump on CentOS 7, OpenSSH 7.4). Both listings are read
as captures are, and shown in relative numbers; where a listing shows no SYN, they count from the first numbers seen.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.messages import translated
from harness.reports import columns
from harness.reports.ladder import StyledLine, labels
from harness.tcp.conversation import Segment, conversations
from harness.tcp.flags import PSH

_COUNTER = re.compile(r"(\d+) packets? (captured|received by filter|dropped by kernel)")
_ARROWS = {"initiator": "▶", "responder": "◀"}
_HEADS = ("as printed", "ours")
_BETWEEN = 3  # columns of " = "
_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What tcpdump showed on a terminal.

    Attributes:
        packets: of the connection that has most of them, in order; `frame` is the place of one in the whole listing.
        others: how many packets are of other connections.
        counters: tcpdump's own, by its words; those that it showed.
    """

    packets: tuple[Segment, ...]
    others: int
    counters: dict[str, int]

    @property
    def shows_syn(self) -> bool:
        """Whether the connection begins here."""
        return any(segment.has_syn for segment in self.packets)

    @property
    def shows_fin(self) -> bool:
        """Whether one of its ends closes here."""
        return any(segment.has_fin for segment in self.packets)

    @property
    def length(self) -> int:
        """How many packets were listed."""
        return len(self.packets) + self.others

    def kind(self, segment: Segment) -> str:
        """What a packet is for: "SYN", "banner" (an end's first data), "data", or "ACK"."""
        if segment.has_syn:
            return "SYN"
        if not segment.len:
            return "ACK"
        return "banner" if self.shows_syn and segment.relative[0] == 1 else "data"

    @property
    def first_to_speak(self) -> str:
        """Who sent the first banner; empty if the listing shows none."""
        return next((segment.sender for segment in self.packets if self.kind(segment) == "banner"), "")


def read_listing(text: str) -> Listing:
    """Read a listing; it may hold no packet at all."""
    try:
        found = conversations(read_capture(text.encode(), "the listing").segments)
    except HarnessError:
        found = []
    counters = {what: int(number) for number, what in _COUNTER.findall(text)}
    if not found:
        return Listing((), 0, counters)
    shown = max(found, key=lambda one: len(one.segments))
    return Listing(shown.segments, sum(len(one.segments) for one in found if one is not shown), counters)


# -- why two packets differ --------------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """Why two packets that do the same differ in one thing.

    Attributes:
        kinds: the kinds of packets that it is told of.
        what: the thing, of a packet.
        says: where the difference comes from, given both; it begins with the thing's name and a colon.
    """

    kinds: frozenset[str]
    what: Callable[[Segment], object]
    says: Callable[[object, object], str]


def _in_segments(window: object) -> str:
    """A window as so many full segments, if it is: 1460 bytes fit into one, or 1448 beside timestamps."""
    for size in (1460, 1448):
        if isinstance(window, int) and window and not window % size:
            return f"{window} ({window // size} × {size})"
    return str(window)


def _differs(what: str, why: str, shown: Callable[[object], str] = str) -> Callable[[object, object], str]:
    return lambda one, two: f"{what}: {shown(one)} as printed, {shown(two)} ours. {why}"


def _offer(value: object) -> str:
    return "none" if value is None or value is False else "offered" if value is True else str(value)


_SYN, _BANNER, _DATA = frozenset({"SYN"}), frozenset({"banner"}), frozenset({"data"})
_BEHIND = frozenset({"banner", "data", "ACK"})

CAUSES = (
    Cause(
        _SYN,
        lambda segment: segment.window,
        _differs(
            "first window",
            "It is the room that a kernel begins with, so many full segments; it changed with Linux's versions.",
            _in_segments,
        ),
    ),
    Cause(
        _SYN,
        lambda segment: segment.options.mss,
        _differs("MSS", "It is what the link takes, less 40 bytes of headers (RFC 9293 §3.7.1).", _offer),
    ),
    Cause(
        _SYN,
        lambda segment: segment.options.window_scale,
        _differs("wscale", "It lets 16 bits tell of the largest buffer there may be (tcp_rmem; RFC 7323 §2).", _offer),
    ),
    Cause(
        _SYN,
        lambda segment: segment.options.sack_permitted,
        _differs("sackOK", "An end may be told not to offer it (tcp_sack; RFC 2018 §2).", _offer),
    ),
    Cause(
        _SYN | _BEHIND,
        lambda segment: segment.options.timestamps is not None,
        _differs("timestamps", "They are used where both offer them (tcp_timestamps; RFC 7323 §3).", _offer),
    ),
    Cause(
        _BANNER,
        lambda segment: int(segment.len),
        _differs(
            "length of a banner",
            "It is the line SSH-2.0-… with CR and LF (RFC 4253 §4.2): OpenSSH_7.4's has 21 bytes, one with a system's "
            "name behind it more. The ACK of it is as much further.",
        ),
    ),
    Cause(
        _DATA,
        lambda segment: int(segment.len),
        _differs(
            "length of data",
            "They are encrypted, filled up to the cipher's blocks, and have a check behind them (RFC 4253 §6). One key "
            "and its echo are of one length: 36 bytes with chacha20-poly1305, others with other ciphers. Packets of "
            "two lengths hold something else, or more.",
        ),
    ),
    Cause(
        _BEHIND,
        lambda segment: segment.window,
        _differs(
            "window, here and further on",
            "It is the room that is left, in units of 2 to the power of the SYN's wscale (RFC 7323 §2.3).",
        ),
    ),
    Cause(
        _BEHIND,
        lambda segment: bool(segment.bits & PSH),
        _differs(
            "flag P",
            "It is advice to hand the data on, and no more (RFC 9293 §3.9.1.2).",
            lambda on: "on" if on else "off",
        ),
    ),
)


def _why(one: Listing, left: Segment, two: Listing, right: Segment) -> Iterator[str]:
    """Why two packets that do the same are not the same."""
    kinds = {one.kind(left), two.kind(right)}
    if kinds == {"banner", "data"}:
        yield "where a listing begins: data that is an end's first in one is any in the other."
        kinds = {"data"}
    for cause in CAUSES:
        if kinds <= cause.kinds and cause.what(left) != cause.what(right):
            yield cause.says(cause.what(left), cause.what(right))


def _why_alone(segment: Segment, own: Listing, opposite: Listing) -> str:
    """Why one listing has a packet that the other has not."""
    if segment.frame > opposite.length:
        return "the other listing had stopped: it has fewer packets."
    if segment.has_syn:
        return "the other listing began later, when the connection was open."
    if segment.has_fin or segment.has_rst:
        return "the other listing had stopped before the close."
    if segment.len:
        return (
            "data alone: the other listing does not show it, or not here. Each end speaks when it has something to say."
        )
    heard = [one for one in own.packets if one.row < segment.row and one.sender != segment.sender]
    waited = f" {(segment.time - heard[-1].time) / _MILLISECOND:.1f} ms after what it acknowledges" if heard else ""
    return (
        f"ACK alone: it comes by itself{waited}. An ACK may wait for data of its sender's to take it along, on Linux "
        "40 ms and more; where they came before that, there is none by itself (RFC 9293 §3.8.6.3)."
    )


# -- lines -------------------------------------------------------------------------------------------------------------


def _acts(segment: Segment) -> tuple[str, str, bool]:
    """What makes two packets do the same."""
    return segment.sender, str(segment.control), bool(segment.len)


def _pairs(one: Listing, two: Listing) -> Iterator[tuple[Segment | None, Segment | None]]:
    """The packets of both listings in order, those that do the same side by side."""
    left, right = one.packets, two.packets
    matcher = SequenceMatcher(None, [_acts(s) for s in left], [_acts(s) for s in right], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(left[a:b], right[c:d], strict=True)
        else:
            yield from ((segment, None) for segment in left[a:b])
            yield from ((None, segment) for segment in right[c:d])


def _cell(segment: Segment | None, width: int) -> str:
    """A packet: its place in the listing, who sent it, and as much of what tcpdump says of it as there is room for."""
    if segment is None:
        return ""
    begin = f"{segment.frame} {_ARROWS[segment.sender]} "
    return begin + next((said for said in labels(segment) if len(begin + said) <= width), "")


def _row(left: str, mark: str, right: str, width: int) -> str:
    return f"{columns.left(left, (width - _BETWEEN) // 2)} {mark} {right}".rstrip()


def _wrapped(text: str, width: int, indent: str, style: str) -> Iterator[StyledLine]:
    lines = columns.wrap(translated(text), width, first_indent=indent, indent=indent)
    yield from ((line, style) for line in lines)


def _rows(one: Listing, two: Listing, width: int) -> Iterator[StyledLine]:
    """The packets; what differs is bold, and under it stands why, once for each cause."""
    column, told = (width - _BETWEEN) // 2, set[str]()
    for left, right in _pairs(one, two):
        cells, causes = (_cell(left, column), _cell(right, column)), list[str]()
        if left is not None and right is not None:
            causes += _why(one, left, two, right)
            mark = "≠" if causes or left.relative != right.relative else "="
        elif left is not None:
            causes.append(_why_alone(left, one, two))
            mark = "<"
        elif right is not None:
            causes.append(_why_alone(right, two, one))
            mark = ">"
        yield _row(cells[0], mark, cells[1], width), "" if mark == "=" else "bold"
        for cause in causes:
            name = cause.partition(":")[0]
            if name not in told:
                told.add(name)
                yield from _wrapped(cause, width, "    ", "yellow")


def _on_the_whole(one: Listing, two: Listing) -> Iterator[str]:
    """What is to be said of the listings, not of a packet."""
    speakers = one.first_to_speak, two.first_to_speak
    if all(speakers) and speakers[0] != speakers[1]:
        yield (
            f"order of the banners: as printed the {speakers[0]} speaks first, ours the {speakers[1]}. Neither need "
            "wait for the other (RFC 4253 §4.2)."
        )
    for name, listing in zip(_HEADS, (one, two), strict=True):
        if listing.others:
            yield (
                f"{name}: {listing.others} of the packets are of another connection, left out here; tcpdump counts "
                "them as well, and only addresses and ports tell them apart."
            )
        captured, received = (listing.counters.get(what) for what in ("captured", "received by filter"))
        if captured is not None and received is not None and received > captured:
            yield (
                f"{name}: {received} packets were received by the filter, {captured} captured: tcpdump stops at the "
                f"number asked for (-c), and {received - captured} more had come by then. Whose those are it does not "
                "say: the session's own, or another's."
            )


def _where_they_stop(one: Listing, two: Listing) -> Iterator[StyledLine]:
    for name, listing in zip(_HEADS, (one, two), strict=True):
        last = listing.packets[-1] if listing.packets else None
        yield f"{name}: {f'the last of {listing.length} is {next(labels(last))}' if last else 'no packet'}", ""
    if one.packets and two.packets and not (one.shows_syn or two.shows_syn):
        with_fin = [name for name, listing in zip(_HEADS, (one, two), strict=True) if listing.shows_fin]
        if with_fin:
            yield f"a FIN is shown: {', '.join(with_fin)}", "bold"
        else:
            yield "neither holds a FIN: the close comes behind the last packet that was counted", "bold"


def side_by_side(printed: str, ours: str, *, width: int) -> Iterator[StyledLine]:
    """Show two listings of the same experiment as (line, style); no line is longer than *width*.

    Between two packets stands = where they are the same but for their times and first numbers, ≠ where they differ, and
    < or > where only that side has one.

    Args:
        printed: what tcpdump printed in the article.
        ours: what it printed here.
        width: columns, at least 60.
    """
    one, two = read_listing(printed), read_listing(ours)
    yield _row(translated(_HEADS[0]), " ", translated(_HEADS[1]), width), "bold"
    same = one.counters == two.counters
    for line, style in _rows(one, two, width):
        same = same and not style
        yield line, style
    yield "", ""
    for said in _on_the_whole(one, two):
        yield from _wrapped(said, width, "", "yellow")
    for line, style in _where_they_stop(one, two):
        yield from _wrapped(line, width, "", style)
    if same:
        yield translated("the same"), "bold green"
