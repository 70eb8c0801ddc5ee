"""Captures to begin fuzzing with: the project's own, and small ones of every kind that the readers know."""

import gzip
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.tcp.notation import parse
from tests.pcaps import Frame, decode, encode, frames_of

DATA = Path(__file__).resolve().parent.parent / "data"
REGRESSIONS = DATA / "fuzz"
FRAMES = 12  # of a real capture: what is small is fuzzed more often
LAYOUTS = ("", "-t", "-tt", "-ttt", "-tttt", "-ttttt", "-S", "-v", "-e -vv", "-X -#")

_OLD = b"""\
12:00:00.000000 IP 10.0.0.1.1000 > 10.0.0.2.http: S 10:10(0) win 5840 <mss 1460,sackOK,timestamp 7 0,nop> (DF)
12:00:00.000001 IP 10.0.0.2.http > 10.0.0.1.1000: S 20:20(0) ack 11 win 5792 <mss 1460>
12:00:00.000002 IP 10.0.0.1.1000 > 10.0.0.2.http: . ack 1 win 46 <nop,nop,sack 1 {5:9}>
12:00:00.000003 IP 10.0.0.1.1000 > 10.0.0.2.http: FP 1:22(21) ack 1 win 46
"""
_OPENED = """
    +0     > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
    +.0001 < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 2 ecr 1,wscale 7>
    +.0001 > .  1:1(0) ack 1 <TS val 3 ecr 2>
    +.0001 > P. 1:22(21) ack 1 <TS val 4 ecr 2>
    +.0001 < P. 1:22(21) ack 22
"""
SCRIPTS = {
    "four": _OPENED
    + "+0 > F. 22:22(0) ack 22\n+0 < . 22:22(0) ack 23\n+0 < F. 22:22(0) ack 23\n+0 > . 23:23(0) ack 23",
    "three": _OPENED + "+0 < F. 22:22(0) ack 22\n+0 > F. 22:22(0) ack 23\n+0 < . 23:23(0) ack 23",
    "simultaneous": """
        +0 > S 0:0(0)
        +0 < S 0:0(0)
        +0 > S. 0:0(0) ack 1
        +0 < S. 0:0(0) ack 1
        +0 > F. 1:1(0) ack 1
        +0 < F. 1:1(0) ack 1
        +0 > . 2:2(0) ack 2
        +0 < . 2:2(0) ack 2
    """,
    "reset": _OPENED + "+0 < R. 22:22(0) ack 22",
    "refused": "+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1",
    "unanswered": "+0 > S 0:0(0)\n+1 > S 0:0(0)\n+2 > S 0:0(0)",
    "lost": _OPENED
    + """
        +0 > . 22:32(10) ack 22
        +0 > . 42:52(10) ack 22
        +0 < . 22:22(0) ack 32 <sack 42:52>
        +.2 > . 32:42(10) ack 22
        +0 < . 22:22(0) ack 52
        +0 > . 22:32(10) ack 22
    """,
    "again": _OPENED + "+0 > R 22:22(0)\n+0 > S 90000:90000(0)\n+0 < S. 70000:70000(0) ack 90001",
    "closed window": _OPENED + "+0 < . 22:22(0) ack 22 win 0\n+1 > . 21:22(1) ack 22\n+0 < . 22:22(0) ack 22 win 9",
    "begins in the middle": "+0 > P. 1:5(4) ack 1\n+0 < . 1:1(0) ack 5\n+0 < F. 1:1(0) ack 5",
}


def packet(frame: Frame) -> bytes:
    """The IPv4 packet of a frame, without what Ethernet padded."""
    raw = frame.encode()[14:]
    return raw[: int.from_bytes(raw[2:4], "big")]


def packet6(frame: Frame, *, options: bool) -> bytes:
    """The same TCP segment in IPv6, with hop-by-hop and destination options or without."""
    tcp = packet(frame)[20:]
    more = bytes([60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]) if options else b""
    head = struct.pack(">IHBB", 6 << 28, len(more) + len(tcp), 0 if options else 6, 64)
    addresses = b"".join(bytes([0xFD, *bytes(11)]) + struct.pack(">I", end) for end in (frame.src, frame.dst))
    return head + addresses + more + tcp


def wrapped(frame: Frame) -> dict[str, tuple[int, bytes]]:
    """A segment in everything that a frame may be: link type and bytes."""
    v4, v6 = packet(frame), packet6(frame, options=False)
    tag = b"\x81\0\0\5"
    return {
        "VLAN": (1, bytes(12) + tag + b"\x08\0" + v4),
        "QinQ": (1, bytes(12) + b"\x88\xa8\0\7" + tag + b"\x08\0" + v4),
        "IPv6": (1, bytes(12) + b"\x86\xdd" + packet6(frame, options=True)),
        "SLL": (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0" + v4),
        "SLL2": (276, b"\x86\xdd" + bytes(18) + v6),
        "raw": (101, v4),
        "raw IPv6": (229, v6),
        "null": (0, b"\x02\0\0\0" + v4),
        "loop": (108, b"\0\0\0\x02" + v4),
    }


def pcap(frames: list[bytes], link: int) -> bytes:
    """A pcap file of any link type."""
    records = [struct.pack("<IIII", 1_700_000_000, at, len(raw), len(raw)) + raw for at, raw in enumerate(frames)]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link) + b"".join(records)


def _block(kind: int, body: bytes, order: str) -> bytes:
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def pcapng(frames: list[bytes], order: str = "<", *, link: int = 1) -> bytes:
    """A pcapng file with every kind of packet block, and some blocks that are no packets."""
    resolution = struct.pack(order + "HHB3x", 9, 1, 9) + struct.pack(order + "HHq", 14, 8, 5) + bytes(4)
    blocks = [
        _block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order),
        _block(1, struct.pack(order + "HHI", link, 0, 0), order),
        _block(1, struct.pack(order + "HHI", link, 0, 262_144) + resolution, order),
        _block(4, bytes(8), order),
    ]
    for at, raw in enumerate(frames):
        size = len(raw)
        blocks.append(
            (
                _block(6, struct.pack(order + "IIIII", at & 1, 1, at, size, size) + raw, order),
                _block(2, struct.pack(order + "HHIIII", 0, 0, 1, at, size, size) + raw, order),
                _block(3, struct.pack(order + "I", size) + raw, order),
                _block(5, struct.pack(order + "III", 0, 1, at), order),
            )[min(at % 7, 3)]
        )
    return b"".join(blocks)


def _listings() -> Iterator[tuple[str, bytes]]:
    for path in sorted(DATA.glob("article-*.txt")):
        yield path.stem, path.read_bytes()
    yield "articles", b"".join(path.read_bytes() for path in sorted(DATA.glob("article-*.txt")))
    yield "tcpdump 3", _OLD
    if shutil.which("tcpdump") is None:
        return
    for path in sorted(DATA.glob("*.pcap")):
        for layout in LAYOUTS:
            done = subprocess.run(
                ["tcpdump", "-n", "-c", str(FRAMES), *layout.split(), "-r", str(path)],
                capture_output=True, check=False, timeout=60,
            )  # fmt: skip
            yield f"{path.stem} {layout}", done.stderr + done.stdout


def seeds() -> dict[str, dict[str, bytes]]:
    """Kind → name → bytes; the kinds are "pcap", "pcapng", "gzip" and "listing"."""
    found: dict[str, dict[str, bytes]] = {"pcap": {}, "pcapng": {}, "gzip": {}, "listing": dict(_listings())}
    made: dict[str, list[Frame]] = {}
    for name, script in SCRIPTS.items():
        made[name] = frames_of(parse(script))
        found["pcap"][name] = encode(made[name])
        found["pcapng"][name] = pcapng([frame.encode() for frame in made[name]])
    wraps = frames_of(parse(SCRIPTS["four"], isns=((1 << 32) - 10, (1 << 32) - 1)))
    found["pcap"]["numbers that wrap"] = encode(wraps, order=">")
    found["pcap"]["nanoseconds"] = encode(wraps, nanoseconds=True, snaplen=60)
    others = frames_of(parse(SCRIPTS["lost"], initiator="10.0.0.9:5", responder="10.0.0.8:9"))
    mixed = [frame for pair in zip(made["four"], others, strict=False) for frame in pair]
    found["pcap"]["two conversations"] = encode(mixed)
    for kind in wrapped(wraps[0]):
        link, raws = wrapped(wraps[0])[kind][0], [wrapped(frame)[kind][1] for frame in wraps]
        found["pcap"][kind] = pcap(raws, link)
        found["pcapng"][kind] = pcapng(raws, ">", link=link)
    for path in sorted(DATA.glob("*.pcap")):
        frames = decode(path.read_bytes())
        for name, some in (("begins", frames[:FRAMES]), ("ends", frames[-FRAMES:])):
            found["pcap"][f"{path.stem} {name}"] = encode(some)
            found["pcapng"][f"{path.stem} {name}"] = pcapng([frame.encode() for frame in some])
            found["gzip"][f"{path.stem} {name}"] = gzip.compress(encode(some), mtime=0)
    small = found["pcap"]["three"]
    found["gzip"]["stored"] = gzip.compress(small, 0, mtime=0)
    found["gzip"]["members"] = b"".join(gzip.compress(small[at : at + 99], mtime=0) for at in range(0, len(small), 99))
    found["gzip"]["padded"] = gzip.compress(found["pcapng"]["three"], mtime=0) + bytes(9)
    found["gzip"]["listing"] = gzip.compress(found["listing"]["articles"], mtime=0)
    found["gzip"]["cut"] = gzip.compress(small, mtime=0)[:-20]
    found["gzip"]["empty"] = gzip.compress(b"", mtime=0)
    return found


def seeds_for(target: str) -> dict[str, bytes]:
    """Name → bytes: those of a target's own kind; all for the target that reads all."""
    found = seeds()
    if target in found:
        return found[target]
    return {f"{kind} {name}": data for kind, of_kind in found.items() for name, data in of_kind.items()}
