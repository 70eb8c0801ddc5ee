"""A grader as one writes it in an hour: one pytest run for each capture, scapy, a handful of asserts."""

import os

import pytest
from scapy.all import IP, TCP, Packet, rdpcap  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def segments() -> list[Packet]:
    """All TCP packets of the capture."""
    return [packet for packet in rdpcap(os.environ["CAPTURE"]) if TCP in packet]


def test_handshake(segments: list[Packet]) -> None:
    """SYN, SYN-ACK, ACK."""
    syn, syn_ack, ack = segments[:3]
    assert (syn[TCP].flags, syn_ack[TCP].flags, ack[TCP].flags) == ("S", "SA", "A")
    assert syn_ack[TCP].ack == syn[TCP].seq + 1
    assert ack[TCP].ack == syn_ack[TCP].seq + 1


def test_contiguous(segments: list[Packet]) -> None:
    """Each segment begins where the one before it ended."""
    following: dict[str, int] = {}
    for packet in segments:
        tcp, source = packet[TCP], packet[IP].src
        length = packet[IP].len - packet[IP].ihl * 4 - tcp.dataofs * 4
        assert following.get(source, tcp.seq) == tcp.seq
        following[source] = (tcp.seq + length + ("S" in tcp.flags) + ("F" in tcp.flags)) % 2**32


def test_close(segments: list[Packet]) -> None:
    """Two FINs, and the last word is an ACK."""
    assert sum("F" in packet[TCP].flags for packet in segments) == 2
    assert segments[-1][TCP].flags == "A"
