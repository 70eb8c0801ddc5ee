"""What harness.captures.wrapped promises: the TCP packet inside any tunnel and link layer; and what tshark says."""

import random
import shutil
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.captures.reading import read_capture
from harness.captures.wrapped import _LINKS, _READERS, candidates, inner_packet, may_wrap

TSHARK = shutil.which("tshark")
# tshark 4.0 does not read these, or not with its default preferences.
UNSEEN = {
    "VXLAN on Linux's old port",
    "GRE with a VLAN tag",
    "GRE with PPPoE",
    "ERSPAN III with IP",
    "HDLC behind a direction",
    "frame relay behind a direction",
    "pppd's direction",
    "SLIP",
    "nflog, big-endian",  # it goes by the file's byte order
}
SNAP = b"\xaa\xaa\x03\0\0\0\x08\0"
MAC, PEER = "00:0c:29:00:00:01", "00:0c:29:00:00:02"  # of a known vendor: tshark guesses by it what MPLS holds
M = b"\x00\x0c\x29\0\0\1"


@cache
def layers() -> Any:
    """scapy's classes by name, all that build the frames here."""
    from types import SimpleNamespace

    from scapy.contrib import chdlc, erspan, geneve, gtp, mpls
    from scapy.layers import dot11, inet, inet6, l2, l2tp, ppp, vxlan
    from scapy.packet import Raw

    named: dict[str, Any] = {"Raw": Raw}
    for module in (chdlc, erspan, geneve, gtp, mpls, dot11, inet, inet6, l2, l2tp, ppp, vxlan):
        named |= {name: value for name, value in vars(module).items() if name[0].isupper()}
    return SimpleNamespace(**named)


def tcp(payload: bytes = b"SSH-2.0-x\r\n") -> Any:
    return layers().TCP(sport=40000, dport=22, seq=7, ack=9, flags="PA", options=[("MSS", 1460)]) / payload


def v4(**fields: Any) -> Any:
    return layers().IP(src="192.168.1.63", dst="192.168.1.64", id=5, **fields) / tcp()


def v6(*headers: Any) -> Any:
    packet = layers().IPv6(src="fd00::63", dst="fd00::64")
    for header in headers:
        packet /= header
    return packet / tcp()


def outer(**fields: Any) -> Any:
    return layers().IP(src="10.0.0.1", dst="10.0.0.2", id=99, **fields)


def outer6(**fields: Any) -> Any:
    return layers().IPv6(src="fd01::1", dst="fd01::2", **fields)


def ether(**fields: Any) -> Any:
    return layers().Ether(src=MAC, dst=PEER, **fields)


def udp(port: int) -> Any:
    return layers().UDP(sport=50000, dport=port)


def authentication(kind: int) -> bytes:
    """An authentication header (RFC 4302 §2) with a 96-bit check value."""
    return struct.pack(">BBHII", kind, 4, 0, 7, 1) + b"\xaa" * 12


def data_frame(body: bytes, *, qos: bool = False, **fields: Any) -> Any:
    """An 802.11 data frame."""
    s = layers()
    frame = s.Dot11(type=2, subtype=8 * qos, addr1=MAC, addr2=PEER, addr3=MAC, **fields)
    return frame / s.Raw(b"\0\0" * qos + body)


@cache
def wrapped() -> dict[str, tuple[int, bytes, bytes]]:
    """Name → link type, frame, the packet in it."""
    s, four, six = layers(), v4(), v6()
    p, q = bytes(four), bytes(six)
    snap = s.LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / s.SNAP()
    mpls = s.MPLS(s=1, label=100)
    dot3 = s.Dot3(src=MAC, dst=PEER)
    gtp = {"gtp_type": 255, "teid": 5}
    vxlan = s.VXLAN(flags=8, vni=5)
    session, ppp = s.PPPoE(sessionid=3), s.PPP()
    llc = SNAP + p
    amsdu = M + M + struct.pack(">H", len(llc)) + llc
    pktap = struct.pack("<III", 108, 1, 1) + bytes(96) + bytes(ether() / four)
    nflog = struct.pack("<HH4s", 8, 1, b"\x08\0\1\0") + struct.pack("<HH", 7, 10) + b"ab\0\0"
    nflog_big = struct.pack(">HH4s", 8, 1, b"\x08\0\1\0") + struct.pack(">HH", 4 + len(p), 9) + p
    ethernet: dict[str, tuple[Any, bytes]] = {
        "nothing": (four, p),
        "VLAN": (s.Dot1Q(vlan=5) / four, p),
        "LLC, SNAP": (dot3 / snap / four, p),
        "LLC, SNAP, IPv6": (dot3 / snap / six, q),
        "LLC, SNAP, padded": (bytes(dot3 / snap / four) + bytes(9), p),
        "LLC, SNAP of RFC 1042 bridges": (dot3 / s.LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / s.SNAP(OUI=0xF8) / four, p),
        "LLC, IP": (dot3 / s.LLC(dsap=6, ssap=6, ctrl=3) / four, p),
        "LLC, NLPID": (dot3 / s.LLC(dsap=0xFE, ssap=0xFE, ctrl=3) / s.Raw(b"\xcc") / four, p),
        "VLAN, LLC, SNAP": (s.Dot1Q(vlan=5, type=len(llc)) / snap / four, p),
        "802.1ah": (s.Dot1AD(vlan=3) / s.Dot1AH(isid=5) / ether() / s.Dot1Q() / four, p),
        "802.1ah without a tag": (s.Dot1AH(isid=5) / ether() / six, q),
        "transparent bridging": (ether(type=0x6558) / s.Raw(bytes(ether() / four)), p),
        "PPPoE": (session / ppp / four, p),
        "PPPoE, IPv6": (session / s.PPP(proto=0x57) / six, q),
        "PPPoE, padded": (bytes(ether() / session / ppp / four) + bytes(9), p),
        "PPPoE, bridging": (session / s.PPP(proto=0x31) / s.Raw(b"\0\1") / ether() / four, p),
        "VLAN, PPPoE": (s.Dot1Q(vlan=5) / session / ppp / four, p),
        "MPLS": (mpls / four, p),
        "MPLS, IPv6": (mpls / six, q),
        "MPLS multicast": (ether(type=0x8848) / s.Raw(bytes(mpls / four)), p),
        "MPLS, three labels": (s.MPLS(s=0) / s.MPLS(s=0) / mpls / four, p),
        "MPLS, Ethernet": (mpls / s.EoMCW() / ether() / four, p),
        "MPLS, numbered Ethernet": (mpls / s.EoMCW(seq=7) / ether() / s.Dot1Q() / four, p),
        "IPv4 in IPv4": (outer(proto=4) / four, p),
        "IPv6 in IPv4": (outer(proto=41) / six, q),
        "IPv4 in IPv6": (outer6(nh=4) / four, p),
        "IPv6 in IPv6": (outer6(nh=41) / six, q),
        "IPv6 in IPv6 with options": (outer6() / s.IPv6ExtHdrDestOpt(nh=41) / six, q),
        "IPv4 with options in IPv4 with options": (
            outer(proto=4, options=[s.IPOption(b"\x94\x04\0\0")]) / v4(options=[s.IPOption(b"\x94\x04\0\0")]),
            bytes(v4(options=[s.IPOption(b"\x94\x04\0\0")])),
        ),
        "ten times IP in IP": (bytes(ether() / outer()) and _nested(10, four), p),
        "AH": (s.IP(src="192.168.1.63", dst="192.168.1.64", id=5, proto=51) / s.Raw(authentication(6) + p[20:]), p),
        "AH around IP": (outer(proto=51) / s.Raw(authentication(4)) / four, p),
        "AH in IPv6": (outer6(nh=51) / s.Raw(authentication(41)) / six, q),
        "IPv6 with extension headers": (
            outer6() / v6(s.IPv6ExtHdrHopByHop(), s.IPv6ExtHdrRouting(), s.IPv6ExtHdrDestOpt()),
            bytes(v6(s.IPv6ExtHdrHopByHop(), s.IPv6ExtHdrRouting(), s.IPv6ExtHdrDestOpt())),
        ),
        "an atomic fragment": (outer6() / v6(s.IPv6ExtHdrFragment()), bytes(v6(s.IPv6ExtHdrFragment()))),
        "GRE": (outer() / s.GRE() / four, p),
        "GRE, IPv6": (outer() / s.GRE() / six, q),
        "GRE in IPv6": (outer6() / s.GRE() / four, p),
        "GRE with all its fields": (
            outer() / s.GRE(chksum_present=1, key_present=1, seqnum_present=1, key=5, sequence_number=6) / four,
            p,
        ),
        "GRE, Ethernet": (outer() / s.GRE(proto=0x6558) / ether() / four, p),
        "GRE, MPLS": (outer() / s.GRE(proto=0x8847) / mpls / four, p),
        "GRE with a VLAN tag": (outer() / s.GRE(proto=0x8100) / s.Dot1Q(vlan=5) / four, p),
        "GRE with PPPoE": (outer() / s.GRE(proto=0x8864) / session / ppp / four, p),
        "GRE, WCCP": (outer() / s.GRE(proto=0x883E) / four, p),
        "GRE, WCCP 2": (outer() / s.GRE(proto=0x883E) / s.Raw(bytes(4)) / four, p),
        "PPTP": (outer() / s.GRE_PPTP(seqnum_present=1, sequence_number=3, call_id=4) / s.HDLC() / ppp / four, p),
        "PPTP with an acknowledgment": (
            outer() / s.GRE_PPTP(seqnum_present=1, sequence_number=3, acknum_present=1, ack_number=7) / ppp / four,
            p,
        ),
        "ERSPAN I": (outer() / s.GRE(proto=0x88BE) / ether() / four, p),
        "ERSPAN II": (
            outer() / s.GRE(proto=0x88BE, seqnum_present=1, sequence_number=5) / s.ERSPAN_II() / ether() / four,
            p,
        ),
        "ERSPAN III": (
            outer() / s.GRE(proto=0x22EB, seqnum_present=1, sequence_number=5) / s.ERSPAN_III() / ether() / four,
            p,
        ),
        "ERSPAN III with a subheader": (
            outer() / s.GRE(proto=0x22EB) / s.ERSPAN_III(o=1) / s.ERSPAN_PlatformSpecific() / ether() / four,
            p,
        ),
        "ERSPAN III with IP": (outer() / s.GRE(proto=0x22EB) / s.ERSPAN_III(ft=2) / four, p),
        "EtherIP": (outer(proto=97) / s.Raw(b"\x30\0") / ether() / four, p),
        "MPLS in IP": (outer(proto=137) / mpls / four, p),
        "VXLAN": (outer() / udp(4789) / vxlan / ether() / four, p),
        "VXLAN on Linux's old port": (outer() / udp(8472) / vxlan / ether() / four, p),
        "VXLAN, IPv6 in IPv6": (outer6() / udp(4789) / vxlan / ether() / s.Dot1Q() / six, q),
        "VXLAN with a group": (outer() / udp(4789) / s.VXLAN(flags=0x88, gpid=3) / ether() / four, p),
        "VXLAN, padded": (bytes(ether() / outer() / udp(4789) / vxlan / ether() / four) + bytes(9), p),
        "VXLAN-GPE, IPv4": (outer() / udp(4790) / s.VXLAN(flags=12, NextProtocol=1) / four, p),
        "VXLAN-GPE, IPv6": (outer() / udp(4790) / s.VXLAN(flags=12, NextProtocol=2) / six, q),
        "VXLAN-GPE, Ethernet": (outer() / udp(4790) / s.VXLAN(flags=12, NextProtocol=3) / ether() / four, p),
        "Geneve, Ethernet": (outer() / udp(6081) / s.GENEVE(proto=0x6558) / ether() / four, p),
        "Geneve, IPv4": (outer() / udp(6081) / s.GENEVE(proto=0x0800) / four, p),
        "Geneve with options": (
            outer() / udp(6081) / s.GENEVE(proto=0x86DD, options=[s.GeneveOptions(data=b"abcdefgh")]) / six,
            q,
        ),
        "GTP": (outer() / udp(2152) / s.GTP_U_Header(**gtp) / four, p),
        "GTP with a number": (outer() / udp(2152) / s.GTP_U_Header(**gtp, S=1, seq=3) / six, q),
        "GTP of 5G": (
            outer()
            / udp(2152)
            / s.GTP_U_Header(**gtp, E=1, next_ex=0x85)
            / s.GTPPDUSessionContainer(type=1, QFI=3)
            / four,
            p,
        ),
        "GTP with two extension headers": (
            outer() / udp(2152) / s.GTP_U_Header(**gtp, E=1, next_ex=0x85) / s.Raw(b"\1\x10\3\xc0\1\0\0\0") / four,
            p,
        ),
        "GTP, Ethernet": (outer() / udp(2152) / s.GTP_U_Header(**gtp) / ether() / four, p),
        "L2TP": (outer() / udp(1701) / s.L2TP(hdr=0, tunnel_id=3, session_id=4) / s.HDLC() / ppp / four, p),
        "L2TP, padded": (
            outer()
            / udp(1701)
            / s.Raw(b"\x42\x02" + struct.pack(">H", 16 + len(p)) + b"\0\3\0\4\0\2zz\xff\x03\0\x21")
            / four,
            p,
        ),
        "L2TP with numbers": (
            outer() / udp(1701) / s.L2TP(hdr="length+sequence", tunnel_id=3, session_id=4) / s.PPP(proto=0x57) / six,
            q,
        ),
        "L2TP from its port": (outer() / s.UDP(sport=1701, dport=50000) / s.L2TP(hdr=0) / s.HDLC() / ppp / four, p),
        "MPLS in UDP": (outer() / udp(6635) / mpls / four, p),
        "GRE in UDP": (outer() / udp(4754) / s.GRE() / four, p),
        "GRE, VXLAN, MPLS, IP": (
            outer() / s.GRE() / outer() / udp(4789) / vxlan / ether() / s.Dot1Q() / mpls / outer() / four,
            p,
        ),
    }
    made: dict[str, tuple[int, Any, bytes]] = {
        name: (1, frame if isinstance(frame, bytes) or frame.name in {"802.3", "Ethernet"} else ether() / frame, inner)
        for name, (frame, inner) in ethernet.items()
    }
    made |= {
        "null": (0, b"\2\0\0\0" + p, p),
        "null, big-endian": (0, b"\0\0\0\2" + p, p),
        "null, IPv6 of Darwin": (0, b"\x1e\0\0\0" + q, q),
        "null, GRE": (0, b"\2\0\0\0" + bytes(outer() / s.GRE() / four), p),
        "loop": (108, b"\0\0\0\2" + p, p),
        "loop, IPv6 in IPv4": (108, b"\0\0\0\2" + bytes(outer() / six), q),
        "raw, IP in IP": (101, outer() / four, p),
        "raw of BSD": (12, four, p),
        "raw of OpenBSD": (14, six, q),
        "raw IPv4, VXLAN": (228, outer() / udp(4789) / vxlan / ether() / four, p),
        "raw IPv6, GRE": (229, outer6() / s.GRE() / four, p),
        "cooked": (113, s.CookedLinux(proto=0x0800) / four, p),
        "cooked, VLAN, PPPoE": (113, s.CookedLinux(proto=0x8100) / s.Dot1Q(type=0x8864) / session / ppp / four, p),
        "cooked, LLC": (113, s.CookedLinux(proto=4) / snap / four, p),
        "cooked, GRE": (113, s.CookedLinux(proto=0x0800) / outer() / s.GRE() / six, q),
        "cooked v2, MPLS": (276, s.CookedLinuxV2(proto=0x8847) / mpls / four, p),
        "cooked v2, LLC": (276, s.CookedLinuxV2(proto=4) / snap / four, p),
        "PPP": (9, ppp / four, p),
        "PPP, HDLC": (9, s.HDLC() / ppp / four, p),
        "PPP, HDLC, IPv6": (9, s.HDLC() / s.PPP(proto=0x57) / six, q),
        "PPP with a short protocol": (9, b"\x21" + p, p),
        "PPP, HDLC with a short protocol": (9, b"\xff\x03\x21" + p, p),
        "PPP, MPLS": (9, s.HDLC() / s.PPP(proto=0x281) / mpls / four, p),
        "PPP that is Cisco HDLC": (50, s.CHDLC() / four, p),
        "PPP in HDLC framing": (50, s.HDLC() / ppp / four, p),
        "PPPoE without Ethernet": (51, session / ppp / four, p),
        "PPP behind a direction": (204, b"\1" + bytes(s.HDLC() / ppp / four), p),
        "pppd's direction": (166, b"\1\3" + bytes(ppp / four), p),
        "HDLC": (104, s.CHDLC() / four, p),
        "HDLC, IPv6": (104, s.CHDLC(proto=0x86DD) / six, q),
        "HDLC, Ethernet": (104, s.CHDLC(proto=0x6558) / ether() / four, p),
        "HDLC behind a direction": (205, b"\1" + bytes(s.CHDLC() / four), p),
        "frame relay": (107, b"\x18\x41\x03\xcc" + p, p),
        "frame relay, IPv6": (107, b"\x18\x41\x03\x8e" + q, q),
        "frame relay, padded": (107, b"\x18\x41\x03\0\xcc" + p, p),
        "frame relay, SNAP": (107, b"\x18\x41\x03\0\x80\0\0\0\x08\0" + p, p),
        "frame relay, PPP": (107, b"\x18\x41\x03\xcf\0\x21" + p, p),
        "frame relay, bridged": (107, b"\x18\x41\x03\0\x80\0\x80\xc2\0\7" + bytes(ether() / four), p),
        "frame relay of Cisco": (107, b"\x18\x41\x08\0" + p, p),
        "frame relay with a long address": (107, b"\x18\x40\x40\x41\x03\xcc" + p, p),
        "frame relay behind a direction": (206, b"\0\x18\x41\x03\xcc" + p, p),
        "ATM": (100, llc, p),
        "ATM, NLPID": (100, b"\xfe\xfe\x03\xcc" + p, p),
        "ATM, bridged": (100, b"\xaa\xaa\3\0\x80\xc2\0\7\0\0" + bytes(ether() / four), p),
        "SunATM": (123, b"\x02\0\0\x21" + llc, p),
        "FDDI": (10, b"\x50" + M + M + llc, p),
        "token ring": (6, b"\x10\x40" + M + M + llc, p),
        "token ring with a route": (6, b"\x10\x40" + M + b"\x80" + M[1:] + b"\x06\x30\0\1\0\2" + llc, p),
        "Fibre Channel": (122, b"\0\0" + M + b"\0\0" + M + llc, p),
        "FireWire": (138, bytes(16) + b"\x08\0" + p, p),
        "InfiniBand": (242, bytes(40) + b"\x86\xdd\0\0" + q, q),
        "OpenBSD's enc": (109, struct.pack("<III", 2, 0, 0) + p, p),
        "OpenBSD's pflog": (117, b"\x3d\x02" + bytes(62) + p, p),
        "Solaris's ipnet": (226, struct.pack(">BBHI", 1, 2, 0, len(p)) + bytes(16) + p, p),
        "SLIP": (8, bytes(16) + p, p),
        "nflog": (239, b"\2\0\0\5" + nflog + struct.pack("<HH", 4 + len(p), 9) + p + bytes(-len(p) % 4), p),
        "nflog, big-endian": (239, b"\2\0\0\5" + nflog_big, p),
        "pktap": (258, pktap, p),
        "Juniper's Ethernet": (178, b"MGC\x00" + bytes(ether() / four), p),
        "Juniper's Ethernet with extensions": (178, b"MGC\x80\0\4abcd" + bytes(ether() / four), p),
        "802.11": (105, data_frame(llc, FCfield="to_DS"), p),
        "802.11 with a check sum": (105, bytes(data_frame(llc, FCfield="from_DS")) + b"\1\2\3\4", p),
        "802.11 QoS": (105, data_frame(llc, qos=True, FCfield="from_DS"), p),
        "802.11 between access points": (105, data_frame(llc, qos=True, FCfield=3, addr4=MAC), p),
        "802.11 with HT control": (105, data_frame(bytes(4) + llc, qos=True, FCfield=0x82), p),
        "802.11, IPv6": (105, data_frame(SNAP[:6] + b"\x86\xdd" + q, FCfield="to_DS"), q),
        "802.11, A-MSDU": (105, _amsdu(amsdu), p),
        "802.11, mesh": (105, _mesh(b"\0\x1f\1\0\0\0" + llc), p),
        "radiotap": (127, b"\0\0\x08\0\0\0\0\0" + bytes(data_frame(llc)), p),
        "radiotap with fields": (127, b"\0\0\x0a\0\x02\0\0\0\0\0" + bytes(data_frame(llc, qos=True)), p),
        "radiotap, padded": (127, b"\0\0\x09\0\x02\0\0\0\x20" + bytes(data_frame(b"\0\0" + llc, qos=True)), p),
        "prism": (119, bytes(s.PrismHeader()) + bytes(data_frame(llc)), p),
        "prism that is AVS": (119, struct.pack(">II", 0x80211001, 64) + bytes(56) + bytes(data_frame(llc)), p),
        "AVS": (163, struct.pack(">II", 0x80211001, 64) + bytes(56) + bytes(data_frame(llc)), p),
        "PPI, 802.11": (192, struct.pack("<BBHI", 0, 0, 8, 105) + bytes(data_frame(llc)), p),
        "PPI with fields": (192, struct.pack("<BBHIHH4s", 0, 0, 16, 1, 2, 4, b"abcd") + bytes(ether() / four), p),
        "PPI in PPI": (192, struct.pack("<BBHI", 0, 0, 8, 192) + struct.pack("<BBHI", 0, 0, 8, 101) + q, q),
    }
    return {name: (link, bytes(frame), inner) for name, (link, frame, inner) in made.items()}


def _nested(times: int, packet: Any) -> Any:
    for _ in range(times):
        packet = outer(proto=4) / packet
    return packet


def _amsdu(subframe: bytes) -> bytes:
    """Two subframes; both hold a segment."""
    frame = bytearray(bytes(data_frame(subframe + bytes(-len(subframe) % 4) + subframe, qos=True, FCfield=2)))
    frame[24] |= 0x80
    return bytes(frame)


def _mesh(body: bytes) -> bytes:
    frame = bytearray(bytes(data_frame(body, qos=True, FCfield=3, addr4=MAC)))
    frame[31] |= 1
    return bytes(frame)


NAMES = sorted(wrapped())


@pytest.mark.parametrize("name", NAMES)
def test_the_packet_inside(name: str) -> None:
    """It comes out byte for byte, without padding; also behind any sort of authentication header."""
    link, frame, inner = wrapped()[name]
    assert may_wrap(link)
    assert inner_packet(link, frame) == inner


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_frame(name: str) -> None:
    """With a TCP header that is whole: what there is of the packet; else nothing."""
    link, frame, inner = wrapped()[name]
    header = inner.index(b"\x9c\x40\0\x16\0\0\0\7") + 20
    begin = frame.rindex(inner[header - 20 :]) if name != "802.11, A-MSDU" else frame.index(inner[header - 20 :])
    for kept in range(len(frame)):
        held = kept - begin + header - 20
        assert inner_packet(link, frame[:kept]) == (inner[:held] if held >= header else None)


@cache
def without() -> dict[str, tuple[int, bytes]]:
    """Name → link type, and a frame without wrapped TCP."""
    s, four, six = layers(), v4(), v6()
    p, q = bytes(four), bytes(six)
    llc = SNAP + p
    vxlan = outer() / udp(4789) / s.VXLAN(flags=8)
    gtp = {"teid": 5}
    made: dict[str, tuple[int, Any]] = {
        "nothing": (1, b""),
        "an unknown link type": (147, p),
        "ARP": (1, ether() / s.ARP(psrc="10.0.0.1", pdst="10.0.0.2")),
        "UDP": (1, ether() / outer() / udp(53) / p),
        "UDP in GRE": (1, ether() / outer() / s.GRE() / outer() / udp(53) / b"x"),
        "ARP in VXLAN": (1, ether() / vxlan / ether() / s.ARP(psrc="10.0.0.1", pdst="10.0.0.2")),
        "an ICMP error": (1, ether() / outer() / s.ICMP(type=3, code=1) / s.Raw(p)),
        "an ICMP error in GRE": (1, ether() / outer() / s.GRE() / outer() / s.ICMP(type=11) / s.Raw(p)),
        "an ICMPv6 error": (1, ether() / outer6() / s.ICMPv6DestUnreach() / s.Raw(q)),
        "an ICMPv6 error in IPv4": (1, ether() / outer() / outer6() / s.ICMPv6PacketTooBig() / s.Raw(q)),
        "a first fragment inside": (1, ether() / outer() / v4(flags="MF")),
        "a later fragment inside": (1, ether() / outer() / v4(frag=3)),
        "a first fragment outside": (1, ether() / outer(flags="MF", proto=4) / s.Raw(p)),
        "a later fragment outside": (1, ether() / outer(frag=3, proto=4) / s.Raw(p)),
        "a first IPv6 fragment inside": (1, ether() / outer() / v6(s.IPv6ExtHdrFragment(m=1))),
        "a later IPv6 fragment inside": (1, ether() / outer() / v6(s.IPv6ExtHdrFragment(offset=3))),
        "a first IPv6 fragment outside": (1, ether() / outer6() / s.IPv6ExtHdrFragment(m=1, nh=41) / six),
        "version 6 in IPv4's EtherType": (1, ether(type=0x0800) / s.Raw(q)),
        "IPv4 in protocol 41": (1, ether() / outer(proto=41) / s.Raw(p)),
        "an IP header of 16 bytes": (1, ether() / outer(proto=4) / s.Raw(b"\x44" + p[1:])),
        "a packet that ends in its TCP header": (1, ether() / outer(proto=4) / s.Raw(p[:2] + b"\0\x27" + p[4:])),
        "UDP without a length": (1, ether() / outer() / s.UDP(dport=4789, len=0) / s.VXLAN(flags=8) / ether() / four),
        "UDP that ends in a header": (1, ether() / outer() / s.UDP(dport=4789, len=40) / s.VXLAN() / ether() / four),
        "GRE of version 2": (1, ether() / outer() / s.GRE(version=2) / four),
        "GRE with a route": (1, ether() / outer() / s.GRE(routing_present=1) / four),
        "PPPoE discovery": (1, ether() / s.PPPoED() / s.PPP() / four),
        "PPPoE that is no session": (1, ether() / s.PPPoE(code=9) / s.PPP() / four),
        "PPP's own protocol": (9, s.HDLC() / s.PPP(proto=0xC021) / s.Raw(p)),
        "MPLS, associated channel": (1, ether() / s.MPLS(s=1) / s.Raw(b"\x10\0\0\x21" + p)),
        "VXLAN-GPE of nothing": (1, ether() / outer() / udp(4790) / s.VXLAN(flags=8) / ether() / four),
        "GTP's end marker": (1, ether() / outer() / udp(2152) / s.GTP_U_Header(gtp_type=254, **gtp) / four),
        "GTP prime": (1, ether() / outer() / udp(2152) / s.GTP_U_Header(gtp_type=255, PT=0, **gtp) / four),
        "GTP's endless header": (
            1,
            ether() / outer() / udp(2152) / s.GTP_U_Header(gtp_type=255, E=1, next_ex=1) / s.Raw(b"\0" + p),
        ),
        "L2TP control": (1, ether() / outer() / udp(1701) / s.L2TP(hdr="control+length+sequence") / s.PPP() / four),
        "L2TP 3": (1, ether() / outer() / udp(1701) / s.L2TP(hdr=0, version=3) / s.PPP() / four),
        "LLC of another protocol": (1, s.Dot3(src=MAC, dst=PEER) / s.LLC(dsap=0x42, ssap=0x42, ctrl=3) / s.Raw(p)),
        "LLC information": (1, s.Dot3(src=MAC, dst=PEER) / s.LLC(dsap=6, ssap=6, ctrl=0) / s.Raw(p)),
        "SNAP of Cisco": (100, b"\xaa\xaa\x03\0\0\x0c\x08\0" + p),
        "a length of 0": (1, M + M + b"\0\0" + llc),
        "a length of 1501": (1, M + M + b"\x05\xdd" + llc),
        "802.11 beacon": (105, s.Dot11(type=0, subtype=8) / s.Raw(llc)),
        "802.11 control": (105, s.Dot11(type=1, subtype=13) / s.Raw(llc)),
        "802.11 without data": (105, s.Dot11(type=2, subtype=4) / s.Raw(llc)),
        "802.11 QoS without data": (105, s.Dot11(type=2, subtype=12) / s.Raw(b"\0\0" + llc)),
        "802.11 encrypted": (105, data_frame(llc, FCfield=0x42)),
        "802.11 first fragment": (105, data_frame(llc, FCfield=0x06)),
        "802.11 later fragment": (105, data_frame(llc, SC=1)),
        "token ring's own": (6, b"\x10\0" + M + M + llc),
        "nflog without a packet": (239, b"\2\0\0\5" + struct.pack("<HH4s", 8, 1, b"\x08\0\1\0")),
        "PPI of an unknown link type": (192, struct.pack("<BBHI", 0, 0, 8, 147) + p),
        "Juniper's without Ethernet": (178, b"MGC\x02" + p),
        "not Juniper's": (178, b"abc\x00" + bytes(ether() / four)),
    }
    return {name: (link, bytes(frame)) for name, (link, frame) in made.items()}


@pytest.mark.parametrize("name", sorted(without()))
def test_frames_without_a_segment(name: str) -> None:
    """Whatever looks like one in them."""
    link, frame = without()[name]
    assert inner_packet(link, frame) is None


@pytest.mark.parametrize("offload", ["inner", "outer"])
def test_lengths_of_0(offload: str) -> None:
    """Segmentation offload leaves them so: the packet is what is there."""
    frame = bytearray(bytes(ether() / outer(proto=4) / v4()))
    at = 14 + 20 * (offload == "inner") + 2
    frame[at : at + 2] = b"\0\0"
    assert inner_packet(1, bytes(frame)) == bytes(frame[34:])


def test_the_longest_802_3_frame() -> None:
    """A length field of 1500, all but one byte of it a packet."""
    packet = bytes(layers().IP(src="192.168.1.63", dst="192.168.1.64") / tcp(bytes(1447)))
    assert len(SNAP + packet) == 1499
    assert inner_packet(1, M + M + b"\x05\xdc" + SNAP + packet + b"x") == packet


def test_jumbograms() -> None:
    """An IPv6 payload length of 0 likewise."""
    packet = bytes(v6())
    packet = packet[:4] + b"\0\0" + packet[6:]
    assert inner_packet(1, bytes(ether() / outer(proto=41) / layers().Raw(packet))) == packet


# Any tunnel in any other


def _ip(rng: random.Random, protocol: int, inner: bytes) -> bytes:
    """IPv4 or IPv6 around something."""
    s = layers()
    if rng.random() < 0.5:
        options = [s.IPOption(b"\x94\x04\0\0")] * rng.randrange(3)
        return bytes(outer(proto=protocol, options=options) / s.Raw(inner))
    if rng.random() < 0.5:
        return bytes(outer6() / s.IPv6ExtHdrDestOpt(nh=protocol) / s.Raw(inner))
    return bytes(outer6(nh=protocol) / s.Raw(inner))


def _datagram(rng: random.Random, port: int, inner: bytes) -> bytes:
    return _ip(rng, 17, struct.pack(">HHHH", rng.randrange(50000, 60000), port, 8 + len(inner), 0) + inner)


def _bridged(rng: random.Random, packet: bytes) -> bytes:
    """Ethernet, with any tags, around an IP packet."""
    s = layers()
    frame = ether()
    for _ in range(rng.randrange(3)):
        frame /= s.Dot1Q(vlan=rng.randrange(4096))
    return bytes(frame / (s.IP if packet[0] >> 4 == 4 else s.IPv6)(packet))


def tunnel(rng: random.Random, packet: bytes) -> bytes:
    """An IP packet around an IP packet."""
    s = layers()
    four = packet[0] >> 4 == 4
    ethertype = 0x0800 if four else 0x86DD
    label = bytes(s.MPLS(s=0)) * rng.randrange(3) + bytes(s.MPLS(s=1, label=rng.randrange(16, 1 << 20)))
    gre = {name: rng.randrange(2) for name in ("chksum_present", "key_present", "seqnum_present")}
    gtp = s.GTP_U_Header(gtp_type=255, teid=rng.randrange(1 << 32), S=rng.randrange(2), PN=rng.randrange(2))
    ppp = b"\xff\x03" * rng.randrange(2) + (b"\0\x21" if four else b"\0\x57")
    made = [
        lambda: _ip(rng, 4 if four else 41, packet),
        lambda: _ip(rng, 47, bytes(s.GRE(proto=ethertype, **gre)) + packet),
        lambda: _ip(rng, 47, bytes(s.GRE(proto=0x6558, **gre)) + _bridged(rng, packet)),
        lambda: _ip(rng, 47, bytes(s.GRE_PPTP(payload_len=len(packet) + len(ppp), seqnum_present=1)) + ppp + packet),
        lambda: _ip(rng, 51, authentication(4 if four else 41) + packet),
        lambda: _ip(rng, 97, b"\x30\0" + _bridged(rng, packet)),
        lambda: _ip(rng, 137, label + packet),
        lambda: _datagram(rng, 4789, bytes(s.VXLAN(flags=8)) + _bridged(rng, packet)),
        lambda: _datagram(rng, 6081, bytes(s.GENEVE(proto=ethertype)) + packet),
        lambda: _datagram(rng, 2152, bytes(gtp / s.Raw(packet))),
        lambda: _datagram(rng, 1701, bytes(s.L2TP(hdr=rng.choice([0, "sequence"]))) + ppp + packet),
        lambda: _datagram(rng, 6635, label + packet),
    ]
    return rng.choice(made)()


def link(rng: random.Random, packet: bytes) -> tuple[int, bytes]:
    """A link type and a frame around an IP packet."""
    ethertype = b"\x08\0" if packet[0] >> 4 == 4 else b"\x86\xdd"
    ppp = b"\xff\x03\0\x21" if packet[0] >> 4 == 4 else b"\xff\x03\0\x57"
    return rng.choice(
        [
            (1, _bridged(rng, packet)),
            (9, ppp + packet),
            (100, SNAP[:6] + ethertype + packet),
            (101, packet),
            (104, b"\x0f\0" + ethertype + packet),
            (113, bytes(14) + ethertype + packet),
            (127, b"\0\0\x08\0\0\0\0\0" + bytes(data_frame(SNAP[:6] + ethertype + packet, qos=rng.random() < 0.5))),
            (276, ethertype + bytes(18) + packet),
        ]
    )


def nest(seed: int) -> tuple[int, bytes, bytes]:
    """A link type, a frame with up to four tunnels in each other, and the packet inside."""
    rng = random.Random(seed)  # noqa: S311 - a seed to repeat it by
    s = layers()
    segment = s.TCP(
        sport=rng.randrange(20000, 60000), dport=rng.randrange(20000, 60000), seq=rng.randrange(1 << 32), ack=seed
    ) / rng.randbytes(rng.randrange(60))
    packet = bytes((s.IP(src="192.168.1.63", dst="192.168.1.64") if rng.random() < 0.5 else outer6()) / segment)
    held = packet
    for _ in range(rng.randrange(5)):
        held = tunnel(rng, held)
    link_type, frame = link(rng, held)
    return link_type, frame + bytes(rng.randrange(2) * 8), packet


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_tunnel_in_any_other(seed: int) -> None:
    """Up to four deep, on any link type, padded or not."""
    link_type, frame, packet = nest(seed)
    assert inner_packet(link_type, frame) == packet


# Hostile frames


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        pytest.param(1, M + M + b"\x81\0\0\1" * 16000, id="VLAN tags"),
        pytest.param(1, M + M + b"\x88\x47" + b"\0\0\x10\x40" * 16000, id="MPLS labels"),
        pytest.param(1, (M + M + b"\x65\x58") * 4000, id="bridged bridges"),
        pytest.param(192, struct.pack("<BBHI", 0, 0, 8, 192) * 8000, id="PPI in PPI"),
        pytest.param(258, struct.pack("<III", 12, 1, 258) * 5000, id="pktap in pktap"),
        pytest.param(101, struct.pack(">BBHHHBBH8s", 0x45, 0, 0, 0, 0, 9, 4, 0, bytes(8)) * 3000, id="IP in IP"),
        pytest.param(101, b"\x45\0\0\0\0\0\0\0\0\x33\0\0" + bytes(8) + b"\x33\0\0\0\0\0\0\0" * 8000, id="AH in AH"),
        pytest.param(101, b"\x60\0\0\0\0\0\0\0" + bytes(32) + bytes(60000), id="extension headers"),
        pytest.param(107, bytes(60000), id="an address without an end"),
        pytest.param(239, b"\2\0\0\0" + b"\0\0\1\0" * 16000, id="empty attributes"),
        pytest.param(105, b"\x88\x00" + b"\xff" * 65000, id="802.11"),
    ],
)
def test_hostile_nests(link: int, frame: bytes) -> None:
    """The depth is bounded, so is the time: a test of its own would not end."""
    assert inner_packet(link, frame) is None


def test_the_depth_is_bounded() -> None:
    """A packet in as many headers as no network has is left alone."""
    assert inner_packet(101, bytes(_nested(31, v4()))) == bytes(v4())
    assert inner_packet(101, bytes(_nested(32, v4()))) is None


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    kept=st.integers(0, 2000),
    link=st.none() | st.sampled_from(sorted(_LINKS)),
)
def test_no_bytes_raise(name: str, changes: list[tuple[int, int]], kept: int, link: int | None) -> None:
    """Frames with any bytes changed, cut, of another link type: None, or a packet with a TCP header."""
    number, frame, _ = wrapped()[name]
    changed = bytearray(frame)
    for at, value in changes:
        changed[at % len(changed)] = value
    found = inner_packet(number if link is None else link, bytes(changed[:kept]))
    assert found is None or len(found) >= (40 if found[0] >> 4 == 4 else 60)


@settings(max_examples=200, deadline=None)
@given(link=st.sampled_from(sorted(_LINKS)), frame=st.binary(max_size=200))
@example(link=9, frame=b"\xff")
def test_no_rubbish_raises(link: int, frame: bytes) -> None:
    """Bytes that never were a frame."""
    found = inner_packet(link, frame)
    assert found is None or found in frame or link in _LINKS


def test_every_header_has_a_reader() -> None:
    """No table names one that is not there: a frame with it would silently be none."""
    from harness.captures import wrapped as module

    named = {*module._ETHERTYPES.values(), *module._PROTOCOLS.values(), *module._PORTS.values()}
    named |= {*module._PPP_PROTOCOLS.values(), *module._NLPIDS.values(), *module._GPE.values()}
    named |= {name for _, name in _LINKS.values()}
    assert named <= set(_READERS)
    for name in module._MODULES:
        assert module._layer(name).__name__ == name


# Which frames are asked about


def _asked(ethertype: int = -1, protocol: int = -1, port: int = -1) -> bool:
    found = candidates(*(np.array([value], np.int64) for value in (ethertype, protocol, port)))
    assert found.dtype == np.bool_
    return bool(found[0])


def test_candidates() -> None:
    """All that may hold a packet, and nothing that is read already or holds none."""
    assert not _asked()
    for ethertype in (0x0800, 0x86DD, 0x0806, 0x88CC, 0x8863, 0x05DD, 0xFFFF):
        assert not _asked(ethertype)
    for ethertype in (0, 60, 1500, 0x6558, 0x8847, 0x8848, 0x8864, 0x88E7):
        assert _asked(ethertype)
    for protocol in (0, 1, 6, 17, 50, 58, 89, 132, 255):
        assert not _asked(0x0800, protocol)
    for protocol in (4, 41, 47, 51, 97, 98, 115, 137):
        assert _asked(0x0800, protocol)
        assert _asked(0x86DD, protocol)
    for port in (0, 53, 67, 443, 5353, 4788, 65535):
        assert not _asked(0x0800, 17, port)
    for port in (1701, 2152, 4754, 4789, 4790, 6081, 6635, 8472):
        assert _asked(0x0800, 17, port)


def test_candidates_are_columns() -> None:
    """One answer a row, for any number of rows."""
    empty = np.zeros(0, np.int64)
    assert candidates(empty, empty, empty).tolist() == []
    ethertype = np.array([0x0800, 0x0800, 0x8847, 0x0806], np.int64)
    assert candidates(ethertype, np.array([6, 47, -1, -1]), np.full(4, -1)).tolist() == [False, True, True, False]


def test_wrapped_frames_are_candidates() -> None:
    """Every Ethernet frame here with a packet that the array decoder does not read, by its own headers."""
    for name, (number, frame, inner) in wrapped().items():
        if number != 1 or (frame.endswith(inner) and name in {"nothing", "VLAN"}) or name == "L2TP from its port":
            continue
        at = 12
        while (ethertype := int.from_bytes(frame[at : at + 2], "big")) in {0x8100, 0x88A8}:
            at += 4
        at += 2
        protocol = port = -1
        if ethertype == 0x0800:
            protocol, at = frame[at + 9], at + (frame[at] & 15) * 4
        elif ethertype == 0x86DD:
            protocol, at = frame[at + 6], at + 40
            if protocol == 60:
                protocol, at = frame[at], at + (frame[at + 1] + 1) * 8
        if protocol == 17:
            port = int.from_bytes(frame[at + 2 : at + 4], "big")
        assert _asked(ethertype, protocol, port), name


def test_link_types() -> None:
    """Which are worth asking about."""
    assert all(may_wrap(number) for number in (0, 1, 9, 104, 105, 113, 127, 276))
    assert not any(may_wrap(number) for number in (-1, 147, 189, 252, 65535))


def test_scapy_is_loaded_late_and_quietly() -> None:
    """Not before a frame needs it, only what the frame needs, without a word and without reading this host's routes."""
    gre, ipip = (wrapped()[name][1] for name in ("GRE", "IPv4 in IPv4"))
    program = (
        "import sys, warnings\n"
        "from harness.captures.wrapped import inner_packet\n"
        f"assert inner_packet(1, {ipip!r})\n"
        "assert not any(name.startswith('scapy') for name in sys.modules)\n"
        f"assert inner_packet(1, {gre!r})\n"
        "assert 'scapy.layers.l2' in sys.modules\n"
        "assert not {'scapy.all', 'scapy.layers.dot11', 'scapy.contrib.gtp'} & set(sys.modules)\n"
        "from scapy.config import conf\n"
        "assert conf.route_autoload and conf.route6_autoload\n"
        "assert not conf.route.routes\n"
        "assert 'scapy.route6' not in sys.modules or not conf.route6.routes\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# tshark's opinion


def _pcapng(frames: list[tuple[int, bytes]]) -> bytes:
    """A file with an interface for each link type."""

    def block(kind: int, body: bytes) -> bytes:
        size = 12 + len(body) + -len(body) % 4
        return struct.pack("<II", kind, size) + body + bytes(-len(body) % 4) + struct.pack("<I", size)

    links = sorted({number for number, _ in frames})
    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += b"".join(block(1, struct.pack("<HHI", number, 0, 0)) for number in links)
    return out + b"".join(
        block(6, struct.pack("<IIIII", links.index(number), 0, row, len(frame), len(frame)) + frame)
        for row, (number, frame) in enumerate(frames)
    )


def _tshark(path: Path, frames: list[tuple[int, bytes]]) -> list[list[str]]:
    """For each frame: source port, seq, ack, length, as text; empty where it holds no segment."""
    path.write_bytes(_pcapng(frames))
    fields = [word for name in ("srcport", "seq", "ack", "len") for word in ("-e", f"tcp.{name}")]
    preferences = ["-o", "tcp.relative_sequence_numbers:FALSE"]
    command = [str(TSHARK), "-r", str(path), *preferences, "-T", "fields", "-E", "occurrence=l", *fields]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return [line.split("\t") for line in said.splitlines()]


def _ours(packets: list[bytes]) -> list[list[str]]:
    """The same of IP packets, as the array decoder reads them."""
    found = read_capture(_pcapng([(101, packet) for packet in packets]), "made").segments
    assert len(found) == len(packets)
    return [[str(value) for value in row] for row in zip(found.sport, found.seq, found.ack, found.length, strict=True)]


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: no second opinion")
def test_tshark_says_the_same(tmp_path: Path) -> None:
    """Port, sequence numbers and length of every frame, of all link types in one file."""
    names = [name for name in NAMES if name not in UNSEEN]
    frames = [wrapped()[name][:2] for name in names]
    said = dict(zip(names, _tshark(tmp_path / "x.pcapng", frames), strict=True))
    ours = _ours([inner_packet(number, frame) or b"" for number, frame in frames])
    assert said == dict(zip(names, ours, strict=True))


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: no second opinion")
def test_tshark_says_the_same_of_nests(tmp_path: Path) -> None:
    """Of tunnels in tunnels."""
    made = [nest(seed) for seed in range(120)]
    frames = [(number, frame) for number, frame, _ in made]
    ours = _ours([inner_packet(number, frame) or b"" for number, frame in frames])
    assert _tshark(tmp_path / "x.pcapng", frames) == ours == _ours([packet for _, _, packet in made])
