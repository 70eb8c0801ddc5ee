"""Legal TCP: what a good capture might as well have been.

A *variant* is a whole capture that is legal TCP though it looks different: a rubric must leave it all its points. It is
a declaration: who writes it says that no point may be lost there.
"""

import gzip
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from harness.grading.mutants import MADE, Family, Good, Mutant, Row, in_order
from harness.tcp.conversation import ENDS, End, other
from harness.tcp.flags import ACK, CWR, ECE, FIN, PSH, from_letters
from harness.tcp.segments import ABSENT

TIMEOUT = 210_000_000  # ns: Linux's shortest retransmission timeout, and a bit
MILLISECOND = 1_000_000


def variant_of(name: str, good: Good, rows: tuple[Row, ...]) -> Mutant:
    """A good capture with other rows that are legal too."""
    return Mutant("legal", name, good, rows)


def _bytes_of(row: Row) -> bytes:
    """A row's payload; zeros where the capture does not hold it."""
    return row.payload or bytes(row["length"])


def other_isns(good: Good) -> Iterator[Mutant]:
    """Other initial sequence numbers: wrapping in the handshake, in the data, at zero and at half the circle."""
    isns = {end: good.conversation.stream(end).isn.value for end in ENDS}
    for name, wanted in {
        "initiator's ISN wraps in the handshake": (2**32 - 1, 7),
        "initiator's ISN wraps in the data": (2**32 - 500, 7),
        "responder's ISN wraps in the handshake": (7, 2**32 - 1),
        "both ISNs wrap in the data": (2**32 - 900, 2**32 - 1200),
        "both ISNs are 0": (0, 0),
        "ACK of the SYN is 0": (2**32 - 1, 2**32 - 1),
        "both ISNs cross 2**31": (2**31 - 50, 2**31 - 1000),
    }.items():
        by = {end: new - isns[end] for end, new in zip(ENDS, wanted, strict=True)}
        rows = []
        for row in good.rows:
            end = good.end_of(row.origin)
            ack = row["ack"] + by[other(end)] if row["flags"] & ACK else row["ack"]
            moved = replace(row.but(seq=row["seq"] + by[end], ack=ack), blocks=())
            rows.append(moved.but(sack=0))
        yield variant_of(name, good, tuple(rows))


def ipv6(good: Good) -> Iterator[Mutant]:
    """The same over IPv6: other addresses, and no IP identification."""
    hosts = dict.fromkeys(row["src"] for row in good.rows)
    if len(hosts) == 2 and max(hosts) < 1 << 32:
        keys = {host: (1 << 32) + place for place, host in enumerate(hosts)}
        table = tuple(b"\xfd" + bytes(14) + bytes([1 + place]) for place in range(2))
        rows = tuple(row.but(src=keys[row["src"]], dst=keys[row["dst"]], ip_id=ABSENT) for row in good.rows)
        yield replace(variant_of("over IPv6", good, rows), ipv6=table)


def advice(good: Good) -> Iterator[Mutant]:
    """PSH everywhere and nowhere; ECN agreed on and used (RFC 3168)."""
    everywhere = tuple(row.but(flags=row["flags"] | PSH) for row in good.rows)
    yield variant_of("PSH everywhere", good, everywhere)
    yield variant_of("PSH nowhere", good, tuple(row.but(flags=row["flags"] & ~PSH) for row in good.rows))
    rows = list(good.rows)
    conversation = good.conversation
    told = (conversation.syn, ECE | CWR), (conversation.syn_ack, ECE), (conversation.initiator_stream.first_data, CWR)
    for segment, bits in told:
        rows[segment.row] = rows[segment.row].but(flags=rows[segment.row]["flags"] | bits)
    yield variant_of("ECN", good, tuple(rows))


def other_options(good: Good) -> Iterator[Mutant]:
    """No timestamps, no SACK, no scaling on the whole connection; windows of any size."""
    for name, change in {
        "no timestamps": {"tsval": ABSENT, "tsecr": ABSENT},
        "no SACK": {"sack_permitted": 0, "sack": 0},
        "no window scale": {"wscale": ABSENT},
        "no option but MSS": {"tsval": ABSENT, "tsecr": ABSENT, "sack_permitted": 0, "sack": 0, "wscale": ABSENT},
    }.items():
        yield variant_of(name, good, tuple(replace(row.but(**change), blocks=()) for row in good.rows))
    first = good.conversation.syn.row
    rows = (row.but(wscale=14) if row.origin == first else row for row in good.rows)
    yield variant_of("window scale 14", good, tuple(rows))


def _sent_again(good: Good, place: int, after: int, answer: int | None = None) -> tuple[Row, ...]:
    """A row sent again a timeout after another, then an ACK like the row that answered it; the rest comes later."""
    later = good.rows[after]["time"] + TIMEOUT
    made = [good.rows[place].again(0).but(time=later)]
    if answer is not None:
        like = good.rows[answer]
        made.append(like.again(0).resized(0).but(time=later + 1000, flags=ACK, seq=like["seq"] + like.size))
    rest = (row.but(time=row["time"] + 2 * TIMEOUT) for row in good.rows[after + 1 :])
    return (*good.rows[: after + 1], *made, *rest)


def handshake_sent_again(good: Good) -> Iterator[Mutant]:
    """SYN or SYN-ACK sent again after a timeout (RFC 6298)."""
    for name, segment in (("SYN", good.conversation.syn), ("SYN-ACK", good.conversation.syn_ack)):
        yield variant_of(f"{name} sent again", good, _sent_again(good, segment.row, segment.row))


def syn_answered_twice(good: Good) -> Iterator[Mutant]:
    """The first SYN-ACK was lost: the SYN comes again and is answered, and the answer's own timeout ends just then."""
    syn, syn_ack = good.conversation.syn.row, good.conversation.syn_ack.row
    rows = [good.rows[syn].but(time=good.rows[syn]["time"] - 1000 * MILLISECOND), good.rows[syn].again(0)]
    rows += [good.rows[syn_ack], good.rows[syn_ack].again(0).but(time=good.rows[syn_ack]["time"] + MILLISECOND // 10)]
    later = (row.but(time=row["time"] + MILLISECOND) for row in good.rows[syn_ack + 1 :])
    if syn_ack == syn + 1:
        yield variant_of("SYN sent again, and answered twice", good, (*good.rows[:syn], *rows, *later))


def data_sent_again(good: Good) -> Iterator[Mutant]:
    """Data sent again before and after its ACK, and data that was lost before it could be captured."""
    rows = good.rows
    for stream in good.conversation.streams:
        if not stream.data:
            continue
        data = stream.data[len(stream.data) // 2]
        name = f"{stream.end}'s data"
        yield variant_of(f"{name} sent again before its ACK", good, _sent_again(good, data.row, data.row))
        for acked in list(stream.acks_of(data.relative[0]))[:1]:
            again = _sent_again(good, data.row, acked.row, acked.row)
            yield variant_of(f"{name} sent again late", good, again)
        for first, second in pairwise(stream.data):
            if second.row == first.row + 1:
                turned = in_order((*rows[: first.row], rows[second.row], rows[first.row], *rows[second.row + 1 :]))
                yield variant_of(f"{name} lost before the capture and sent again", good, turned)
                break


def data_cut_anew(good: Good) -> Iterator[Mutant]:
    """Data sent again together with the next, which was lost before it could be captured."""
    rows = good.rows
    for stream in good.conversation.streams:
        pairs = [
            pair
            for pair in pairwise(stream.data)
            if not any(one.row in good.control or one.is_elsewhere for one in pair)
        ]
        for first, second in pairs[len(pairs) // 2 :][:1]:
            one, two = rows[first.row], rows[second.row]
            whole = _bytes_of(one) + _bytes_of(two)
            both = two.with_payload(whole).but(seq=one["seq"], time=two["time"] + TIMEOUT)
            later = (row.but(time=row["time"] + TIMEOUT) for row in rows[second.row + 1 :])
            name = f"{stream.end}'s data sent again with what was lost behind it"
            yield variant_of(
                f"{name} ({good.frames(first.row, second.row)})", good, (*rows[: second.row], both, *later)
            )


def fin_sent_again(good: Good) -> Iterator[Mutant]:
    """A FIN sent again after a timeout, before its ACK and after it."""
    for stream in good.conversation.streams:
        fin, ack = stream.fin.row, stream.fin_ack.row
        yield variant_of(f"{stream.end}'s FIN sent again before its ACK", good, _sent_again(good, fin, fin))
        yield variant_of(f"{stream.end}'s FIN sent again late", good, _sent_again(good, fin, ack, ack))


def captured_twice(good: Good) -> Iterator[Mutant]:
    """Frames of SYN, FIN and data that a mirror port or the network doubled: equal in all, the IP header included."""
    return _doubled(good, pure_acks=False)


def _doubled(good: Good, *, pure_acks: bool) -> Iterator[Mutant]:
    for place in good.touched:
        if good.rows[place].is_pure_ack == pure_acks:
            rows = (*good.rows[: place + 1], replace(good.rows[place], origin=MADE), *good.rows[place + 1 :])
            yield variant_of(f"{good.frames(place)} captured twice", good, rows)


def ack_captured_twice(good: Good) -> Iterator[Mutant]:
    """The same of frames with an ACK alone, and of every frame."""
    yield from _doubled(good, pure_acks=True)
    doubled = tuple(twin for row in good.rows for twin in (row, replace(row, origin=MADE)))
    yield variant_of("every frame captured twice", good, doubled)


def _turned_round(good: Good, one_has_data: bool, two_has_data: bool) -> Iterator[Mutant]:
    """For each end, the first two neighbours of these kinds, not of handshake or close, turned round."""
    words = ("ACK", "data")
    for end in ENDS:
        for one, two in pairwise(good.rows):
            ours = good.end_of(one.origin) == end == good.end_of(two.origin)
            kinds = (bool(one["length"]), bool(two["length"])) == (one_has_data, two_has_data)
            if ours and kinds and not {one.origin, two.origin} & set(good.control):
                rows = (*good.rows[: one.origin], two, one, *good.rows[two.origin + 1 :])
                name = f"{end}'s {words[one_has_data]} overtaken by its {words[two_has_data]}"
                yield variant_of(f"{name} ({good.frames(one.origin, two.origin)})", good, in_order(rows))
                break


def overtaken(good: Good) -> Iterator[Mutant]:
    """An ACK or data overtaken by its sender's next data."""
    yield from _turned_round(good, one_has_data=False, two_has_data=True)
    yield from _turned_round(good, one_has_data=True, two_has_data=True)


def ack_overtaken_by_ack(good: Good) -> Iterator[Mutant]:
    """An ACK overtaken by its sender's next ACK."""
    return _turned_round(good, one_has_data=False, two_has_data=False)


def other_acks(good: Good) -> Iterator[Mutant]:
    """As few ACKs as there may be; more than there were, to tell of a window that closes and opens."""
    rows = good.rows
    needed = []
    for row in rows:
        after = (later for later in rows[row.origin + 1 :] if good.end_of(later.origin) == good.end_of(row.origin))
        if not row.is_pure_ack or row.origin in good.handshake or not any(later["flags"] & ACK for later in after):
            needed.append(row)
    yield variant_of("no ACK but those that no later one covers", good, tuple(needed))
    ack = next((row for row in rows if row.is_pure_ack and row.origin not in good.control), None)
    if ack is not None:
        closed = ack.but(window=0)
        opened = ack.again(1000)
        yield variant_of(
            f"a window closes and opens ({good.frames(ack.origin)})",
            good,
            (*rows[: ack.origin], closed, opened, *rows[ack.origin + 1 :]),
        )


def _cut_in_two(row: Row, first: int) -> tuple[Row, Row]:
    """A row's data in two segments; what the row's flags say of its end stays with the second."""
    payload = _bytes_of(row)
    head = row.with_payload(payload[:first]).but(flags=row["flags"] & ~(PSH | FIN))
    tail = row.again(0).with_payload(payload[first:]).but(seq=row["seq"] + first)
    return head, tail


def _all_split(name: str, at: Callable[[int], int]) -> Family:
    def variants(good: Good) -> Iterator[Mutant]:
        rows: list[Row] = []
        for row in good.rows:
            rows += _cut_in_two(row, at(row["length"])) if row["length"] > 1 else (row,)
        yield variant_of(f"all data split {name}", good, tuple(rows))

    return variants


split_in_halves = _all_split("in halves", lambda length: length // 2)
last_byte_alone = _all_split("before its last byte", lambda length: length - 1)
first_byte_alone = _all_split("after its first byte", lambda _length: 1)


def joined(good: Good) -> Iterator[Mutant]:
    """The same bytes in fewer segments."""
    for one, two in pairwise(good.rows):
        if one["length"] and two["length"] and good.end_of(one.origin) == good.end_of(two.origin):
            whole = _bytes_of(one) + _bytes_of(two)
            both = one.with_payload(whole).but(flags=two["flags"])
            # An ACK of the first part alone cannot be: nobody can tell that there were two.
            rest = (row for row in good.rows[two.origin + 1 :] if not row.is_pure_ack or row["ack"] != two["seq"])
            yield variant_of(
                f"{good.frames(one.origin, two.origin)} in one", good, (*good.rows[: one.origin], both, *rest)
            )
            break


class _Talk:
    """A good capture up to its close, to be closed in another way."""

    def __init__(self, good: Good) -> None:
        first = min(stream.fin.row for stream in good.conversation.streams)
        self.rows = list(good.rows[:first])
        self._like = {end: good.last_of(end, first) for end in ENDS}
        self._next = {end: like["seq"] + like.size for end, like in self._like.items()}
        for end in ENDS:
            if (self._like[end]["ack"] - self._next[other(end)]) % (1 << 32):
                self.say(end, ".")

    def say(self, end: End, flags: str, length: int = 0, *, unheard: int = 0, after: int = MILLISECOND) -> Row:
        """A segment: where its sender had got to, acknowledging all but the last *unheard* numbers of its peer."""
        row = self._like[end].again(0).resized(length)
        ack = self._next[other(end)] - unheard
        time = self.rows[-1]["time"] + after
        row = row.but(flags=from_letters(flags), seq=self._next[end], ack=ack, time=time)
        self._next[end] += row.size
        self.rows.append(row)
        return row

    def repeat(self, row: Row) -> None:
        """A segment sent again after a timeout."""
        self.rows.append(row.again(0).but(time=self.rows[-1]["time"] + TIMEOUT))


def _four(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, ".")
    talk.say(two, "F.")
    talk.say(one, ".")


def _three(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, "F.")
    talk.say(one, ".")


def _at_once(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, "F.", unheard=1)
    talk.say(one, ".")
    talk.say(two, ".")


def _at_once_answered_the_other_way_round(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, "F.", unheard=1)
    talk.say(two, ".")
    talk.say(one, ".")


def _with_data_in_the_fin(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "FP.", 5)
    talk.say(two, ".")
    talk.say(two, "FP.", 7)
    talk.say(one, ".")


def _half_closed(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, ".")
    talk.say(two, "P.", 10, after=100 * MILLISECOND)
    talk.say(one, ".")
    talk.say(two, "F.")
    talk.say(one, ".")


def _with_the_last_ack_lost(talk: _Talk, one: End, two: End) -> None:
    talk.say(one, "F.")
    talk.say(two, ".")
    fin = talk.say(two, "F.")
    ack = talk.say(one, ".")
    talk.repeat(fin)
    talk.repeat(ack)


def _with_a_fin_sent_again_that_is_answered_late(talk: _Talk, one: End, two: End) -> None:
    """The first FIN's ACK was lost; that of the FIN that came again is overtaken by the other FIN."""
    fin = talk.say(one, "F.")
    talk.repeat(fin)
    talk.say(two, "F.")
    talk.say(one, ".")
    talk.say(two, ".")


def _after_a_keep_alive(talk: _Talk, one: End, two: End) -> None:
    """RFC 9293 §3.8.4: by default after two hours, a segment one before the next number, and its ACK."""
    probe = talk.say(one, ".", after=7200_000 * MILLISECOND)
    talk.rows[-1] = probe.but(seq=probe["seq"] - 1)
    talk.say(two, ".")
    _four(talk, one, two)


def _closed(name: str, close: Callable[[_Talk, End, End], None]) -> Family:
    def variants(good: Good) -> Iterator[Mutant]:
        for end in ENDS:
            talk = _Talk(good)
            close(talk, end, other(end))
            yield variant_of(f"closed {name}, {end} first", good, tuple(talk.rows))

    return variants


closed_in_four = _closed("in four segments", _four)
closed_in_three = _closed("in three segments", _three)
closed_at_once = _closed("by both at once", _at_once)
closed_at_once_too = _closed("by both at once, answered the other way round", _at_once_answered_the_other_way_round)
fin_with_data = _closed("by FINs with data", _with_data_in_the_fin)
half_closed = _closed("by halves", _half_closed)
last_ack_lost = _closed("with the last ACK lost", _with_the_last_ack_lost)
fin_answered_late = _closed(
    "with the ACK of a FIN that came again after all", _with_a_fin_sent_again_that_is_answered_late
)
kept_alive = _closed("after a keep-alive", _after_a_keep_alive)


def _records(pcap: bytes) -> list[tuple[int, int, bytes, int]]:
    """(seconds, microseconds, bytes, length on the wire) of each frame of a pcap."""
    found, at = [], 24
    while at < len(pcap):
        seconds, fraction, kept, wire = struct.unpack_from("<IIII", pcap, at)
        found.append((seconds, fraction, pcap[at + 16 : at + 16 + kept], wire))
        at += 16 + kept
    return found


def _block(kind: int, body: bytes) -> bytes:
    """A pcapng block (draft-ietf-opsawg-pcapng §3.1)."""
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)


def other_files(good: Good) -> Iterator[Mutant]:
    """The same frames as pcapng, gzip, and as pcap in the other byte order and with nanoseconds."""
    yield replace(variant_of("compressed", good, ()), data=gzip.compress(good.data))
    if good.data[:4] != b"\xd4\xc3\xb2\xa1":  # little-endian microseconds, as tcpdump writes on most machines
        return
    records, link = _records(good.data), struct.unpack_from("<I", good.data, 20)[0]
    big = struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, link)
    big += b"".join(
        struct.pack(">IIII", seconds, micro * 1000, len(frame), wire) + frame for seconds, micro, frame, wire in records
    )
    yield replace(variant_of("as big-endian pcap with nanoseconds", good, ()), data=big)
    pcapng = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + _block(1, struct.pack("<HHI", link, 0, 0))
    for seconds, micro, frame, wire in records:
        high, low = divmod(seconds * 1_000_000 + micro, 1 << 32)
        pcapng += _block(6, struct.pack("<IIIII", 0, high, low, len(frame), wire) + frame)
    yield replace(variant_of("as pcapng", good, ()), data=pcapng)


LEGAL_VARIANTS: tuple[Family, ...] = (
    other_isns, ipv6, advice, other_options, handshake_sent_again, syn_answered_twice, data_sent_again, data_cut_anew,
    fin_sent_again, captured_twice, ack_captured_twice, overtaken, ack_overtaken_by_ack, other_acks, split_in_halves,
    last_byte_alone, first_byte_alone, joined, closed_in_four, closed_in_three, closed_at_once, closed_at_once_too,
    fin_with_data, half_closed, last_ack_lost, fin_answered_late, kept_alive, other_files,
)  # fmt: skip
