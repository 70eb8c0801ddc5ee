"""The array decoder against scapy: the same of every field of every frame that both read.

Frames of all link types that the decoder reads itself, with VLAN tags, IPv4 options, IPv6 extension headers, TCP
options, reserved bits, padding, any lengths, cut anywhere; then the same frames with any bytes changed.
"""

import random
import struct
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from harness.captures.reading import read_capture
from harness.tcp.segments import ABSENT, Segments, address_text

LINKS = (0, 1, 12, 14, 101, 108, 113, 228, 229, 276)
FAMILIES = {4: (2,), 6: (10, 24, 28, 30)}
ETHERTYPES = {4: 0x0800, 6: 0x86DD}


@dataclass(frozen=True)
class Made:
    """A frame: its link type, its bytes, and where its TCP header's options end."""

    link: int
    raw: bytes
    options_end: int

    def cut(self, kept: int) -> "Made":
        return Made(self.link, self.raw[:kept], self.options_end)


# Frames


def _number(rng: random.Random, bits: int) -> int:
    """Any number, often at the borders."""
    border = 0, 1, 1 << bits - 1, (1 << bits) - 1
    return rng.choice((*border, *(rng.getrandbits(bits) for _ in border)))


def _options(rng: random.Random) -> bytes:
    """TCP options of any kinds in any order."""
    options = b""
    for _ in range(rng.randrange(7)):
        kind = rng.choice([1, 2, 3, 4, 5, 8, 6, 9, 11, 30, 34, 69, 200, 253, 254])
        sizes = {1: 1, 2: 4, 3: 3, 4: 2, 5: 2 + 8 * rng.randrange(1, 5), 8: 10}
        size = sizes.get(kind, rng.randrange(2, 14))
        value = b"".join(_number(rng, 8).to_bytes(1, "big") for _ in range(size - 2))
        option = b"\1" if kind == 1 else bytes([kind, size]) + value
        options += option if len(options) + len(option) <= 40 else b""
    return options + rng.choice([b"\0", b"\1"]) * (-len(options) % 4)


def _tcp(rng: random.Random) -> tuple[bytes, bytes]:
    """Header and payload; the header with any of its three reserved bits and nine flags."""
    options = _options(rng)
    bits = 5 + len(options) // 4 << 12 | rng.getrandbits(12)
    ports = rng.getrandbits(16), rng.getrandbits(16)
    numbers = _number(rng, 32), _number(rng, 32)
    rest = _number(rng, 16), rng.getrandbits(16), rng.getrandbits(16)
    return struct.pack(">HHIIHHHH", *ports, *numbers, bits, *rest) + options, rng.randbytes(rng.randrange(60))


def _extension(rng: random.Random) -> tuple[int, bytes]:
    """Number and bytes of an extension header; the first byte, the next header's number, is filled in later."""
    kind = rng.choice([0, 43, 44, 51, 60])
    if kind == 43:
        addresses = rng.randrange(3)
        return kind, bytes([0, 2 * addresses, 0, addresses]) + bytes(4) + rng.randbytes(16 * addresses)
    if kind == 44:  # one that is all of its datagram
        return kind, bytes([0, rng.getrandbits(8), 0, rng.choice([0, 6])]) + rng.randbytes(4)  # and reserved bits
    if kind == 51:
        words = rng.randrange(1, 5)
        return kind, bytes([0, 1 + words, 0, 0]) + rng.randbytes(8 + 4 * words)
    units = rng.randrange(3)
    return kind, bytes([0, units, 1, 8 * units + 4]) + bytes(8 * units + 4)


def _ip(rng: random.Random, version: int) -> tuple[bytes, int]:
    """A packet, and where its TCP header ends."""
    tcp, payload = _tcp(rng)
    if version == 4:
        options = rng.randbytes(4 * rng.choice([0, 0, 0, 1, 2, 10]))
        size = 20 + len(options)
        total = 0 if rng.random() < 0.1 else size + len(tcp) + len(payload)
        header = struct.pack(">BBHH", 0x40 + size // 4, rng.getrandbits(8), total, _number(rng, 16))
        header += struct.pack(">HBBH", rng.choice([0, 0x4000, 0x8000]), rng.getrandbits(8), 6, rng.getrandbits(16))
        return header + rng.randbytes(8) + options + tcp + payload, size + len(tcp)
    headers = [_extension(rng) for _ in range(rng.choice([0, 0, 0, 1, 2, 4]))]
    kinds = [*(kind for kind, _ in headers), 6]
    chain = b"".join(bytes([after]) + raw[1:] for (_, raw), after in zip(headers, kinds[1:], strict=True))
    size = len(chain) + len(tcp) + len(payload)
    header = struct.pack(">IHBB", 6 << 28 | rng.getrandbits(28), size, kinds[0], rng.getrandbits(8))
    return header + rng.randbytes(32) + chain + tcp + payload, 40 + len(chain) + len(tcp)


def _frame(seed: int) -> Made:
    rng = random.Random(seed)  # noqa: S311 - a seed to repeat it by
    link = rng.choice(LINKS)
    version = {228: 4, 229: 6}.get(link) or rng.choice([4, 6])
    packet, end = _ip(rng, version)
    ethertype = struct.pack(">H", ETHERTYPES[version])
    header = b""
    if link == 1:
        tags = [rng.choice([b"\x81\0", b"\x88\xa8", b"\x91\0"]) for _ in range(rng.choice([0, 0, 1, 2, 4]))]
        header = rng.randbytes(12) + b"".join(tag + rng.randbytes(2) for tag in tags) + ethertype
    elif link in {0, 108}:
        header = struct.pack(rng.choice("<>") + "I" if link == 0 else ">I", rng.choice(FAMILIES[version]))
    elif link == 113:
        header = rng.randbytes(14) + ethertype
    elif link == 276:
        header = ethertype + rng.randbytes(18)
    without_length = version == 4 and packet[2:4] == b"\0\0"  # what is there is the packet
    return Made(
        link, header + packet + rng.randbytes(0 if without_length else rng.choice([0, 2, 6, 20])), len(header) + end
    )


_frames = st.integers(0, 2**32 - 1).map(_frame)


def _pcapng(frames: list[Made]) -> bytes:
    """A file with an interface for each link type."""

    def block(kind: int, body: bytes) -> bytes:
        size = 12 + len(body) + -len(body) % 4
        return struct.pack("<II", kind, size) + body + bytes(-len(body) % 4) + struct.pack("<I", size)

    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += b"".join(block(1, struct.pack("<HHI", link, 0, 0)) for link in LINKS)
    return out + b"".join(
        block(6, struct.pack("<IIIII", LINKS.index(made.link), 0, row, len(made.raw), len(made.raw)) + made.raw)
        for row, made in enumerate(frames)
    )


# scapy's reading


@cache
def _scapy() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers import inet, inet6, ipsec, l2

    names = {
        l2: ["CookedLinux", "CookedLinuxV2", "Dot1Q", "Ether", "Loopback"],
        inet: ["IP", "TCP"],
        inet6: ["IPv6", "IPv6ExtHdrDestOpt", "IPv6ExtHdrFragment", "IPv6ExtHdrHopByHop", "IPv6ExtHdrRouting"],
        ipsec: ["AH"],
    }
    return {name: getattr(module, name) for module, wanted in names.items() for name in wanted}


_TOLD = {
    0: "IPv6ExtHdrHopByHop",
    6: "TCP",
    43: "IPv6ExtHdrRouting",
    44: "IPv6ExtHdrFragment",
    51: "AH",
    60: "IPv6ExtHdrDestOpt",
    0x0800: "IP",
    0x8100: "Dot1Q",
    0x86DD: "IPv6",
    0x88A8: "Dot1Q",
    0x9100: "Dot1Q",
}


def _layers(made: Made) -> list[Any]:
    """A frame's layers; where scapy does not know what follows, as behind AH, it is told."""
    s = _scapy()
    raw = made.raw[4:] if made.link in {0, 108} else made.raw
    first = {1: s["Ether"], 113: s["CookedLinux"], 276: s["CookedLinuxV2"]}.get(made.link)
    packet: Any = (first or (s["IP"] if raw[:1] < b"\x50" else s["IPv6"]))(raw)
    found: list[Any] = []
    while packet.name != "NoPayload":
        if found and (type(found[-1]) is s["AH"] or packet.name == "Raw"):
            after = getattr(found[-1], "nh", -1), getattr(found[-1], "type", -1)
            named = next((_TOLD[number] for number in after if number in _TOLD), None)
            if named is None:
                break
            packet = s[named](packet.original)
        found.append(packet)
        packet = packet.payload
    return found


def _by_scapy(made: Made) -> dict[str, Any] | None:
    """What scapy reads in a frame whose first IP packet holds a TCP header; None where there is none."""
    s = _scapy()
    try:
        found = _layers(made)
    except (struct.error, IndexError):  # a link layer cut short
        return None
    kinds = [type(layer).__name__ for layer in found]
    first = next((place for place, kind in enumerate(kinds) if kind in {"IP", "IPv6"}), len(kinds))
    last = next((place for place, kind in enumerate(kinds) if kind == "TCP"), 0)
    between = kinds[first + 1 : last]
    if last <= first or any(not kind.startswith(("IPv6ExtHdr", "AH")) for kind in between):
        return None
    ip, tcp = found[first], found[last]
    if len(tcp.original) < 20:
        return None
    total = ip.len if type(ip) is s["IP"] else ip.plen and ip.plen + 40
    total = total or len(ip.original)
    before = min(total, len(ip.original)) - len(tcp.original)
    named = dict(tcp.options)
    timestamps = named.get("Timestamp")
    timestamps = timestamps if isinstance(timestamps, tuple) else (ABSENT, ABSENT)
    return {
        "src": ip.src,
        "dst": ip.dst,
        "sport": tcp.sport,
        "dport": tcp.dport,
        "seq": tcp.seq,
        "ack": tcp.ack,
        "flags": int(tcp.flags),
        "window": tcp.window,
        "length": total - before - tcp.dataofs * 4,
        "mss": named.get("MSS", ABSENT),
        "wscale": named.get("WScale", ABSENT),
        "sack_permitted": "SAckOK" in named,
        "sack": "SAck" in named,
        "tsval": timestamps[0],
        "tsecr": timestamps[1],
        "ip_id": ip.id if type(ip) is s["IP"] else ABSENT,
        "payload": tcp.original[tcp.dataofs * 4 :],
    }


def _by_arrays(segments: Segments, row: int) -> dict[str, Any]:
    names = "sport dport seq ack flags window length mss wscale sack_permitted sack tsval tsecr ip_id"
    found: dict[str, Any] = {name: getattr(segments, name)[row].item() for name in names.split()}
    found["src"], found["dst"] = (address_text(int(keys[row]), segments.ipv6) for keys in (segments.src, segments.dst))
    found["payload"] = segments.payload(row)
    return found


# The tests


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(_frames, min_size=1, max_size=8))
def test_whole_frames(frames: list[Made]) -> None:
    """Both read all of them, and the same."""
    capture = read_capture(_pcapng(frames), "made")
    assert (capture.frames, capture.other_frames, capture.damage) == (len(frames), 0, None)
    assert capture.segments.frame.tolist() == list(range(1, len(frames) + 1))
    for row, made in enumerate(frames):
        assert _by_arrays(capture.segments, row) == _by_scapy(made)


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.tuples(_frames, st.integers(0, 80)), min_size=1, max_size=8))
def test_cut_frames(frames: list[tuple[Made, int]]) -> None:
    """Cut behind the TCP options: the same still; the payload's length is what it was, its bytes what there is."""
    whole = read_capture(_pcapng([made for made, _ in frames]), "made").segments
    cut = [made.cut(made.options_end + kept) for made, kept in frames]
    found = read_capture(_pcapng(cut), "made").segments
    assert found.frame.tolist() == whole.frame.tolist()
    for row, made in enumerate(cut):
        read = _by_arrays(found, row)
        assert read == _by_scapy(made)
        assert read["payload"] == (whole.payload(row) or b"")[: len(read["payload"])]


_SIZES = {2: 4, 3: 3, 4: 2, 8: 10}


def _sound(options: bytes) -> bool:
    """Whether TCP options can be read in one way only: whole, of their sizes, each kind once."""
    seen = set()
    while options and options[0]:
        if options[0] == 1:
            options = options[1:]
            continue
        if len(options) < 2 or not 2 <= options[1] <= len(options) or options[0] in seen:
            return False
        if options[1] != _SIZES.get(options[0], options[1]):
            return False
        seen.add(options[0])
        options = options[options[1] :]
    return True


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(
        st.tuples(
            _frames, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=5), st.integers(1, 300)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_changed_frames(frames: list[tuple[Made, list[tuple[int, int]], int]]) -> None:
    """With any bytes changed, cut anywhere: of what both read, the same."""
    changed = []
    for made, changes, kept in frames:
        raw = bytearray(made.raw)
        for at, value in changes:
            raw[at % len(raw)] = value
        changed.append(Made(made.link, bytes(raw[:kept]), 0))
    found = read_capture(_pcapng(changed), "made").segments
    rows = {number - 1: row for row, number in enumerate(found.frame.tolist())}
    for index, made in enumerate(changed):
        by_scapy = _by_scapy(made)
        if by_scapy is None or index not in rows:
            event("not read by both")
            continue
        read = _by_arrays(found, rows[index])
        tcp = next(layer for layer in _layers(made) if type(layer) is _scapy()["TCP"])
        if not _sound(tcp.original[20 : tcp.dataofs * 4]) or len(tcp.original) < tcp.dataofs * 4:
            event("options that can be read in several ways")
            for name in ("mss", "wscale", "sack_permitted", "sack", "tsval", "tsecr"):
                del read[name], by_scapy[name]
        event("read by both")
        assert read == by_scapy
