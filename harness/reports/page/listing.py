"""A segment as `tcpdump -n -S` prints it."""

import time
from collections.abc import Iterable, Iterator

from harness.tcp.conversation import Conversation
from harness.tcp.flags import ACK, FIN, RST, SYN, letters
from harness.tcp.segments import ABSENT

_32_BITS = 1 << 32


def lines_of(conversation: Conversation, rows: Iterable[int]) -> dict[int, str]:
    """The lines of tcpdump(1) for some of a conversation's segments, by row.

    Times are in UTC, and options have no padding between them. A capture that holds no options shows none.
    """
    ends = _address(conversation.initiator), _address(conversation.responder)
    family = "IP6" if "[" in conversation.initiator else "IP"
    names = ("time", "flags", "seq", "ack", "window", "length")
    columns = [conversation.column(name) for name in names]
    found = {}
    for row in rows:
        when, bits, seq, ack, window, length = (column[row] for column in columns)
        seconds, rest = divmod(when, 1_000_000_000)
        clock = f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06}"
        parts = [f"Flags [{letters(bits)}]"]
        if length:
            parts.append(f"seq {seq}:{(seq + length) % _32_BITS}")
        elif bits & (SYN | FIN | RST):
            parts.append(f"seq {seq}")
        if bits & ACK:
            parts.append(f"ack {ack}")
        parts.append(f"win {window}")
        if options := ",".join(_options(conversation, row)):
            parts.append(f"options [{options}]")
        one, two = ends if conversation.forward[row] else ends[::-1]
        found[row] = f"{clock} {family} {one} > {two}: {', '.join(parts)}, length {length}"
    return found


def _options(conversation: Conversation, row: int) -> Iterator[str]:
    """TCP options in tcpdump's words, in the order in which Linux sends them."""
    if not conversation.segments_columns.options_shown:
        return
    mss, scale, permitted, sack, stamps = conversation.options_by_row[row]
    if mss is not None:
        yield f"mss {mss}"
    if permitted:
        yield "sackOK"
    if stamps is not None:
        yield f"TS val {stamps[0]} ecr {stamps[1]}"
    if scale is not None:
        yield f"wscale {scale}"
    if sack:
        blocks = conversation.segments_columns.sack_blocks(int(conversation.rows.rows[row]))
        yield f"sack {len(blocks)} {''.join(f'{{{left}:{right}}}' for left, right in blocks)}"
    if conversation.column("fast_open")[row] not in (0, ABSENT):
        yield "tfo"


def _address(end: str) -> str:
    """An address and a port, joined by a dot."""
    host, _colon, port = end.rpartition(":")
    return f"{host.strip('[]')}.{port}"
