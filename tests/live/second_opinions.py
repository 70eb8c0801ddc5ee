"""What tshark and tcptrace say of a capture."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness.tcp.wireshark import NAMES


class Frame(NamedTuple):
    """What tshark says of one frame: its stream, and its notes."""

    stream: int
    notes: frozenset[str]


def tshark(capture: Path) -> dict[int, Frame]:
    """tshark's notes, by frame."""
    fields = [word for name in NAMES for word in ("-e", f"tcp.analysis.{name}")]
    command = ["tshark", "-r", str(capture), "-T", "fields", "-e", "frame.number", "-e", "tcp.stream", *fields]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = [line.split("\t") for line in said.splitlines()]
    return {
        int(frame): Frame(int(stream), frozenset(name for name, there in zip(NAMES, row, strict=True) if there))
        for frame, stream, *row in rows
        if stream
    }


class Connection(NamedTuple):
    """What tcptrace -l says of one connection; pairs are (a's, b's)."""

    ends: tuple[str, str]
    complete: bool
    packets: tuple[int, int]
    resets: tuple[int, int]
    syns: tuple[int, int]
    fins: tuple[int, int]
    resent: tuple[int, int]


def tcptrace(capture: Path) -> list[Connection]:
    """tcptrace's long output."""
    command = ["tcptrace", "-n", "-l", str(capture)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [_connection(part) for part in re.split(r"(?m)^=+$", said.partition("TCP connection info:")[2])]


def _connection(text: str) -> Connection:
    def pair(label: str) -> tuple[int, int]:
        found = re.search(rf"{label}:\s+(\d+)\s+{label}:\s+(\d+)", text)
        assert found, (label, text)
        return int(found[1]), int(found[2])

    ends = re.findall(r"host \w+:\s+(\S+)", text)
    opened = re.search(r"SYN/FIN pkts sent:\s+(\d+)/(\d+)\s+SYN/FIN pkts sent:\s+(\d+)/(\d+)", text)
    assert opened, text
    return Connection(
        ends=(ends[0], ends[1]),
        complete="complete conn: yes" in text,
        packets=pair("total packets"),
        resets=pair("resets sent") if "resets sent" in text else (0, 0),
        syns=(int(opened[1]), int(opened[3])),
        fins=(int(opened[2]), int(opened[4])),
        resent=pair("rexmt data pkts"),
    )
