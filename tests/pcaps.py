"""Make and change capture files: real Ethernet frames with real checksums."""

import struct
from dataclasses import dataclass, replace

from harness.tcp.segments import ABSENT, Segments

GOOD_BANNER = b"SSH-2.0-Test_1.0\r\n"


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Frame:
    """One TCP/IPv4 frame, field by field."""

    time: int
    src: int
    dst: int
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes
    ttl: int = 64
    ip_id: int = 0
    tos: int = 0
    ethernet: bytes = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0"
    checksum: int | None = None  # None: the right one

    def encode(self) -> bytes:
        header_words = 5 + len(self.options) // 4
        tcp = struct.pack(
            ">HHIIHHHH",
            self.sport, self.dport, self.seq % 2**32, self.ack % 2**32,
            header_words << 12 | self.flags, self.window, 0, 0,
        ) + self.options + self.payload  # fmt: skip
        pseudo = struct.pack(">IIBBH", self.src, self.dst, 0, 6, len(tcp))
        checksum = _checksum(pseudo + tcp) if self.checksum is None else self.checksum
        tcp = tcp[:16] + struct.pack(">H", checksum) + tcp[18:]
        ip = struct.pack(
            ">BBHHHBBHII", 0x45, self.tos, 20 + len(tcp), self.ip_id, 0x4000, self.ttl, 6, 0, self.src, self.dst
        )
        ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
        frame = self.ethernet + ip + tcp
        return frame + bytes(max(0, 60 - len(frame)))  # Ethernet pads

    def stored_checksum(self) -> int:
        """The checksum that `encode` writes."""
        encoded = self.encode()
        return int.from_bytes(encoded[14 + 20 + 16 : 14 + 20 + 18], "big")


def decode(pcap: bytes) -> list[Frame]:
    """The frames of a little-endian microsecond pcap that holds nothing but TCP/IPv4 over Ethernet."""
    frames, at = [], 24
    while at < len(pcap):
        seconds, micro, kept, _ = struct.unpack_from("<IIII", pcap, at)
        raw = pcap[at + 16 : at + 16 + kept]
        at += 16 + kept
        total = int.from_bytes(raw[16:18], "big")
        ihl = (raw[14] & 15) * 4
        tcp = raw[14 + ihl : 14 + total]
        sport, dport, seq, ack, offset_flags, window, checksum, _ = struct.unpack_from(">HHIIHHHH", tcp)
        header = (offset_flags >> 12) * 4
        src, dst = struct.unpack_from(">II", raw, 26)
        frame = Frame(
            time=(seconds * 10**6 + micro) * 1000,
            src=src,
            dst=dst,
            sport=sport,
            dport=dport,
            seq=seq,
            ack=ack,
            flags=offset_flags & 0x1FF,
            window=window,
            options=tcp[20:header],
            payload=tcp[header:],
            ttl=raw[22],
            ip_id=int.from_bytes(raw[18:20], "big"),
            tos=raw[15],
            ethernet=raw[:14],
        )
        frames.append(frame if frame.stored_checksum() == checksum else replace(frame, checksum=checksum))
    return frames


def encode(frames: list[Frame], *, order: str = "<", nanoseconds: bool = False, snaplen: int = 262144) -> bytes:
    """A pcap file."""
    magic, tick = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)]
    for frame in frames:
        raw = frame.encode()
        seconds, rest = divmod(frame.time, 10**9)
        out.append(struct.pack(order + "IIII", seconds, rest // tick, min(len(raw), snaplen), len(raw)))
        out.append(raw[:snaplen])
    return b"".join(out)


def _option_bytes(segments: Segments, row: int) -> bytes:
    options = b""
    if segments.mss[row] != ABSENT:
        options += struct.pack(">BBH", 2, 4, segments.mss[row])
    if segments.sack_permitted[row]:
        options += b"\x04\x02"
    if segments.tsval[row] != ABSENT:
        options += struct.pack(">BBII", 8, 10, segments.tsval[row], segments.tsecr[row])
    if segments.wscale[row] != ABSENT:
        options += struct.pack(">BBB", 3, 3, segments.wscale[row])
    if segments.sack[row]:
        options += struct.pack(">BBII", 5, 10, 1, 2)
    return options + b"\x01" * (-len(options) % 4)


def frames_of(segments: Segments) -> list[Frame]:
    """Frames for parsed notation; each end's first data is an SSH banner, as far as its length allows."""
    seen: set[int] = set()
    frames = []
    for row in range(len(segments)):
        length, src = int(segments.length[row]), int(segments.src[row])
        payload = bytes(length)
        if length and src not in seen:
            seen.add(src)
            payload = GOOD_BANNER[:length].ljust(length, b"x")
        frames.append(
            Frame(
                time=int(segments.time[row]),
                src=src,
                dst=int(segments.dst[row]),
                sport=int(segments.sport[row]),
                dport=int(segments.dport[row]),
                seq=int(segments.seq[row]),
                ack=int(segments.ack[row]),
                flags=int(segments.flags[row]),
                window=int(segments.window[row]),
                options=_option_bytes(segments, row),
                payload=payload,
                ip_id=row,
            )
        )
    return frames
