"""What tcpdump prints of a capture, with all its switches and on all links, says what the capture says."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import product

import numpy as np
import pytest

from harness.captures.capture import Capture
from harness.captures.reading import read_capture
from harness.captures.text import read_listing
from harness.tcp.flags import ACK, FIN, PSH, RST, SYN
from harness.tcp.segments import ABSENT, COLUMNS, address_text
from tests.pcaps import Frame

CLIENT, SERVER = 0xC0A8013F, 0xC0A80140
CLIENT6, SERVER6 = IPv6Address("fe80::a").packed, IPv6Address("2001:db8::64").packed
IPV4, IPV6 = 0x0800, 0x86DD
BEGAN = 1_700_000_000_123_456_000  # 2023-11-14 22:13:20 UTC

MSS, SACK_PERMITTED, SCALE, NOP = b"\x02\x04\x05\xb4", b"\x04\x02", b"\x03\x03\x07", b"\x01"


def timestamps(value: int, echo: int) -> bytes:
    return struct.pack(">BBII", 8, 10, value, echo)


def sack(*edges: int) -> bytes:
    return struct.pack(f">BB{len(edges)}I", 5, 2 + 4 * len(edges), *(edge % 2**32 for edge in edges))


@dataclass(frozen=True)
class Sent:
    """One TCP segment, from the client or to it."""

    up: bool
    flags: int
    seq: int
    ack: int = 0
    options: bytes = b""
    payload: bytes = b""
    window: int = 229

    def tcp(self, port: int) -> Frame:
        ends = (CLIENT, SERVER, port, 22) if self.up else (SERVER, CLIENT, 22, port)
        return Frame(0, *ends, self.seq, self.ack, self.flags, self.window, self.options, self.payload, ip_id=4711)

    def ipv4(self, port: int) -> tuple[int, bytes]:
        return IPV4, self.tcp(port).encode()[14 : 54 + len(self.options) + len(self.payload)]

    def ipv6(self, port: int, *headers: tuple[int, bytes]) -> tuple[int, bytes]:
        """Inside IPv6, behind extension headers: (their protocol number, what follows their next-header field)."""
        kinds = [*(kind for kind, _ in headers), 6]
        chain = b"".join(bytes([after]) + rest for after, (_, rest) in zip(kinds[1:], headers, strict=True))
        chain += self.ipv4(port)[1][20:]
        src, dst = (CLIENT6, SERVER6) if self.up else (SERVER6, CLIENT6)
        return IPV6, struct.pack(">IHBB", 6 << 28 | 0x12345, len(chain), kinds[0], 64) + src + dst + chain


def conversation(ours: int, theirs: int) -> list[Sent]:
    """Handshake, data both ways, a loss, both FINs; then a second connection is refused."""
    a, b = ours + 1, theirs + 1
    clock = NOP + NOP + timestamps(4294967295, 7)
    return [
        Sent(True, SYN, ours, 0, MSS + SACK_PERMITTED + timestamps(5, 0) + NOP + SCALE),
        Sent(False, SYN | ACK, theirs, a, MSS + SACK_PERMITTED + timestamps(6, 5) + NOP + SCALE),
        Sent(True, ACK, a, b, clock),
        Sent(True, PSH | ACK, a, b, clock, b"SSH-2.0-Test_1.0\r\n"),
        Sent(False, ACK, b, a + 18, clock),
        Sent(False, PSH | ACK, b + 100, a + 18, clock, b"x" * 100),
        Sent(True, ACK, a + 18, b, clock + NOP + NOP + sack(b + 100, b + 200)),
        Sent(False, PSH | ACK, b, a + 18, clock, b"y" * 100),
        Sent(True, ACK, a + 18, b + 200, clock + NOP + NOP + sack(b, b + 100, b + 300, b + 400)),
        Sent(True, FIN | ACK, a + 18, b + 200, clock),
        Sent(False, FIN | PSH | ACK, b + 200, a + 19, clock, b"z"),
        Sent(True, RST, a + 19, 0, window=0),
        Sent(True, SYN | 0xC0, ours + 77_000_000, 0, MSS + b"\x22\x02" + NOP + NOP),
        Sent(False, RST | ACK, 0, ours + 77_000_001, window=0),
        Sent(True, 0, 1, 0),
        Sent(True, PSH | ACK | 0x20, a, b, b"\xfe\x04\xf9\x89", b"?"),
    ]


UDP = bytes.fromhex("4500001c000000004011b6d1c0a8013fc0a8014000350035000833aa")
ECHO = struct.pack(">IHBB", 6 << 28, 8, 58, 255) + CLIENT6 + SERVER6 + bytes([128, 0, 0, 0, 0, 1, 0, 1])
HOP_BY_HOP = (0, b"\x00\x05\x02\x00\x00\x00\x00")
DESTINATION = (60, b"\x00\x01\x04\x00\x00\x00\x00")
ATOMIC_FRAGMENT = (44, b"\x00\x00\x00\x00\x00\x00\x09")
AUTHENTICATION = (51, b"\x04\x00\x00" + bytes(20))


def packets() -> list[tuple[int, bytes]]:
    four = [sent.ipv4(40000) for sent in conversation(4294967290, 3000000000)]
    six = [sent.ipv6(40001) for sent in conversation(481914174, 4294967200)]
    headers = ((HOP_BY_HOP,), (DESTINATION,), (ATOMIC_FRAGMENT,), (AUTHENTICATION,), (HOP_BY_HOP, DESTINATION))
    data = Sent(True, ACK, 481914193, 105, NOP + NOP + timestamps(1, 2), b"more")
    behind = [data.ipv6(40001, *chain) for chain in headers]
    mixed = [packet for pair in zip(four, six, strict=True) for packet in pair]
    return [*mixed[:6], (IPV4, UDP), *mixed[6:], (IPV6, ECHO), *behind]


_MAC, _TO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
LINKS: dict[str, tuple[int, Callable[[int, bytes], bytes]]] = {
    "ethernet": (1, lambda kind, packet: struct.pack(">6s6sH", _TO, _MAC, kind) + packet),
    "vlan": (1, lambda kind, packet: struct.pack(">6s6sHHH", _TO, _MAC, 0x8100, 5, kind) + packet),
    "qinq": (1, lambda kind, packet: struct.pack(">6s6sHHHHH", _TO, _MAC, 0x88A8, 5, 0x8100, 7, kind) + packet),
    "cooked": (113, lambda kind, packet: struct.pack(">HHH6sHH", 4, 1, 6, _MAC, 0, kind) + packet),
    "any": (276, lambda kind, packet: struct.pack(">HHIHBB6sH", kind, 0, 1, 1, 0, 6, _MAC, 0) + packet),
    "loopback": (108, lambda kind, packet: struct.pack(">I", 2 if kind == IPV4 else 30) + packet),
    "raw": (101, lambda _, packet: packet),
}


def pcap(link: str, found: list[tuple[int, bytes]], *, snaplen: int = 262144, tick: int = 1000) -> bytes:
    """A capture file, a packet each 12.345678 ms; *tick*: nanoseconds that its clock can tell apart."""
    number, wrapped = LINKS[link]
    magic = {1000: 0xA1B2C3D4, 1: 0xA1B23C4D}[tick]
    out = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, number)
    for place, packet in enumerate(found):
        seconds, rest = divmod(BEGAN + 12_345_678 * place, 10**9)
        frame = wrapped(*packet)
        out += struct.pack("<IIII", seconds, rest // tick, min(len(frame), snaplen), len(frame)) + frame[:snaplen]
    return out


def printed(data: bytes, *switches: str) -> bytes:
    """What tcpdump prints of a capture."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    done = subprocess.run(
        ["tcpdump", "-n", *switches, "-r", "-"],
        input=data,
        capture_output=True,
        check=False,
        env={"TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    if done.returncode:
        pytest.skip(f"tcpdump cannot: {done.stderr[:200]!r}")
    return done.stderr + done.stdout


def agree(got: Capture, wanted: Capture, *, verbose: int = 0) -> None:
    """All that a listing can show is as in the capture."""
    assert (got.frames, got.other_frames, got.damage) == (wanted.frames, wanted.other_frames, None)
    one, two = got.segments, wanted.segments
    for name in COLUMNS:
        if name not in {"time", "src", "dst", "seq", "seq_shown", "ack", "ip_id"}:
            assert getattr(one, name).tolist() == getattr(two, name).tolist(), name
    for name in ("src", "dst"):
        ends = [[address_text(int(key), s.ipv6) for key in getattr(s, name)] for s in (one, two)]
        assert ends[0] == ends[1], name
    acks = two.flags & ACK != 0
    assert one.ack[acks].tolist() == two.ack[acks].tolist()
    spoken = (two.length > 0) | (two.flags & (SYN | FIN | RST) != 0) | (verbose > 1)
    assert one.seq_shown.tolist() == spoken.tolist()
    assert one.seq[spoken].tolist() == two.seq[spoken].tolist()
    assert one.ip_id.tolist() == (two.ip_id if verbose else np.full(len(two), ABSENT)).tolist()
    assert [one.sack_blocks(row) for row in range(len(one))] == [two.sack_blocks(row) for row in range(len(two))]


TIMES = ("", "-t", "-tt", "-ttt", "-tttt", "-ttttt")
LAYOUTS = ("", "-e", "-x", "-e -X -#", "-A", "-e -xx", "-#")


@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("numbers", ["", "-S"])
@pytest.mark.parametrize("times", TIMES)
def test_every_switch_on_every_link(times: str, numbers: str, verbose: int) -> None:
    case = list(product(TIMES, ("", "-S"), (0, 1, 2))).index((times, numbers, verbose))
    for place, link in enumerate(LINKS):
        data = pcap(link, packets())
        switches = f"{times} {numbers} {'-v ' * verbose} {LAYOUTS[(case + place) % len(LAYOUTS)]}".split()
        got, wanted = read_listing(printed(data, *switches), link), read_capture(data, link)
        agree(got, wanted, verbose=verbose)
        moments = wanted.segments.time
        if times == "-t":
            assert not got.segments.time.any()
        elif times in {"-tt", "-tttt"}:
            assert got.segments.time.tolist() == moments.tolist()
        else:
            assert (got.segments.time - got.segments.time[0]).tolist() == (moments - moments[0]).tolist(), switches


def test_the_captures_hold_what_is_compared() -> None:
    """The comparison is of something: both families, every option, wrapping numbers, other frames."""
    capture = read_capture(pcap("ethernet", packets()), "x")
    s = capture.segments
    assert (capture.frames, capture.other_frames, len(s.ipv6)) == (39, 2, 2)
    assert s.sack.sum() == 4
    assert s.fast_open.sum() == 4
    assert {int(f) for f in s.flags} >= {0, SYN, SYN | ACK, RST, RST | ACK, SYN | 0xC0, PSH | ACK | 0x20}
    assert s.seq.max() > 2**32 - 100
    assert (s.seq[s.length > 0] < 100).any()


def test_nanoseconds() -> None:
    data = pcap("ethernet", packets(), tick=1)
    for times in ("", "-tt", "-tttt"):
        got = read_listing(printed(data, "--nano", *times.split()), "x")
        moments = read_capture(data, "x").segments.time
        assert (got.segments.time - got.segments.time[0]).tolist() == (moments - moments[0]).tolist()


@pytest.mark.parametrize("snaplen", [58, 60, 64, 68, 70, 75, 80, 90])
@pytest.mark.parametrize("numbers", ["", "-S"])
def test_a_snapshot_too_short_for_the_options(snaplen: int, numbers: str) -> None:
    """tcpdump stops within the options and prints no length: it is where the payload ends, which it has printed."""
    data = pcap("ethernet", packets(), snaplen=snaplen)
    got, wanted = read_listing(printed(data, *numbers.split()), "x"), read_capture(data, "x")
    assert (got.frames, got.damage) == (wanted.frames, None)
    rows = {int(frame): row for row, frame in enumerate(wanted.segments.frame)}
    assert len(got.segments) > 10
    for row, frame in enumerate(got.segments.frame):
        for name in ("seq", "length", "window", "flags", "mss", "wscale", "sack_permitted", "sack", "tsval"):
            if name != "seq" or got.segments.seq_shown[row]:
                told, held = (
                    getattr(s, name)[r] for s, r in ((got.segments, row), (wanted.segments, rows[int(frame)]))
                )
                assert told == held, (int(frame), name)


def test_options_that_are_no_options() -> None:
    odd = [b"\x08\x0b" + bytes(6), MSS + b"\x03\x07\x07\x01", SACK_PERMITTED + b"\x02\x02", b"\x1e\x04\0\0" + MSS]
    sent = [Sent(True, SYN, 1000 + place, 0, options).ipv4(40000 + place) for place, options in enumerate(odd)]
    data = pcap("ethernet", sent)
    got, wanted = read_listing(printed(data), "x"), read_capture(data, "x")
    assert (got.frames, got.other_frames, got.damage) == (4, 0, None)
    for name in ("seq", "length", "window", "flags", "mss", "sack_permitted"):
        assert getattr(got.segments, name).tolist()[:3] == getattr(wanted.segments, name).tolist()[:3], name


def test_headers_that_do_not_fit_are_other_packets() -> None:
    """A data offset below 5 words or beyond the packet: no segment for either reader, and no damage."""
    packet = bytearray(Sent(True, SYN, 1).ipv4(40000)[1])
    found = []
    for words in (3, 15):
        packet[32] = words << 4
        found.append((IPV4, bytes(packet)))
    data = pcap("ethernet", [*found, Sent(True, SYN, 1).ipv4(40000)])
    for switches in ("", "-v", "-e"):
        got, wanted = read_listing(printed(data, *switches.split()), "x"), read_capture(data, "x")
        assert (got.frames, got.other_frames, got.damage) == (wanted.frames, wanted.other_frames, None) == (3, 2, None)


def test_a_first_fragment_is_no_whole_segment() -> None:
    """With -v, a packet's line says that there is more of it."""
    packet = bytearray(Sent(True, ACK, 1, 2, payload=b"x" * 24).ipv4(40000)[1])
    packet[6:8] = b"\x20\x00"
    data = pcap("ethernet", [(IPV4, bytes(packet)), Sent(True, SYN, 1).ipv4(40000)])
    got = read_listing(printed(data, "-v"), "x")
    assert (got.frames, got.other_frames, got.damage) == (2, 1, None)
