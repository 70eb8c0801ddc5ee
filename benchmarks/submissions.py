"""A class's submissions, made up: honest ones of about 60 packets, wrong ones, broken ones, copies and hostile ones.

Each honest student has a connection of his own: the packets of a recorded run with other ISNs, ports, timestamps and
times. The same seed gives the same files.
"""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
RUNS = {"four-segment": DATA / "four-segment.pcap", "three-segment": DATA / "three-segment.pcap"}
_HEADER, _RECORD, _IP, _TCP = 24, 16, 14, 34  # where things stand in a recorded run: Ethernet, IPv4 without options
_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class Connection:
    """What makes one student's connection another than all others."""

    isns: tuple[int, int]  # of the initiator and the responder
    port: int
    clocks: tuple[int, int]  # added to the timestamps of each end
    start: int  # µs


def seeded(seed: int) -> random.Random:
    """The same numbers again and again."""
    return random.Random(seed)  # noqa: S311 - nothing secret


def a_connection(rng: random.Random) -> Connection:
    """A fresh one."""
    numbers = rng.getrandbits(32), rng.getrandbits(32)
    clocks = rng.getrandbits(32), rng.getrandbits(32)
    return Connection(numbers, rng.randrange(32768, 61000), clocks, rng.randrange(3_600_000_000))


def capture(close: str, connection: Connection, rng: random.Random) -> bytes:
    """A recorded run with the numbers of another connection."""
    octets = bytearray(RUNS[close].read_bytes())
    at, later = _HEADER, connection.start
    shift: tuple[int, int] | None = None
    while at < len(octets):
        seconds, micros, kept, _ = struct.unpack_from("<IIII", octets, at)
        later += rng.randrange(80)
        time = seconds * 1_000_000 + micros + later
        struct.pack_into("<II", octets, at, time // 1_000_000, time % 1_000_000)
        tcp = at + _RECORD + _TCP
        sport, dport, seq, ack = struct.unpack_from(">HHII", octets, tcp)
        forward, flags = dport == 22, octets[tcp + 13]
        if shift is None:  # the SYN; the responder's ISN is told by its own
            shift = (connection.isns[0] - seq, 0)
        elif flags & 2 and not forward:
            shift = (shift[0], connection.isns[1] - seq)
        own, peers = shift if forward else shift[::-1]
        ports = (connection.port, dport) if forward else (sport, connection.port)
        number = (seq + own) % _MODULUS, (ack + peers) % _MODULUS if flags & 16 else 0
        struct.pack_into(">HHII", octets, tcp, *ports, *number)
        ticks = (later - connection.start) // 1000
        _set_clocks(octets, tcp, connection.clocks if forward else connection.clocks[::-1], ticks)
        _set_checksum(octets, at + _RECORD)
        at += _RECORD + kept
    return bytes(octets)


def _set_checksum(octets: bytearray, frame: int) -> None:
    """The TCP checksum (RFC 9293 §3.1) over pseudo-header and segment."""
    ip, tcp = frame + _IP, frame + _TCP
    stop = ip + int.from_bytes(octets[ip + 2 : ip + 4], "big")
    octets[tcp + 16 : tcp + 18] = bytes(2)
    pseudo = octets[ip + 12 : ip + 20] + struct.pack(">HH", 6, stop - tcp)
    covered = pseudo + octets[tcp:stop] + bytes((stop - tcp) % 2)
    total = int.from_bytes(covered, "big") % 0xFFFF
    struct.pack_into(">H", octets, tcp + 16, 0xFFFF - total)


def _set_clocks(octets: bytearray, tcp: int, clocks: tuple[int, int], ticks: int) -> None:
    """Move the timestamps of a segment (RFC 7323 §3)."""
    at, stop = tcp + 20, tcp + (octets[tcp + 12] >> 4) * 4
    while at < stop and octets[at]:
        if octets[at] == 1:
            at += 1
            continue
        if octets[at] == 8:
            value, echo = struct.unpack_from(">II", octets, at + 2)
            echo = (echo + clocks[1] + ticks) % _MODULUS if echo else 0
            struct.pack_into(">II", octets, at + 2, (value + clocks[0] + ticks) % _MODULUS, echo)
        at += octets[at + 1]


def answers(close: str, connection: Connection) -> dict[str, object]:
    """The right answers to the handshake lab's questions, which are known from how the runs were recorded."""
    return {
        "initiator_isn": connection.isns[0],
        "responder_isn": f"{connection.isns[1]:,}",
        "closer": "initiator",
        "kind_of_close": close,
        "relative_seq_of_the_initiators_fin": {"four-segment": 3774, "three-segment": 3694}[close],
        "frame_that_acknowledges_the_first_byte": {"four-segment": 7, "three-segment": 7}[close],
        "window_scale_in_use": 1024,
        "holder_of_time_wait": "initiator",
    }


def answers_yaml(told: dict[str, object]) -> bytes:
    """As a student writes them."""
    return "".join(f"{name}: {value}\n" for name, value in told.items()).encode()


Files = dict[str, bytes]


def honest(rng: random.Random, close: str | None = None) -> Files:
    """What passes: a capture and its answers."""
    close = close or rng.choice(list(RUNS))
    connection = a_connection(rng)
    return {
        "capture.pcap": capture(close, connection, rng),
        "answers.yaml": answers_yaml(answers(close, connection)),
    }


def _frames(data: bytes) -> Iterator[bytes]:
    at = _HEADER
    while at < len(data):
        size = _RECORD + struct.unpack_from("<I", data, at + 8)[0]
        yield data[at : at + size]
        at += size


def _without(data: bytes, *places: int) -> bytes:
    frames = list(_frames(data))
    gone = {place % len(frames) for place in places}
    return data[:_HEADER] + b"".join(frame for place, frame in enumerate(frames) if place not in gone)


def wrong(rng: random.Random) -> Files:
    """What loses points: something is missing, or an answer is wrong."""
    files = honest(rng)
    data = files["capture.pcap"]
    change: Callable[[], Files] = rng.choice(
        [
            lambda: files | {"capture.pcap": _without(data, 0)},
            lambda: files | {"capture.pcap": _without(data, *range(6))},
            lambda: files | {"capture.pcap": _without(data, -1, -2, -3)},
            lambda: files | {"capture.pcap": _without(data, 3)},
            lambda: files | {"answers.yaml": b"closer: responder\ninitiator_isn: 1\n"},
            lambda: {"capture.pcap": data},
        ]
    )
    return change()


def broken(rng: random.Random) -> Files:
    """What can hardly be read, or not at all."""
    files = honest(rng)
    data = files["capture.pcap"]
    change: Callable[[], Files] = rng.choice(
        [
            lambda: files | {"capture.pcap": data[: rng.randrange(len(data))]},
            lambda: files | {"capture.pcap": rng.randbytes(2000)},
            lambda: files | {"capture.pcap": b""},
            lambda: {"answers.yaml": files["answers.yaml"]},
            lambda: files | {"answers.yaml": b"closer: [initiator\n"},
            lambda: files | {"capture.pcap": data[:60] + rng.randbytes(200) + data[260:]},
        ]
    )
    return change()


def zipped(files: Files) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def tarred(files: Files) -> bytes:
    """A tar.gz that does not tell when it was made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue(), mtime=0)


def hand_in(folder: Path, student: str, files: Files, how: str = "folder") -> None:
    """Put a submission into the folder of all: as a folder, a zip, a tar.gz, or its capture alone."""
    if how == "folder":
        for name, content in files.items():
            path = folder / student / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    elif how == "zip":
        (folder / f"{student}.zip").write_bytes(zipped(files))
    elif how == "tar.gz":
        (folder / f"{student}.tar.gz").write_bytes(tarred(files))
    else:
        (folder / f"{student}.pcap").write_bytes(files["capture.pcap"])


def make_class(folder: Path, count: int, seed: int = 1) -> None:
    """Submissions of a class: of ten, seven honest, two wrong, one broken; folders and archives mixed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = seeded(seed)
    for number in range(count):
        kind = {7: wrong, 8: wrong, 9: broken}.get(number % 10, honest)
        how = ("folder", "folder", "zip", "folder", "tar.gz")[number % 5]
        hand_in(folder, f"student{number:06}", kind(rng), how)
