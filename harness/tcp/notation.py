"""The wire as text, in packetdrill's notation: the language of fixtures and failures.

One segment a line, in relative numbers (the SYN is 0, the first byte of data 1):

    +0     > S  0:0(0) win 64240 <mss 1460,sackOK,wscale 7>
    +.001  < S. 0:0(0) ack 1 win 65160 <mss 1460>
    +0     > .  1:1(0) ack 1
    +0     > P. 1:22(21) ack 1

`>` is sent by the initiator, `<` by the responder. Times are seconds: `+n` after the line before, `n` from the start.
A comment begins with `//`. See packetdrill(1), "packet specification".
"""

import re

from harness.tcp.conversation import Conversation
from harness.tcp.flags import ACK, from_letters
from harness.tcp.segments import Segments, address_key, from_rows

_LINE = re.compile(
    r"(?P<plus>\+?)(?P<time>\d*\.?\d+)\s+(?P<way>[<>])\s+(?P<flags>\S+)\s+(?P<begin>-?\d+):(?P<end>-?\d+)\((?P<len>\d+)\)"
    r"(?:\s+ack\s+(?P<ack>-?\d+))?(?:\s+win\s+(?P<win>\d+))?(?:\s+<(?P<options>[^>]*)>)?"
)
_OPTION = re.compile(
    r"mss (?P<mss>\d+)|(?P<sack_permitted>sackOK)|wscale (?P<wscale>\d+)|TS val (?P<tsval>\d+) ecr (?P<tsecr>\d+)"
    r"|(?P<sack>sack \S+)|nop"
)

_MOST = {
    "time": (1 << 63) - 1,  # nanoseconds
    **dict.fromkeys(("window", "length", "mss"), 0xFFFF),
    "wscale": 0xFF,
    **dict.fromkeys(("tsval", "tsecr"), 0xFFFFFFFF),
}


def parse(
    text: str,
    *,
    isns: tuple[int, int] = (1000, 5000),
    initiator: str = "192.168.1.63:40000",
    responder: str = "192.168.1.64:22",
    start: float = 1_700_000_000.0,
) -> Segments:
    """Segments from a script.

    Args:
        text: the script.
        isns: what number 0 stands for, the initiator's and the responder's.
        initiator: "IP:PORT".
        responder: "IP:PORT".
        start: time 0, in seconds since the epoch.

    Raises:
        ValueError: a line is not in the notation; says which.
    """
    ends = [
        (address_key(address), int(port)) for address, _, port in (e.rpartition(":") for e in (initiator, responder))
    ]
    rows: list[dict[str, int]] = []
    clock = 0.0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("//")[0].strip()
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if not found or int(found["end"]) - int(found["begin"]) != int(found["len"]):
            raise ValueError(f"line {number} is not packetdrill's notation: {line}")
        clock = float(found["time"]) + (clock if found["plus"] else 0)
        sender = 0 if found["way"] == ">" else 1
        (src, sport), (dst, dport) = ends[sender], ends[1 - sender]
        try:
            flags = from_letters(found["flags"])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        ack = (isns[1 - sender] + int(found["ack"])) % (1 << 32) if found["ack"] and flags & ACK else 0
        rows.append(
            {
                "frame": len(rows) + 1,
                "time": round((start + clock) * 1e9),
                "src": src,
                "dst": dst,
                "sport": sport,
                "dport": dport,
                "seq": (isns[sender] + int(found["begin"])) % (1 << 32),
                "ack": ack,
                "flags": flags,
                "window": int(found["win"] or 502),
                "length": int(found["len"]),
                **_options(found["options"] or "", number),
            }
        )
        for name, most in _MOST.items():
            if rows[-1].get(name, 0) > most:
                raise ValueError(f"line {number}: {name} {rows[-1][name]} is more than {most}")
    return from_rows(rows)


def _options(text: str, number: int) -> dict[str, int]:
    options: dict[str, int] = {}
    for word in filter(None, text.split(",")):
        found = _OPTION.fullmatch(word.strip())
        if not found:
            raise ValueError(f"line {number}: {word.strip()!r} is no TCP option of this notation")
        options |= {
            name: int(value) if value.isdigit() else 1 for name, value in found.groupdict().items() if value is not None
        }
    return options


def write(conversation: Conversation) -> str:
    """A conversation as a script."""
    lines = []
    began = conversation.rows_in_order[0].time
    for segment in conversation.rows_in_order:
        begin, _, ack = segment.relative
        way = ">" if segment.sender == "initiator" else "<"
        acks = "" if ack is None else f" ack {ack}"
        length = int(segment.len)
        seconds = (segment.time - began) / 1e9
        lines.append(
            f"{seconds:.6f} {way} {segment.flags} {begin}:{begin + length}({length}){acks} win {segment.window}"
        )
    return "\n".join(lines) + "\n"
