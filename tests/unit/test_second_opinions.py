"""Second opinions: tshark on the same captures, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.pcaps import encode, frames_of

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: no second opinion")

HANDSHAKE = "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1\n"
SCRIPTS = {
    "unanswered": "+0 > S 0:0(0)",
    "refused": "+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1",
    "incomplete": "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1",
    "reset before the third step": "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R 1:1(0)",
    "open": HANDSHAKE,
    "data as third step": "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > P. 1:5(4) ack 1",
    "FIN as third step": "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > F. 1:1(0) ack 1",
    "FIN with data": HANDSHAKE + "+0 > F. 1:5(4) ack 1",
    "reset": HANDSHAKE + "+0 > R. 1:1(0) ack 1",
    "four": HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2",
    "data both ways": HANDSHAKE + "+0 > P. 1:5(4) ack 1\n+0 < P. 1:9(8) ack 5\n+0 > . 5:5(0) ack 9",
    "begins in the middle": "+0 > P. 1:5(4) ack 1\n+0 < . 1:1(0) ack 5",
    "begins with the SYN-ACK": "+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1",
    "simultaneous open": "+0 > S 0:0(0)\n+0 < S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < S. 0:0(0) ack 1",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_completeness_is_wiresharks(name: str, tmp_path: Path) -> None:
    """tcp.completeness, after the last segment."""
    capture = encode(frames_of(parse(SCRIPTS[name])))
    (tmp_path / "x.pcap").write_bytes(capture)
    command = [str(TSHARK), "-2", "-r", str(tmp_path / "x.pcap"), "-T", "fields", "-e", "tcp.completeness"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    (conversation,) = conversations(read_capture(capture, "made").segments)
    assert conversation.completeness == int(said[-1])


@pytest.mark.parametrize("isns", [(1000, 5000), (2**32 - 2, 2**32 - 5)])
def test_relative_numbers_are_wiresharks(isns: tuple[int, int], tmp_path: Path) -> None:
    """Relative seq and ack, also where they wrap."""
    capture = encode(frames_of(parse(SCRIPTS["data both ways"], isns=isns)))
    (tmp_path / "x.pcap").write_bytes(capture)
    fields = [word for field in ("tcp.seq", "tcp.nxtseq", "tcp.ack", "tcp.len") for word in ("-e", field)]
    command = [str(TSHARK), "-r", str(tmp_path / "x.pcap"), "-T", "fields", *fields]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    (conversation,) = conversations(read_capture(capture, "made").segments)
    for line, segment in zip(said, conversation.segments, strict=True):
        begin, end, ack = segment.relative
        assert line.split("\t") == [str(begin), str(end), str(ack or 0), str(int(segment.len))]
