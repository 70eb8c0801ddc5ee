"""Mutants: what a good capture becomes when one thing in it is changed.

A `Good` is a capture that earns all points, taken apart into rows. A family of mutants is a function of a `Good`; each
mutant knows what was done, to which frames, and what stands there now. Most of them are TCP gone wrong, and a rubric
must take points off them; those that are legal TCP all the same are named by rules (see `legal_variants`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import merge
from itertools import combinations

from harness.tcp.conversation import ENDS, Conversation, End, NotShown, Segment
from harness.tcp.flags import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG
from harness.tcp.segments import ABSENT, COLUMNS, Segments, from_rows

MADE = -1  # the origin of a row that stands in no good capture
FLAGS = {
    "SYN": SYN, "ACK": ACK, "FIN": FIN, "RST": RST, "PSH": PSH, "URG": URG, "ECE": ECE, "CWR": CWR, "AE": AE,
}  # fmt: skip
FAR = 1 << 30  # a quarter of the way round the circle of sequence numbers
SAMPLE = 2  # of each end's data segments, and of its pure ACKs, that the families of fields change
MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One segment of a capture, to be changed.

    Attributes:
        origin: which row of the good capture it was, or `MADE`.
        values: what `harness.tcp.segments.Segments` has in its columns, by their names.
        payload: its payload's bytes; None if the capture does not hold them.
        blocks: its SACK blocks, (left, right edge).
    """

    origin: int
    values: dict[str, int]
    payload: bytes | None = None
    blocks: tuple[tuple[int, int], ...] = ()

    def __getitem__(self, column: str) -> int:
        return self.values[column]

    def but(self, **change: int) -> "Row":
        """The same with other values; seq and ack wrap."""
        for column in ("seq", "ack"):
            if column in change:
                change[column] %= 1 << 32
        return replace(self, values={**self.values, **change})

    def with_payload(self, payload: bytes) -> "Row":
        """The same with other data; its bytes only where the capture holds bytes."""
        return replace(self.but(length=len(payload)), payload=None if self.payload is None else payload)

    def resized(self, length: int) -> "Row":
        """The same with its data cut, or grown by zeros."""
        return self.with_payload((self.payload or b"")[:length].ljust(length, b"\0"))

    def turned(self) -> "Row":
        """The same, sent the other way."""
        return self.but(src=self["dst"], dst=self["src"], sport=self["dport"], dport=self["sport"])

    def again(self, after: int) -> "Row":
        """Sent once more, *after* ns later: another IP packet, with an identification of its own (RFC 6864)."""
        ip_id = self["ip_id"] if self["ip_id"] == ABSENT else (self["ip_id"] + 1000) % 0x10000
        return replace(self.but(time=self["time"] + after, ip_id=ip_id), origin=MADE)

    @property
    def size(self) -> int:
        """How many sequence numbers it takes: its bytes, and one for a SYN, one for a FIN (RFC 9293 §3.4)."""
        return self["length"] + bool(self["flags"] & SYN) + bool(self["flags"] & FIN)

    @property
    def ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Sender and receiver, each (address key, port)."""
        return (self["src"], self["sport"]), (self["dst"], self["dport"])

    @property
    def is_pure_ack(self) -> bool:
        """Whether it has the flag ACK and nothing else in it."""
        return self["flags"] & (ACK | SYN | FIN | RST) == ACK and not self["length"]


@dataclass(frozen=True, slots=True)
class Good:
    """A capture that earns all points: one conversation of it, row by row.

    Attributes:
        name: the file's name; with the initiator, where one of several conversations is changed.
        data: the file.
        conversation: the one that is changed; its rows are those below, its frames are the file's.
        rows: its segments.
        touched: the rows whose fields are changed: all control segments, banners and their ACKs, and a sample of the
            rest, or all.
        beside: the segments of the capture's other conversations, which stay as they are.
    """

    name: str
    data: bytes
    conversation: Conversation
    rows: tuple[Row, ...]
    touched: tuple[int, ...]
    beside: tuple[Row, ...] = ()

    def frames(self, *rows: int) -> str:
        """Rows, as "frame 3" or "frames 3 and 5"."""
        numbers = [str(self.conversation.at(row).frame) for row in rows]
        return f"frame{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}"

    def end_of(self, row: int) -> End:
        """Who sent it."""
        return self.conversation.at(row).sender

    @property
    def control(self) -> tuple[int, ...]:
        """The rows of its control segments."""
        return control_rows(self.conversation)

    @property
    def handshake(self) -> tuple[int, ...]:
        """The rows of the handshake's segments."""
        return tuple(segment.row for segment in _handshake(self.conversation))

    def last_of(self, end: End, before: int | None = None) -> Row:
        """An end's last row, of all or of those before one.

        Raises:
            NotShown: there is none.
        """
        for row in reversed(self.rows[:before]):
            if self.end_of(row.origin) == end:
                return row
        raise NotShown(f"the capture shows no segment sent by the {end}")

    def touching(self, rows: tuple[int, ...]) -> "Good":
        """The same, with other rows whose fields are changed."""
        return replace(self, touched=rows)

    def with_instead(self, place: int, *made: Row) -> tuple[Row, ...]:
        """The rows with others, or none, in place of one."""
        return (*self.rows[:place], *made, *self.rows[place + 1 :])

    def later(self, place: int, by: int) -> tuple[Row, ...]:
        """The rows with all from one on later by so many nanoseconds."""
        return tuple(row.but(time=row["time"] + by) if row.origin >= place else row for row in self.rows)

    def segments(self, rows: tuple[Row, ...]) -> Segments:
        """Rows, among those beside them, as a capture's columns, with frames counted from 1."""
        columns = self.conversation.segments_columns
        whole = list(merge(rows, self.beside, key=lambda row: row["time"])) if self.beside else rows
        made = from_rows(
            [{**row.values, "frame": frame} for frame, row in enumerate(whole, 1)],
            [row.payload for row in whole],
            options_shown=columns.options_shown,
        )
        return replace(made, ipv6=columns.ipv6, sack_blocks=lambda row: whole[row].blocks)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed capture; a legal variant is one too.

    Attributes:
        family: what kind of change it is.
        name: what was done to which frames of the good capture.
        good: the good capture.
        rows: what became of its rows; empty if the file itself was changed.
        data: the changed file; empty if rows were changed.
        ipv6: a table of IPv6 addresses to replace the good capture's (see `Segments`).
    """

    family: str
    name: str
    good: Good
    rows: tuple[Row, ...] = ()
    data: bytes = b""
    ipv6: tuple[bytes, ...] = ()

    def segments(self) -> Segments:
        """Its rows as a capture's columns."""
        made = self.good.segments(self.rows)
        return replace(made, ipv6=self.ipv6) if self.ipv6 else made


Family = Callable[[Good], Iterator[Mutant]]


def good_capture(
    name: str, data: bytes, conversation: Conversation, beside: Iterable[Conversation] = (), *, every: bool = False
) -> Good:
    """Take a capture's conversation apart.

    Args:
        name: what it is called in findings.
        data: the file.
        conversation: the one to be changed.
        beside: the capture's others, if they count too.
        every: have all rows' fields changed, not a sample.
    """
    touched = tuple(range(len(conversation.rows.rows))) if every else _touched(conversation)
    others = sorted((row for one in beside for row in _rows_of(one)), key=lambda row: row["frame"])
    return Good(name, data, conversation, _rows_of(conversation), touched, tuple(others))


def _rows_of(conversation: Conversation) -> tuple[Row, ...]:
    columns = {column: conversation.column(column) for column in COLUMNS}
    whole = conversation.segments_columns
    return tuple(
        Row(
            origin,
            {column: int(values[origin]) for column, values in columns.items()},
            whole.payload(int(row)),
            tuple(whole.sack_blocks(int(row))),
        )
        for origin, row in enumerate(conversation.rows.rows)
    )


def _handshake(conversation: Conversation) -> list[Segment]:
    found: list[Segment] = []
    with suppress(NotShown):
        found.append(conversation.syn)
        found.append(conversation.syn_ack)
        found.append(conversation.handshake_ack)
    return found


def control_rows(conversation: Conversation) -> tuple[int, ...]:
    """The three segments of the handshake, both FINs, their ACKs, and RSTs, as far as the capture shows them."""
    found = [*_handshake(conversation), *conversation.resets]
    for stream in conversation.streams:
        with suppress(NotShown):
            found.append(stream.fin)
            found.append(stream.fin_ack)
    return tuple(sorted({segment.row for segment in found}))


def banner_rows(conversation: Conversation) -> tuple[int, ...]:
    """Each end's first data, and the first ACK of it."""
    found = []
    for stream in conversation.streams:
        with suppress(NotShown):
            banner = stream.first_data
            found += [banner.row, *(answer.row for answer in list(stream.acks_of(banner.relative[0]))[:1])]
    return tuple(found)


def _touched(conversation: Conversation) -> tuple[int, ...]:
    rows = {*control_rows(conversation), *banner_rows(conversation)}
    for end in ENDS:
        for has_data in (True, False):
            kind = [s.row for s in conversation.rows_in_order if s.sender == end and bool(s.len) == has_data]
            rows.update(kind[(2 * place + 1) * len(kind) // (2 * SAMPLE)] for place in range(min(SAMPLE, len(kind))))
    return tuple(sorted(rows))


# -- one field ---------------------------------------------------------------------------------------------------------


def _each(
    family: str, good: Good, changes: Callable[[Row], Iterator[tuple[str, Row]]], rows: tuple[int, ...] | None = None
) -> Iterator[Mutant]:
    """Mutants of which one row is changed."""
    for place in good.touched if rows is None else rows:
        for what, row in changes(good.rows[place]):
            yield Mutant(family, f"{what} of {good.frames(place)}", good, good.with_instead(place, row))


def sequence_numbers(good: Good) -> Iterator[Mutant]:
    """Seq + 1, - 1, and far away."""
    return _each("seq", good, lambda row: ((f"seq {n:+d}", row.but(seq=row["seq"] + n)) for n in (1, -1, FAR)))


def ack_numbers(good: Good) -> Iterator[Mutant]:
    """Ack + 1, - 1, and far ahead."""
    return _each("ack", good, lambda row: ((f"ack {n:+d}", row.but(ack=row["ack"] + n)) for n in (1, -1, FAR)))


def flags(good: Good) -> Iterator[Mutant]:
    """Each flag flipped."""
    return _each(
        "flags",
        good,
        lambda row: ((f"{name} flipped", row.but(flags=row["flags"] ^ bit)) for name, bit in FLAGS.items()),
    )


def lengths(good: Good) -> Iterator[Mutant]:
    """Data a byte longer, a byte shorter, and gone."""

    def changes(row: Row) -> Iterator[tuple[str, Row]]:
        length = row["length"]
        yield "length +1", row.resized(length + 1)
        if length:
            yield "length -1", row.resized(length - 1)
        if length > 1:
            yield "length 0", row.resized(0)

    return _each("length", good, changes)


def windows(good: Good) -> Iterator[Mutant]:
    """Window + 1, and 0."""

    def changes(row: Row) -> Iterator[tuple[str, Row]]:
        yield "window +1", row.but(window=(row["window"] + 1) % 0x10000)
        if row["window"]:
            yield "window 0", row.but(window=0)

    return _each("window", good, changes)


_NO_OPTION = {
    "MSS": {"mss": ABSENT},
    "window scale": {"wscale": ABSENT},
    "SACK permitted": {"sack_permitted": 0},
    "timestamps": {"tsval": ABSENT, "tsecr": ABSENT},
}
_AN_OPTION = {
    "MSS": {"mss": 1460},
    "window scale": {"wscale": 7},
    "SACK permitted": {"sack_permitted": 1},
    "timestamps": {"tsval": 1, "tsecr": 1},
}


def options(good: Good) -> Iterator[Mutant]:
    """Each option taken away where it is, and added where it is not; a shift count above 14; a SACK block."""

    def changes(row: Row) -> Iterator[tuple[str, Row]]:
        for name, none in _NO_OPTION.items():
            if any(row[column] != value for column, value in none.items()):
                yield f"{name} removed", row.but(**none)
            else:
                yield f"{name} added", row.but(**_AN_OPTION[name])
        if row["wscale"] != ABSENT:
            yield "window scale 15", row.but(wscale=15)
        if row["flags"] & (ACK | SYN | RST) == ACK and not row["sack"]:
            yield "D-SACK added", _with_d_sack(row)

    def without_asking() -> Iterator[Mutant]:
        for syn in (row for row in good.rows if row["flags"] & SYN and row["sack_permitted"]):
            for place in good.touched[-1:]:
                rows = list(good.rows)
                rows[syn.origin], rows[place] = syn.but(sack_permitted=0), _with_d_sack(good.rows[place])
                what = f"SACK permitted removed of {good.frames(syn.origin)}, D-SACK added to {good.frames(place)}"
                yield Mutant("options", what, good, tuple(rows))

    if good.conversation.segments_columns.options_shown:
        yield from _each("options", good, changes)
        yield from without_asking()


def _with_d_sack(row: Row) -> Row:
    """With a SACK block of what it acknowledges: a report of a duplicate (RFC 2883 §4)."""
    return replace(row.but(sack=1), blocks=(((row["ack"] - 1) % (1 << 32), row["ack"]),))


def addresses(good: Good) -> Iterator[Mutant]:
    """Another port or host on either side; sender and receiver swapped."""

    def changes(row: Row) -> Iterator[tuple[str, Row]]:
        for column in ("sport", "dport"):
            yield f"{column} +1", row.but(**{column: (row[column] + 1) % 0x10000})
        if max(row["src"], row["dst"]) < 1 << 32:  # an IPv6 key is a place in a table
            yield "source host changed", row.but(src=row["src"] ^ 0x80)
            yield "destination host changed", row.but(dst=row["dst"] ^ 0x80)
        yield "direction reversed", row.turned()

    return _each("addresses", good, changes)


# -- whole segments ----------------------------------------------------------------------------------------------------


def dropped(good: Good) -> Iterator[Mutant]:
    """Each segment missing, two in a row, and five."""
    for count in (1, 2, 5):
        for first in range(len(good.rows) - count + 1):
            rows = (*good.rows[:first], *good.rows[first + count :])
            last = first + count - 1
            what = good.frames(first) if count == 1 else f"{good.frames(first)} to {good.conversation.at(last).frame}"
            yield Mutant("dropped", f"{what} dropped", good, rows)


def cut_off(good: Good) -> Iterator[Mutant]:
    """Begun too late, or stopped too early: within the handshake, within the close, and between."""
    size = len(good.rows)
    for count in sorted({*range(1, 9), size // 4, size // 2, 3 * size // 4, *range(size - 8, size)}):
        if 0 < count < size:
            yield Mutant("cut off", f"only the first {count} segments", good, good.rows[:count])
            yield Mutant("cut off", f"only the last {count} segments", good, good.rows[-count:])


def sent_at_once_again(good: Good) -> Iterator[Mutant]:
    """A segment sent a second time 1 µs later, without any cause: no timeout, no duplicate ACK."""
    for place in good.touched:
        row = good.rows[place]
        if row["ip_id"] != ABSENT:  # without it, nothing tells it from a frame that was captured twice
            rows = (*good.rows[: place + 1], row.again(MICROSECOND), *good.rows[place + 1 :])
            yield Mutant("sent twice", f"{good.frames(place)} sent twice at once", good, rows)


def missing(good: Good, places: Iterable[int]) -> Iterator[Mutant]:
    """Each of these segments missing, and all from each of them on."""
    for place in places:
        yield Mutant("dropped", f"{good.frames(place)} dropped", good, good.with_instead(place))
        yield Mutant("dropped", f"all from {good.frames(place)} on dropped", good, good.rows[:place])


def in_order(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Rows with their times handed out anew, in order."""
    times = sorted(row["time"] for row in rows)
    return tuple(row.but(time=time) for row, time in zip(rows, times, strict=True))


def swapped(good: Good, pairs: Iterable[tuple[int, int]]) -> Iterator[Mutant]:
    """The two segments of each pair swapped, each with the other's time."""
    for one, two in pairs:
        rows = list(good.rows)
        rows[one], rows[two] = rows[two], rows[one]
        yield Mutant("order", f"{good.frames(one, two)} swapped", good, in_order(tuple(rows)))


def same_but_for_time(good: Good, one: int, two: int) -> bool:
    """Whether one segment is another sent again."""
    return all(good.rows[one][column] == good.rows[two][column] for column in ("src", "flags", "seq", "ack"))


def order(good: Good) -> Iterator[Mutant]:
    """Two control segments swapped, one moved by up to three places, any touched segment swapped with the next."""
    for one, two in combinations(good.control, 2):
        swapped = list(good.rows)
        swapped[one], swapped[two] = good.rows[two], good.rows[one]
        what = f"{good.frames(one, two)} swapped"
        yield Mutant("order", what, good, in_order(tuple(swapped)))
        yield Mutant("order", f"{what}, each with its own time", good, tuple(swapped))
    moves = {(place, place + by) for place in good.control for by in (-3, -2, -1, 1, 2, 3)}
    moves |= {(place, place + 1) for place in good.touched}
    for place, to in sorted(moves):
        if 0 <= to < len(good.rows):
            others = good.with_instead(place)
            rows = in_order((*others[:to], good.rows[place], *others[to:]))
            yield Mutant("order", f"{good.frames(place)} moved {to - place:+d}", good, rows)


def inserted(good: Good) -> Iterator[Mutant]:
    """What does not belong there: a RST, a second SYN, data after the FIN, an ACK without a cause, a late word."""
    fins = [row.origin for row in good.rows if row["flags"] & FIN]
    first_fin = min(fins, default=len(good.rows))
    middle = first_fin // 2
    places = {"in the middle": middle, "before the close": first_fin, "at the end": len(good.rows)}
    for end in ENDS:
        for where, place in places.items():
            with suppress(NotShown):
                last = good.last_of(end, place)
                on = last.again(MICROSECOND).but(seq=last["seq"] + last.size, time=good.rows[place - 1]["time"] + 1)
                made = {
                    "RST": on.resized(0).but(flags=RST | ACK),
                    "RST without ACK": on.resized(0).but(flags=RST, ack=0),
                    "SYN": on.resized(0).but(flags=SYN, ack=0),
                    "SYN-ACK": on.resized(0).but(flags=SYN | ACK),
                    "ACK without a cause": on.resized(0).but(flags=ACK),
                    "data that nobody acknowledges": on.resized(8).but(flags=ACK | PSH),
                }
                first = next(row for row in good.rows if good.end_of(row.origin) == end)
                if first["flags"] & SYN:
                    made["first SYN again"] = first.again(0).but(time=on["time"])
                for what, row in made.items():
                    rows = (*good.rows[:place], row, *good.rows[place:])
                    yield Mutant("inserted", f"{what} by the {end} {where}", good, rows)
    for place in fins:
        fin = good.rows[place]
        data = fin.again(MICROSECOND).resized(4).but(flags=ACK | PSH, seq=fin["seq"] + fin.size)
        rows = (*good.rows[: place + 1], data, *good.rows[place + 1 :])
        yield Mutant("inserted", f"data after the FIN of {good.frames(place)}", good, rows)


def streams(good: Good) -> Iterator[Mutant]:
    """One end's numbers moved as a whole, from its first segment on or from the middle, while its peer's stay."""
    middle = good.rows[len(good.rows) // 2].origin
    for end in ENDS:
        for column in ("seq", "ack"):
            for begin, where in ((0, "everywhere"), (middle, f"from {good.frames(middle)} on")):
                rows = tuple(
                    row.but(**{column: row[column] + 1000})
                    if row.origin >= begin and good.end_of(row.origin) == end and (column == "seq" or row["ack"])
                    else row
                    for row in good.rows
                )
                yield Mutant("streams", f"{column} +1000 of the {end} {where}", good, rows)


def files(good: Good) -> Iterator[Mutant]:
    """The file damaged: cut inside a frame, empty, or not what it says it is."""
    size = len(good.data)
    for kept in (size // 3, size // 2, size - 1):
        yield Mutant("file", f"cut after {kept} of {size} bytes", good, data=good.data[:kept])
    yield Mutant("file", "begins with other bytes", good, data=b"\x7fELF" + good.data[4:])
    yield Mutant("file", "header only", good, data=good.data[:24])


MUTANTS: tuple[Family, ...] = (
    sequence_numbers, ack_numbers, flags, lengths, windows, options, addresses, dropped, cut_off, sent_at_once_again,
    order, inserted, streams, files,
)  # fmt: skip


# -- what only some labs ask for ---------------------------------------------------------------------------------------


def banners(good: Good) -> Iterator[Mutant]:
    """Each end's first data begins with another byte."""
    rows = []
    for stream in good.conversation.streams:
        with suppress(NotShown):
            rows.append(stream.first_data.row)

    def changes(row: Row) -> Iterator[tuple[str, Row]]:
        if row.payload:
            yield "first byte changed", row.with_payload(bytes([row.payload[0] ^ 0x20]) + row.payload[1:])

    return _each("banners", good, changes, tuple(rows))


def endpoints(good: Good) -> Iterator[Mutant]:
    """The whole connection to another port, from a well-known port, and within one host."""
    (_, _), (host, port) = good.conversation.rows.initiator, good.conversation.rows.responder

    def everywhere(server: int, other_port: int | None, *, one_host: bool = False) -> tuple[Row, ...]:
        rows = []
        for row in good.rows:
            mine, theirs = ("sport", "dport") if good.end_of(row.origin) == "initiator" else ("dport", "sport")
            change = {theirs: server} | ({mine: other_port} if other_port else {})
            rows.append(row.but(**change, **({"src": host, "dst": host} if one_host else {})))
        return tuple(rows)

    yield Mutant("endpoints", f"the responder's port is {port + 1}", good, everywhere(port + 1, None))
    yield Mutant("endpoints", "the initiator's port is 80", good, everywhere(port, 80))
    yield Mutant("endpoints", "both ends are one host", good, everywhere(port, None, one_host=True))
