"""What the whole reader makes of TCP in tunnels, in other link types, and in fragments: what tshark makes of it."""

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet import fragment as scapy_fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from harness.captures.reading import read_capture
from harness.tcp.conversation import conversations

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # or scapy asks the network
INNER = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=22, flags="PA", seq=5, ack=9) / Raw(b"x" * 300)
OUTER = ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=9)
OUTER6 = ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2")
cut: Any = scapy_fragment  # it has no types
FRAMES: dict[str, list[Any]] = {
    "plain": [ETHER / INNER],
    "IP in IP": [OUTER / INNER],
    "GRE": [OUTER / GRE() / INNER],
    "VXLAN": [OUTER / UDP(sport=5000, dport=4789) / VXLAN(vni=5) / ETHER / INNER],
    "VXLAN on a VLAN": [ETHER / Dot1Q(vlan=3) / OUTER[IP] / UDP(dport=4789) / VXLAN(vni=5) / ETHER / INNER],
    "IP in IPv6 behind destination options": [OUTER6 / IPv6ExtHdrDestOpt(nh=4) / INNER],
    "fragments": [ETHER / part for part in cut(INNER, 96)],
    "GRE in fragments": [ETHER / part for part in cut(OUTER[IP] / GRE() / INNER, 96)],
    "UDP": [OUTER / UDP(dport=53) / Raw(b"y" * 20)],
}


def pcap(frames: list[Any], link: int = 1) -> bytes:
    """A capture of these frames."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    raws = [bytes(frame) for frame in frames]
    return out + b"".join(struct.pack("<IIII", at, 0, len(raw), len(raw)) + raw for at, raw in enumerate(raws))


@pytest.mark.parametrize("name", FRAMES)
def test_the_inner_segment_is_read(name: str) -> None:
    """At the frame that holds it, or that completed it; all others are counted."""
    capture = read_capture(pcap(FRAMES[name]), "x")
    if name == "UDP":
        assert (capture.frames, capture.other_frames) == (1, 1)
        return
    (conversation,) = conversations(capture.segments)
    (segment,) = conversation.segments
    assert (segment.frame, capture.other_frames) == (len(FRAMES[name]), len(FRAMES[name]) - 1)
    assert (conversation.initiator, conversation.responder) == ("10.0.0.1:40000", "10.0.0.2:22")
    assert (segment.seq.value, segment.ack.value, segment.len, segment.payload) == (5, 9, 300, b"x" * 300)


def test_all_together_keep_their_order() -> None:
    """Plain segments and wrapped ones in one capture."""
    names = [name for name in FRAMES if name != "UDP"]
    capture = read_capture(pcap([frame for name in names for frame in FRAMES[name]]), "x")
    frames = capture.segments.frame.tolist()
    assert frames == sorted(frames)
    assert len(frames) == len(names)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: no second opinion")
def test_tshark_sees_the_same(tmp_path: Path) -> None:
    """Frame, ports, numbers and length."""
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([frame for frames in FRAMES.values() for frame in frames]))
    fields = ("frame.number", "tcp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.len")
    wanted = [word for name in fields for word in ("-e", name)]
    command = ["tshark", "-r", str(path), "-Y", "tcp", "-T", "fields", *wanted]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = read_capture(path.read_bytes(), "x").segments
    columns = (found.frame, found.sport, found.seq, found.ack, found.length)
    ours = ["\t".join(str(int(column[row])) for column in columns) for row in range(len(found))]
    assert ours == said.splitlines()
