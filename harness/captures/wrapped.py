"""Wrapped TCP: the IP packet inside tunnels and link layers that `harness.captures.frames` does not read itself.

scapy dissects one header after the other; what may follow which is decided here, so a frame costs a bounded number of
headers, and layers that somebody else has loaded into scapy change nothing. Read by hand is IP itself, whose bytes are
what is wanted; Ethernet, VLAN tags and UDP, which are on every way and cost scapy 50 to 100 µs each; and what scapy has
no class for or cannot skip by its length: AH, radiotap, PPI, frame relay and the like.

Link types: tcpdump.org/linktypes.html. Tunnels: GRE (RFC 2784, 2890; 2637 of PPTP) with ERSPAN and WCCP, IP in IP
(RFC 2003, 2473, 4213), EtherIP (RFC 3378), AH (RFC 4302), MPLS (RFC 3032, 4023, 7510) with Ethernet in it (RFC 4448),
VXLAN (RFC 7348) and VXLAN-GPE, Geneve (RFC 8926), GTP-U (3GPP TS 29.281), L2TPv2 (RFC 2661), PPPoE (RFC 2516), 802.1ah,
LLC/SNAP (RFC 1042, 2684).
"""

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_DEEPEST = 32  # headers around one packet; real ones have a dozen at most
_FOUND = "found"
_Step = tuple[str, bytes]  # the next header's name in _READERS, and the bytes from it on
_NOTHING: _Step = ("", b"")

# What each header says comes next.
_ETHERTYPES = {
    0x0800: "ipv4",
    0x86DD: "ipv6",
    0x8100: "vlan",
    0x88A8: "vlan",
    0x9100: "vlan",
    0x8847: "mpls",
    0x8848: "mpls",
    0x8864: "pppoe",
    0x88E7: "802.1ah",
    0x6558: "ethernet",
}
_PROTOCOLS = {4: "ip", 17: "udp", 41: "ipv6", 47: "gre", 97: "etherip", 137: "mpls"}
_PORTS = {
    1701: "l2tp",
    2152: "gtp",
    4754: "gre",
    4789: "vxlan",
    4790: "vxlan-gpe",
    6081: "geneve",
    6635: "mpls",
    8472: "vxlan",
}
_PPP_PROTOCOLS = {0x0021: "ipv4", 0x0031: "bcp", 0x0057: "ipv6", 0x0281: "mpls", 0x0283: "mpls"}
_NLPIDS = {0x80: "snap", 0x8E: "ipv6", 0xCC: "ipv4", 0xCF: "ppp"}  # RFC 2427
_GPE = {1: "ipv4", 2: "ipv6", 3: "ethernet"}

# Link type → bytes to skip, and the header after them.
_LINKS = {
    0: (4, "ip"),  # null: a family in some byte order; the IP version tells as well
    1: (0, "ethernet"),
    6: (0, "token ring"),
    8: (16, "ip"),  # SLIP
    9: (0, "ppp"),
    10: (13, "llc"),  # FDDI
    12: (0, "ip"),
    14: (0, "ip"),
    50: (0, "ppp"),
    51: (0, "pppoe"),
    100: (0, "llc"),  # RFC 2684
    101: (0, "ip"),
    104: (0, "chdlc"),
    105: (0, "802.11"),
    107: (0, "frame relay"),
    108: (4, "ip"),
    109: (12, "ip"),  # OpenBSD's enc
    113: (0, "sll"),
    117: (0, "pflog"),
    119: (0, "prism"),
    122: (16, "llc"),  # IP over Fibre Channel
    123: (4, "llc"),  # SunATM
    127: (0, "radiotap"),
    138: (16, "ethertype"),  # IP over IEEE 1394
    163: (0, "avs"),
    166: (2, "ppp"),  # pppd: a direction in the place of the address
    178: (0, "juniper"),
    192: (0, "ppi"),
    204: (1, "ppp"),  # the same behind a direction
    205: (1, "chdlc"),
    206: (1, "frame relay"),
    226: (24, "ip"),  # Solaris's ipnet
    228: (0, "ip"),
    229: (0, "ip"),
    239: (0, "nflog"),
    242: (40, "ipoib"),
    258: (0, "pktap"),
    276: (0, "sll2"),
}

_MODULES = {
    "CHDLC": "scapy.contrib.chdlc",
    "CookedLinux": "scapy.layers.l2",
    "CookedLinuxV2": "scapy.layers.l2",
    "Dot11": "scapy.layers.dot11",
    "Dot11QoS": "scapy.layers.dot11",
    "Dot1AH": "scapy.layers.l2",
    "ERSPAN_II": "scapy.contrib.erspan",
    "ERSPAN_III": "scapy.contrib.erspan",
    "GENEVE": "scapy.contrib.geneve",
    "GRE": "scapy.layers.l2",
    "GTP_U_Header": "scapy.contrib.gtp",
    "L2TP": "scapy.layers.l2tp",
    "LLC": "scapy.layers.l2",
    "MPLS": "scapy.contrib.mpls",
    "PPP": "scapy.layers.ppp",
    "PPPoE": "scapy.layers.ppp",
    "Packet": "scapy.packet",
    "SNAP": "scapy.layers.l2",
    "VXLAN": "scapy.layers.vxlan",
}


def may_wrap(link_type: int) -> bool:
    """Whether `inner_packet` can read frames of a link type at all."""
    return link_type in _LINKS


def candidates(ethertype: Ints, ip_protocol: Ints, udp_port_dst: Ints) -> Bools:
    """Which frames may hold wrapped TCP, by what is read of them already; -1 stands for what a frame has not.

    L2TP may answer from its port to any other: whoever wants that too asks with the source ports as well.

    Args:
        ethertype: the EtherType behind any VLAN tags, or the length that stands in its place.
        ip_protocol: the IPv4 protocol, or the last IPv6 next header.
        udp_port_dst: the UDP destination port.
    """
    held = (ethertype >= 0) & (ethertype <= 1500)
    held |= np.isin(ethertype, (0x6558, 0x8847, 0x8848, 0x8864, 0x88E7))
    held |= np.isin(ip_protocol, (4, 41, 47, 51, 97, 98, 115, 137))
    wrapped: Bools = held | np.isin(udp_port_dst, list(_PORTS))
    return wrapped


def inner_packet(link_type: int, frame: bytes) -> bytes | None:
    """The innermost IPv4 or IPv6 packet in a frame, if it holds a TCP header and is no fragment, nor held by one.

    Its bytes are cut to its own length, and are fewer where the capture holds fewer. An authentication header in IPv4
    is taken out, and the IPv4 header changed to say so: what comes out is IP with TCP behind it. A frame that holds
    several packets (an A-MSDU) gives the first. What an ICMP error quotes is no segment. No bytes make it raise.

    Raises:
        ImportError: scapy is not installed, or cannot be loaded.
    """
    try:
        name, rest = _link(link_type, frame)
        for _ in range(_DEEPEST):
            if not rest or not name:
                return None
            name, rest = _READERS[name](rest)
            if name == _FOUND:
                return rest
    except ImportError:
        raise
    except Exception:  # noqa: BLE001 - whatever scapy or a slice says of hostile bytes
        return None
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep scapy's loading from warning of what its interactive use would need."""
    log = logging.getLogger("scapy")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@cache
def _layer(name: str) -> Any:
    """A class of scapy's. Only the modules that frames ask for are loaded, and no routes are read for it."""
    with _silence():
        conf = importlib.import_module("scapy.config").conf
        kept = conf.route_autoload, conf.route6_autoload
        conf.route_autoload = conf.route6_autoload = False
        try:
            return getattr(importlib.import_module(_MODULES[name]), name)
        finally:
            conf.route_autoload, conf.route6_autoload = kept


def _dissect(name: str, raw: bytes) -> tuple[Any, bytes]:
    """One header, and the bytes behind it that are not padding."""
    packet = _layer(name)(raw, stop_dissection_after=_layer("Packet"), _internal=1)
    rest = packet.payload
    return packet, rest.load if rest.name == "Raw" else b""


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "big")


def _link(link_type: int, raw: bytes) -> _Step:
    skip, name = _LINKS.get(link_type, (0, ""))
    return name, raw[skip:]


# IP


def _ipv4(raw: bytes) -> _Step:
    header = (raw[0] & 15) * 4
    total = _u16(raw, 2)  # segmentation offload may leave it 0
    packet = raw[:total] if total else raw
    if raw[0] >> 4 != 4 or header < 20 or len(packet) < header or _u16(raw, 6) & 0x3FFF:
        return _NOTHING
    protocol, at = packet[9], header
    while protocol == 51:
        protocol, at = packet[at], at + (packet[at + 1] + 2) * 4
    if protocol != 6:
        return _PROTOCOLS.get(protocol, ""), packet[at:]
    if len(packet) < at + 20:
        return _NOTHING
    if at > header:  # an authentication header
        new = bytearray(packet[:header])
        new[2:4] = (total - (at - header) if total else 0).to_bytes(2, "big")
        new[9:12] = bytes((protocol, 0, 0))
        new[10:12] = (-int.from_bytes(new, "big") % 0xFFFF).to_bytes(2, "big")  # RFC 1071: as 2¹⁶ is 1 modulo 2¹⁶ - 1
        packet = bytes(new) + packet[at:]
    return _FOUND, packet


def _ipv6(raw: bytes) -> _Step:
    payload = _u16(raw, 4)  # 0: a jumbogram, or segmentation offload
    packet = raw[: 40 + payload] if payload else raw
    if raw[0] >> 4 != 6:
        return _NOTHING
    kind, at = packet[6], 40
    for _ in range(8):
        if kind not in {0, 43, 44, 51, 60}:  # RFC 8200 §4: hop-by-hop, routing, fragment, authentication, destination
            break
        if kind == 44 and _u16(packet, at + 2) & 0xFFF9:
            return _NOTHING
        size = 8 if kind == 44 else (packet[at + 1] + 2) * 4 if kind == 51 else (packet[at + 1] + 1) * 8
        kind, at = packet[at], at + size
    if kind != 6:
        return _PROTOCOLS.get(kind, ""), packet[at:]
    return (_FOUND, packet) if len(packet) >= at + 20 else _NOTHING


def _ip(raw: bytes) -> _Step:
    return _ipv4(raw) if raw[0] >> 4 == 4 else _ipv6(raw)


def _udp(raw: bytes) -> _Step:
    name = _PORTS.get(_u16(raw, 2)) or _PORTS.get(_u16(raw, 0), "")  # L2TP answers from its port to any
    return name, raw[8 : _u16(raw, 4)]


# Ethernet and what has EtherTypes


def _ethertype(ethertype: int, rest: bytes) -> _Step:
    return _ETHERTYPES.get(ethertype, ""), rest


def _ethertyped(raw: bytes) -> _Step:
    return _ethertype(_u16(raw, 0), raw[2:])


def _ethernet(raw: bytes) -> _Step:
    return _ethertype_or_length(raw[12:])


def _vlan(raw: bytes) -> _Step:
    return _ethertype_or_length(raw[2:])


def _ethertype_or_length(raw: bytes) -> _Step:
    """IEEE 802.3 §3.2.6: what is no more than 1500 counts the bytes of LLC behind it, and the rest is padding."""
    said = _u16(raw, 0)
    return ("llc", raw[2 : 2 + said]) if said <= 1500 else _ethertype(said, raw[2:])


def _ethernet_at(raw: bytes, *places: int) -> _Step:
    """An Ethernet frame that begins at the first of some places where an EtherType of ours would then stand."""
    for place in places:
        if _u16(raw, place + 12) in _ETHERTYPES:
            return "ethernet", raw[place:]
    return _NOTHING


def _backbone(raw: bytes) -> _Step:
    return "ethernet", _dissect("Dot1AH", raw)[1]


def _cooked(raw: bytes, name: str) -> _Step:
    header, rest = _dissect(name, raw)
    return ("llc", rest) if header.proto == 4 else _ethertype(header.proto, rest)


def _sll(raw: bytes) -> _Step:
    return _cooked(raw, "CookedLinux")


def _sll2(raw: bytes) -> _Step:
    return _cooked(raw, "CookedLinuxV2")


def _llc(raw: bytes) -> _Step:
    header, rest = _dissect("LLC", raw)
    after = {0x06: "ipv4", 0xAA: "snap", 0xFE: "nlpid"} if (header.ssap, header.ctrl) == (header.dsap, 3) else {}
    return after.get(header.dsap, ""), rest


def _snap(raw: bytes) -> _Step:
    header, rest = _dissect("SNAP", raw)
    if header.OUI == 0x0080C2 and header.code in {1, 7}:  # RFC 2684 pads the bridged frame, RFC 2427 does not
        return _ethernet_at(rest, 2, 0)
    return _ethertype(header.code, rest) if header.OUI in {0, 0x0000F8} else _NOTHING


def _nlpid(raw: bytes) -> _Step:
    raw = raw[1:] if raw[0] == 0 else raw
    return _NLPIDS.get(raw[0], ""), raw[1:]


def _token_ring(raw: bytes) -> _Step:
    if raw[1] >> 6 != 1:
        return _NOTHING
    routing = raw[14] & 31 if raw[8] & 0x80 else 0
    return "llc", raw[14 + routing :]


def _ipoib(raw: bytes) -> _Step:
    return _ethertype(_u16(raw, 0), raw[4:])


def _juniper(raw: bytes) -> _Step:
    if raw[:3] != b"MGC" or raw[3] & 0x02:  # bit 1: without its Ethernet header
        return _NOTHING
    return "ethernet", raw[6 + _u16(raw, 4) :] if raw[3] & 0x80 else raw[4:]


# 802.11


def _dot11(raw: bytes) -> _Step:
    flags = raw[1]
    if raw[0] & 0x4C != 8 or flags & 0x44:  # no data frame; fragmented, encrypted
        return _NOTHING
    header, rest = _dissect("Dot11", raw)
    if header.SC & 15:  # a later fragment
        return _NOTHING
    if header.subtype & 8:
        qos, rest = _dissect("Dot11QoS", rest)
        rest = rest[4:] if flags & 0x80 else rest  # HT control
        if qos.A_MSDU_Present:
            return "llc", rest[14:]
        mesh = 6 + 6 * (rest[0] & 3) if qos.TXOP & 1 else 0
        for skip in (0, mesh, 2):  # some drivers pad the header to whole words
            if rest[skip : skip + 3] == b"\xaa\xaa\x03":
                return "llc", rest[skip:]
    return "llc", rest


def _radiotap(raw: bytes) -> _Step:
    return "802.11", raw[max(8, int.from_bytes(raw[2:4], "little")) :]


def _avs(raw: bytes) -> _Step:
    return "802.11", raw[max(8, int.from_bytes(raw[4:8], "big")) :]


def _prism(raw: bytes) -> _Step:
    return ("avs", raw) if raw[:2] == b"\x80\x21" else ("802.11", raw[144:])


# Headers that hosts put before a frame


def _ppi(raw: bytes) -> _Step:
    return _link(int.from_bytes(raw[4:8], "little"), raw[max(8, int.from_bytes(raw[2:4], "little")) :])


def _pktap(raw: bytes) -> _Step:
    return _link(int.from_bytes(raw[8:12], "little"), raw[max(12, int.from_bytes(raw[:4], "little")) :])


def _pflog(raw: bytes) -> _Step:
    return "ip", raw[max(4, (raw[0] + 3) & ~3) :]


def _nflog(raw: bytes) -> _Step:
    order: Literal["little", "big"] = "big" if raw[7] & 0x7F else "little"  # the host's; kinds are small
    at = 4
    while at + 4 <= len(raw):
        size, kind = (int.from_bytes(raw[place : place + 2], order) for place in (at, at + 2))
        if kind == 9:  # NFULA_PAYLOAD
            return "ip", raw[at + 4 : at + size]
        at += max(4, (size + 3) & ~3)
    return _NOTHING


# PPP, HDLC, frame relay


def _ppp(raw: bytes) -> _Step:
    if raw[0] in {0x0F, 0x8F}:
        return "chdlc", raw
    header, rest = _dissect("PPP", raw[2:] if raw[:2] == b"\xff\x03" else raw)
    return _PPP_PROTOCOLS.get(header.proto, ""), rest


def _bcp(raw: bytes) -> _Step:
    """Bridging in PPP (RFC 3518)."""
    return ("ethernet", raw[6 if raw[0] & 0x40 else 2 :]) if raw[1] == 1 else _NOTHING


def _pppoe(raw: bytes) -> _Step:
    header, rest = _dissect("PPPoE", raw)
    return ("ppp", rest[: header.len]) if header.code == 0 else _NOTHING


def _chdlc(raw: bytes) -> _Step:
    header, rest = _dissect("CHDLC", raw)
    return _ethertype(header.proto, rest)


def _frame_relay(raw: bytes) -> _Step:
    size = next(at for at in range(1, 5) if raw[at] & 1) + 1
    return ("nlpid", raw[size + 1 :]) if raw[size] == 3 else _ethertyped(raw[size:])


# Tunnels


def _mpls(raw: bytes) -> _Step:
    label, rest = _dissect("MPLS", raw)
    if not label.s:
        return "mpls", rest
    version = rest[0] >> 4
    return _ip(rest) if version in {4, 6} else _ethernet_at(rest, 4, 0) if version == 0 else _ethernet_at(rest, 0)


def _etherip(raw: bytes) -> _Step:
    return "ethernet", raw[2:]


def _gre(raw: bytes) -> _Step:
    header, rest = _dissect("GRE", raw)
    if header.routing_present or header.version != (header.proto == 0x880B):
        return _NOTHING
    if header.proto == 0x880B:
        return "ppp", rest
    if header.proto == 0x88BE:  # type I has no header of its own and no number, type II has both
        return _ethernet_at(rest, 8) if header.seqnum_present else _ethernet_at(rest, 0, 8)
    if header.proto == 0x22EB:
        return _erspan3(rest)
    if header.proto == 0x883E:  # WCCP, whose second version has a header
        return "ipv4", rest if rest[0] >> 4 == 4 else rest[4:]
    return _ethertype(header.proto, rest)


def _erspan3(raw: bytes) -> _Step:
    header, rest = _dissect("ERSPAN_III", raw)
    return {0: "ethernet", 2: "ip"}.get(header.ft, ""), rest[8:] if header.o else rest


def _vxlan(raw: bytes) -> _Step:
    return "ethernet", raw[8:]


def _vxlan_gpe(raw: bytes) -> _Step:
    header, rest = _dissect("VXLAN", raw)
    return _GPE.get(header.NextProtocol, "") if header.flags.NextProtocol and not header.flags.G else "", rest


def _geneve(raw: bytes) -> _Step:
    header, rest = _dissect("GENEVE", raw)
    return _ethertype(header.proto, rest)


def _gtp(raw: bytes) -> _Step:
    header, rest = _dissect("GTP_U_Header", raw)
    if (header.version, header.PT, header.gtp_type) != (1, 1, 255):
        return _NOTHING
    kind, at = header.next_ex if header.E else 0, 0
    while kind:  # extension headers: their length in words, and the next one's kind at their end
        size = rest[at] * 4
        kind, at = rest[at + size - 1] if size else 0, at + size
    rest = rest[at:]
    return _ip(rest) if rest[0] >> 4 in {4, 6} else _ethernet_at(rest, 0)


def _l2tp(raw: bytes) -> _Step:
    header, rest = _dissect("L2TP", raw)
    return ("ppp", rest) if header.version == 2 and not header.hdr.control else _NOTHING


_READERS: dict[str, Callable[[bytes], _Step]] = {
    "802.11": _dot11,
    "802.1ah": _backbone,
    "avs": _avs,
    "bcp": _bcp,
    "chdlc": _chdlc,
    "etherip": _etherip,
    "ethernet": _ethernet,
    "ethertype": _ethertyped,
    "frame relay": _frame_relay,
    "geneve": _geneve,
    "gre": _gre,
    "gtp": _gtp,
    "ip": _ip,
    "ipoib": _ipoib,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "juniper": _juniper,
    "l2tp": _l2tp,
    "llc": _llc,
    "mpls": _mpls,
    "nflog": _nflog,
    "nlpid": _nlpid,
    "pflog": _pflog,
    "pktap": _pktap,
    "ppi": _ppi,
    "ppp": _ppp,
    "pppoe": _pppoe,
    "prism": _prism,
    "radiotap": _radiotap,
    "sll": _sll,
    "sll2": _sll2,
    "snap": _snap,
    "token ring": _token_ring,
    "udp": _udp,
    "vlan": _vlan,
    "vxlan": _vxlan,
    "vxlan-gpe": _vxlan_gpe,
}
