"""What tcpdump prints of one packet, after the time → the TCP segment, with its numbers as printed.

From tcpdump 3.6 to 4.99 (tcpdump(1), "output format"; print-tcp.c, print-ip.c, print-ip6.c, print-ether.c).

A text that was wrapped is read by the same grammar without any spaces. That leaves no choice where its pieces meet:
nothing but tcpdump 3's "timestamp 7 0" has a space between two numbers, and wrapped just there it is not read.
"""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from harness.tcp.flags import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, from_letters
from harness.tcp.segments import ABSENT

_MOD = 1 << 32


class Ends(NamedTuple):
    """Sender and receiver; an IPv4 address as its number, an IPv6 address as its 16 bytes."""

    src: int | bytes
    sport: int
    dst: int | bytes
    dport: int


class Options(NamedTuple):
    """TCP options but the timestamps; the names are those of the columns in `harness.tcp.segments`."""

    mss: int = ABSENT
    wscale: int = ABSENT
    sack_permitted: bool = False
    sack: bool = False
    fast_open: bool = False
    blocks: tuple[tuple[int, int], ...] = ()  # of SACK, maybe relative


class Printed(NamedTuple):
    """What is printed of a TCP segment.

    Attributes:
        ends: sender and receiver.
        flags: bits of `harness.tcp.flags`.
        seq: maybe a relative one (without -S); None: not printed.
        ack: likewise.
        window: as in the header.
        length: payload bytes.
        ip_id: the IPv4 identification (-v), or ABSENT.
        tsval: of the timestamps option, or ABSENT.
        tsecr: likewise.
        options: the others; None: no options are printed at all.
    """

    ends: Ends
    flags: int
    seq: int | None
    ack: int | None
    window: int
    length: int
    ip_id: int
    tsval: int
    tsecr: int
    options: Options | None


NO_OTHERS = Options()


class No(Enum):
    """Why a text is no segment."""

    OTHER = "it is something else"
    OPEN = "it may be a piece of one"
    CUT = "it is a piece of one"
    HALF = "it is the first of -v's two lines"


# Without -nn, ports have names: Debian's /etc/services, and Red Hat's where they differ.
_SERVICES = """
    tcpmux=1 echo=7 discard=9 systat=11 daytime=13 netstat=15 qotd=17 chargen=19 ftp-data=20 ftp=21 ssh=22 telnet=23
    smtp=25 time=37 whois=43 nicname=43 tacacs=49 domain=53 gopher=70 finger=79 http=80 kerberos=88 iso-tsap=102
    acr-nema=104 pop3=110 sunrpc=111 auth=113 nntp=119 ntp=123 epmap=135 netbios-ssn=139 imap=143 imap2=143 snmp=161
    bgp=179 irc=194 ldap=389 svrloc=427 https=443 microsoft-ds=445 kpasswd=464 submissions=465 exec=512 login=513
    shell=514 printer=515 uucp=540 klogin=543 kshell=544 rtsp=554 nntps=563 submission=587 ipp=631 ldaps=636 ldp=646
    kerberos-adm=749 domain-s=853 rsync=873 ftps-data=989 ftps=990 telnets=992 imaps=993 pop3s=995 socks=1080
    rmiregistry=1099 openvpn=1194 ms-sql-s=1433 ingreslock=1524 radius=1812 cisco-sccp=2000 nfs=2049 iprop=2121
    cvspserver=2401 zebra=2601 dict=2628 iscsi-target=3260 mysql=3306 ms-wbt-server=3389 nut=3493 distcc=3632 svn=3690
    sieve=4190 epmd=4369 radmin-port=4899 munin=4949 commplex-main=5000 sip=5060 sip-tls=5061 xmpp-client=5222
    xmpp-server=5269 postgres=5432 postgresql=5432 nrpe=5666 amqps=5671 amqp=5672 x11=6000 x11-1=6001 x11-2=6002
    x11-3=6003 x11-4=6004 x11-5=6005 x11-6=6006 x11-7=6007 redis=6379 syslog-tls=6514 ircd=6667 ircs-u=6697
    font-service=7100 irdmi=8000 http-alt=8080 webcache=8080 tproxy=8081 puppet=8140 pcsync-https=8443 jetdirect=9100
    bacula-dir=9101 git=9418 webmin=10000 zabbix-agent=10050 zabbix-trapper=10051 memcache=11211
"""
_PORTS = {name: int(port) for name, port in (service.split("=") for service in _SERVICES.split())}

# The grammar. Where a space is written as itself, tcpdump prints one, and a wrapped text has none; \x20 is a space
# between two digits.

MAC = r"(?:[0-9a-f]{1,2}(?::[0-9a-f]{1,2}){5}(?: \(oui [^)>]{1,60}\))?|Broadcast)"
_IPV4 = r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
_IPV6 = r"[0-9a-fA-F]{0,4}:[0-9a-fA-F:]{1,38}(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})?"
_PORT = r"[\w-]{1,32}"
_BEFORE = (
    rf"(?:[^>]{{0,80}}?{MAC} > {MAC}, )?"  # -e
    r"(?:[^>]{0,200}?(?:ethertype IPv[46](?: \(0x[0-9a-f]{4}\))?, (?:length \d{1,6}: )?|AF IPv[46] \(\d{1,3}\), length"
    r" \d{1,6}: |ip: |(?:ip6?|0800|86dd)(?: |\x20)\d{1,5}: |IP(?:6(?=(?: )\x20?(?:[\[t]|[0-9a-fA-F]{0,4}:)))? \x20?))?"
    r"(?:[<>] )?(?:truncated-ip6? - \d{1,6} bytes missing!(?: )?|\[[^\]]{1,80}\](?: [(\[]invalid[)\]])? )?"
)
_HEADERS = r"(?:HBH|DSTOPT|frag|RT6|srcrt|AH)[^>]{0,400}?(?: )?"  # of IPv6, or AH of both
_ENDS = (
    rf"(?:(?P<src4>{_IPV4})\.(?P<sport4>{_PORT}) > (?P<dst4>{_IPV4})\.(?P<dport4>{_PORT})"
    rf"|(?P<src6>{_IPV6})\.(?P<sport6>{_PORT}) > (?P<dst6>{_IPV6})\.(?P<dport6>{_PORT})"
    rf"|(?P<src>{_IPV6}|{_IPV4}) > (?P<dst>{_IPV6}|{_IPV4}): {_HEADERS}(?P<sport>{_PORT}) > (?P<dport>{_PORT}))"
)
_VERBOSE = r"\((?:tos 0x|class 0x|flowlabel 0x|pri 0x|hlim \d)"
_NEW = (  # since tcpdump 4; "|)" is faster than "?"
    r"Flags \[(?P<flags>[A-Za-z.]{1,12})\], (?:cksum 0x[0-9a-f]{1,4} \([^)]{1,40}\), |)"
    r"(?:seq (?P<seq>\d{1,10})(?::(?P<end>\d{1,10})|), |)"
    r"(?:ack (?P<ack>\d{1,10}), |\[ack (?P<unset>\d{1,10}) != 0 while ACK flag not set\], |)"
    r"win (?P<window>\d{1,5}), (?:urg \d{1,5}, |\[urg \d{1,5} != 0 while URG flag not set\], |)"
    r"(?:options \[(?:nop,nop,TS val (?P<tsval>\d{1,10}) ecr (?P<tsecr>\d{1,10})\], (?=length )"
    r"|(?P<options>[^\[\]]*)\], (?=length )"
    r"|(?P<odd>.*?)(?:\], (?=length )|(?: )?(?P<stopped>\[(?:bad opt\]|\|tcp\]))[>\]]?$))|)"
    r"(?(stopped)|length (?P<length>\d{1,9})(?![\w.]))"
)
_OLD = (  # tcpdump 3
    r"(?P<flags>[SFPRWE.]{1,6})(?:, cksum 0x[0-9a-f]{1,4} \([^),]{1,40}\)?,| \[[a-z ]{0,9}tcp [^\]]{1,40}\])?"
    r"(?: (?P<seq>\d{1,10}):(?P<end>\d{1,10})\((?P<length>\d{1,9})\))?(?: ack (?P<ack>\d{1,10}))?"
    r" win (?P<window>\d{1,5})(?P<urg> urg \d{1,5})?(?: <(?P<options>[^>]{1,300})>)?(?!\d| <|\x20\d)"
)
_OLD_FLAGS = {"S": SYN, "F": FIN, "P": PSH, "R": RST, "W": CWR, "E": ECE, ".": 0}  # "." says: none of S, F, R, P
_OPTION = (
    r"mss (?P<mss>\d{1,5})|wscale (?P<wscale>\d{1,3})|(?P<sack_permitted>sackOK)"
    r"|(?P<fast_open>(?:tfo|exp-tfo|unknown-34)(?:\W.*|cookie.*)?)"
    r"|(?P<sack>sack (?:sack )?\d{1,2}(?: )?(?:\{\d{1,10}:\d{1,10}\}){0,4})"
    r"|TS val (?P<tsval>\d{1,10}) ecr (?P<tsecr>\d{1,10})"
    r"|timestamp (?P<old_tsval>\d{1,10})\x20(?P<old_tsecr>\d{1,10})"
)
_READ_OPTIONS = ("mss", "wscale", "sack", "TS", "timestamp")  # how those begin
_EDGE = re.compile(r"(\d{1,10})[:}]")  # of a SACK block
_MOST = {"mss": 0xFFFF, "wscale": 0xFF}
_ID = re.compile(r", ?id ?(\d{1,5}),", re.ASCII)
_OLD_ID = re.compile(r"[(,] ?id ?(\d{1,5})[,)]", re.ASCII)  # at the end

# What may go on: a mark of IP, a whole packet of whatever protocol, beginnings of TCP.

_MARK = re.compile(r"(?<!\S)(?:IP6?|(?:ethertype|AF) IPv[46]|ip:)(?![^\s,])(?: \(\w{1,6}\))?(?:, length \d{1,6}:)?")
_MALFORMED = re.compile(r",? *(?:wrong |unknown ip|IP\d|truncated-ip6? \d|bad-|\[\||\[.{1,80}invalid[\])]$|version )")
_NOT_TCP = re.compile(  # of -v; TCP is 6, and stands behind the others
    r"(?:proto:?|next-header) [\w -]{1,40} \((?:[1-57-9]|[1-9]\d{1,2})\)(?<!\((?:43|44|51|60)\))"
)
_WHOLE = re.compile(r"(?<!\S)\S{1,300} > \S{1,300}: +\S")
_LINK = re.compile(rf"{MAC}|(?:\S{{1,15}} +)?(?:In|Out|B|M|P) ")
_EXTENDED = re.compile(r": (?:(?:HBH|DSTOPT|frag|RT6|srcrt|AH)(?:\W|$)|\w{1,5}$)")
_BEGINS_NEW = re.compile(r"Fl?a?g?s?$|Flags (?:$|\[)")
_BEGINS_OLD = re.compile(r"[SFPRWE.]{1,6}(?:$|,? (?:\d+:?$|\d+:\d|a?c?k?$|ack \d|w?i?n?$|win \d))", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The patterns, with their spaces or without."""

    spaced: bool
    colon: str
    old_flags: re.Pattern[str]
    verbose: re.Pattern[str]
    arrow: re.Pattern[str]
    ends: re.Pattern[str]
    new: re.Pattern[str]
    old: re.Pattern[str]
    option: re.Pattern[str]


def _grammar(*, spaced: bool) -> _Grammar:
    def pattern(text: str) -> re.Pattern[str]:
        return re.compile(text if spaced else text.replace(" ", ""), re.ASCII)

    return _Grammar(
        spaced=spaced,
        colon=": " if spaced else ":",
        old_flags=pattern(r"> [^>]{3,80}?(?P<end>: )(?=[SFPRWE.]{1,6}(?:,| \d| ack \d| win \d| \[))"),
        verbose=pattern(_VERBOSE),
        arrow=pattern(r"(?<!-) > "),
        ends=pattern(_BEFORE + _ENDS),
        new=pattern(_NEW),
        old=pattern(_OLD),
        option=pattern(_OPTION),
    )


_SPACED, _SQUEEZED = _grammar(spaced=True), _grammar(spaced=False)


def squeezed(text: str) -> str:
    """The text without its spaces; between two digits one stays."""
    return re.sub(r"(?<!\d) +| +(?!\d)", "", text, flags=re.ASCII)


class Texts:
    """Reads packets' texts, and remembers what comes again and again, to save time."""

    def __init__(self) -> None:
        self._before: set[str] = set()  # what may stand before the ends
        self._ends: dict[str, Ends | None] = {}
        self._addresses: dict[str, int | bytes | None] = {}
        self._flags: dict[str, int | None] = {}

    def read(self, text: str) -> Printed | No:
        """The segment that a packet's text tells of; or why there is none."""
        at = text.find(": Flags [")
        if at < 0:
            if text.endswith(")") and _first_of_two(text):
                return No.HALF
            told = self._old_style(text, _SPACED)
            return self._unfinished(text) if told is No.OPEN else told
        head = text[:at]
        ends, ip_id = self._ends.get(head), ABSENT
        if ends is None:
            ends, ip_id = self._before_tcp(head, _SPACED)
        if ends is None:
            return No.OTHER
        found = _SPACED.new.match(text, at + 2)
        if found is None:
            return No.OTHER if "[bad hdr length" in text else No.CUT
        return self._new_style(ends, ip_id, found, _SPACED)

    def read_squeezed(self, text: str) -> Printed | No:
        """The same of a text that was wrapped: of its pieces, squeezed and joined."""
        at = text.find(":Flags[")
        if at < 0:
            return self._old_style(text, _SQUEEZED)
        found = _SQUEEZED.new.match(text, at + 1)
        if found is None:
            return No.OPEN
        ends, ip_id = self._before_tcp(text[:at], _SQUEEZED)
        return No.OTHER if ends is None else self._new_style(ends, ip_id, found, _SQUEEZED)

    def _before_tcp(self, head: str, grammar: _Grammar) -> tuple[Ends | None, int]:
        """The ends of the connection, and the IPv4 identification where -v prints it."""
        ip_id = ABSENT
        verbose = grammar.verbose.search(head)
        if verbose:
            arrow = grammar.arrow.search(head, verbose.end())
            close = head.rfind(")", verbose.end(), arrow.start() if arrow else len(head))
            if close < 0 or head.find("[+", verbose.end(), close) >= 0:  # the rest of a datagram is in other fragments
                return None, ABSENT
            found = _ID.search(head, verbose.end(), close)
            if found and int(found[1]) <= 0xFFFF:
                ip_id = int(found[1])
            head = head[: verbose.start()] + head[close + 1 :].lstrip()
        if not grammar.spaced:
            return self._find_ends(head, grammar), ip_id
        if head not in self._ends:
            self._ends[head] = self._find_ends(head, grammar)
        return self._ends[head], ip_id

    def _find_ends(self, head: str, grammar: _Grammar) -> Ends | None:
        left, _, target = head.rpartition(" > ")
        before, _, source = left.rpartition(" ")
        if before in self._before:
            src, _, sport = source.rpartition(".")
            dst, _, dport = target.rpartition(".")
        else:
            found = grammar.ends.fullmatch(head)
            if not found:
                return None
            src, sport, dst, dport = (
                next(group for group in found.group(name + "4", name + "6", name) if group is not None)
                for name in ("src", "sport", "dst", "dport")
            )
            if found["src"] is None and grammar.spaced:
                self._before.add(before)
        source_key, source_port = self._address(src), _port(sport)
        target_key, target_port = self._address(dst), _port(dport)
        if source_key is None or source_port is None or target_key is None or target_port is None:
            return None
        return Ends(source_key, source_port, target_key, target_port)

    def _address(self, text: str) -> int | bytes | None:
        if text not in self._addresses:
            try:
                self._addresses[text] = IPv6Address(text).packed if ":" in text else int(IPv4Address(text))
            except ValueError:
                self._addresses[text] = None
        return self._addresses[text]

    def _new_style(self, ends: Ends, ip_id: int, found: re.Match[str], grammar: _Grammar) -> Printed | No:
        letters, first, last, acked, unset, size, val, ecr, words, odd, stopped, covered = found.groups()
        flags = self._flags.get(letters)
        if flags is None:
            try:
                flags = self._flags[letters] = from_letters(letters)
            except ValueError:
                return No.OTHER
        numbers = _numbers(first, last, acked if flags & ACK else unset, size, covered)
        if not isinstance(numbers, tuple):
            return numbers
        seq, ack, window, length = numbers
        if val is not None:
            tsval, tsecr = int(val), int(ecr)
            if tsval >= _MOD or tsecr >= _MOD:
                return No.OTHER
            return Printed(ends, flags, seq, ack, window, length, ip_id, tsval, tsecr, NO_OTHERS)
        options = _options(words if odd is None else odd, grammar, stopped=stopped is not None)
        if not isinstance(options, tuple):
            return options
        return Printed(ends, flags, seq, ack, window, length, ip_id, *options)

    def _old_style(self, text: str, grammar: _Grammar) -> Printed | No:
        place = grammar.old_flags.search(text)
        found = grammar.old.match(text, place.end()) if place else None
        if place is None or found is None:
            return No.OPEN
        ends, ip_id = self._before_tcp(text[: place.start("end")], grammar)
        if ends is None:
            return No.OPEN
        told = _OLD_ID.search(text, found.end())
        if ip_id == ABSENT and told and int(told[1]) <= 0xFFFF:
            ip_id = int(told[1])
        flags = (ACK if found["ack"] else 0) | (URG if found["urg"] else 0)
        for letter in found["flags"]:
            flags |= _OLD_FLAGS[letter]
        words, stopped, _ = (found["options"] or "").partition("[|tcp]")
        options = _options(words if found["options"] else None, grammar, stopped=bool(stopped))
        numbers = _numbers(*found.group("seq", "end", "ack", "window", "length"))
        if not isinstance(options, tuple):
            return options
        return Printed(ends, flags, *numbers, ip_id, *options) if isinstance(numbers, tuple) else numbers

    def _unfinished(self, text: str) -> No:
        """Whether a text that tells of no segment may go on."""
        mark = _MARK.search(text)
        if mark is None:
            return No.CUT if text in {"", "I"} else No.OPEN if _LINK.match(text) else No.OTHER
        if _MALFORMED.match(text, mark.end()) or _NOT_TCP.search(text, mark.end()):
            return No.OTHER
        if not _WHOLE.search(text, mark.end()):
            return No.CUT
        at = text.find(": ", text.index(" > ", mark.end()))
        ends, _ = self._before_tcp(text[:at], _SPACED)
        if ends:
            told = text[at + 2 :]
            return No.CUT if _BEGINS_NEW.match(told) or _BEGINS_OLD.match(told) else No.OTHER
        return No.OPEN if _EXTENDED.match(text, at) else No.OTHER


def _first_of_two(text: str) -> bool:
    place = max(text.find("proto TCP (6), length "), text.find("proto AH (51), length "))
    return place >= 0 and text.find(" > ", place) < 0


def _port(text: str) -> int | None:
    port = int(text) if text.isdecimal() else _PORTS.get(text)
    return port if port is not None and port <= 0xFFFF else None


def _numbers(
    first: str | None, last: str | None, acked: str | None, size: str, covered: str | None
) -> tuple[int | None, int | None, int, int] | No:
    """Seq, ack, window and length, if they go together."""
    seq = None if first is None else int(first)
    end = seq if last is None else int(last)
    ack = None if acked is None else int(acked)
    window = int(size)
    if (seq or 0) >= _MOD or (end or 0) >= _MOD or (ack or 0) >= _MOD or window > 0xFFFF:
        return No.OTHER
    if seq is None or end is None:
        return seq, ack, window, int(covered or 0)
    length = (end - seq) % _MOD
    # Where tcpdump stopped before it says the length: if there is a payload, it has said where that ends.
    return (seq, ack, window, length) if covered is None or int(covered) == length else No.CUT


def _options(text: str | None, grammar: _Grammar, *, stopped: bool) -> tuple[int, int, Options | None] | No:
    """The timestamps and the other options; *stopped*: tcpdump could not read the last one."""
    if text is None:
        return ABSENT, ABSENT, None
    tsval = tsecr = ABSENT
    told: dict[str, Any] = {}
    blocks: tuple[tuple[int, int], ...] = ()
    words = text.split(",")
    for word in words[:-1] if stopped else words:
        found = None if word == "nop" else grammar.option.fullmatch(word.strip())
        name = found.lastgroup if found else None
        if found is None or name is None:
            if not grammar.spaced and word.startswith(_READ_OPTIONS):
                return No.CUT
        elif name.endswith("tsecr"):
            tsval, tsecr = int(found[name.replace("tsecr", "tsval")]), int(found[name])
        elif name in _MOST:
            told[name] = int(found[name])
        else:
            told[name] = True
            edges = [int(edge) for edge in _EDGE.findall(found[name])] if name == "sack" else []
            blocks = tuple(zip(edges[::2], edges[1::2], strict=True)) or blocks
    greatest = max(tsval, tsecr, *(edge for block in blocks for edge in block))
    if greatest >= _MOD or any(told.get(name, 0) > most for name, most in _MOST.items()):
        return No.OTHER
    return tsval, tsecr, Options(blocks=blocks, **told)
