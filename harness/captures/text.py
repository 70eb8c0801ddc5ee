"""What tcpdump prints (tcpdump(1), "output format"), as people paste it: the lines of IPv4 TCP packets → segments.

Without -S, tcpdump prints relative numbers (print-tcp.c): the first packet with ACK of a connection, and every SYN, is
printed as it is, and sets what 0 stands for: its own sequence number, and its acknowledgment number less one. From then
on packets with ACK are relative to these; packets without ACK never are. Here the base is added again. Sequence
numbers of empty segments are not printed (but for -vv); they are the next in order of their sender.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from harness.captures.capture import Capture
from harness.errors import HarnessError
from harness.tcp.flags import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG, from_letters
from harness.tcp.segments import ABSENT, address_key, from_rows

_LONGEST = 4096  # of a line; what TCP says stands in the first few hundred characters
_HEAD = 4096  # a text has no NUL here
_MOD = 1 << 32
_SECOND = 1_000_000_000
_HALF_DAY = 12 * 3600 * _SECOND
_LATEST = (1 << 63) - 1
_SMALL = 1 << 24  # where nothing else tells, a number below is a relative one
_SURELY_RISING = 6  # so many times that never fall are no differences

_SERVICES = {
    "ftp-data": 20,
    "ftp": 21,
    "ssh": 22,
    "telnet": 23,
    "smtp": 25,
    "time": 37,
    "domain": 53,
    "gopher": 70,
    "finger": 79,
    "http": 80,
    "kerberos": 88,
    "pop3": 110,
    "sunrpc": 111,
    "ntp": 123,
    "netbios-ssn": 139,
    "imap": 143,
    "imap2": 143,
    "bgp": 179,
    "ldap": 389,
    "https": 443,
    "microsoft-ds": 445,
    "submission": 587,
    "ldaps": 636,
    "rsync": 873,
    "imaps": 993,
    "pop3s": 995,
    "socks": 1080,
    "nfs": 2049,
    "mysql": 3306,
    "ms-wbt-server": 3389,
    "postgres": 5432,
    "postgresql": 5432,
    "x11": 6000,
    "http-alt": 8080,
    "webcache": 8080,
}

_BREAK = re.compile(r"\r\n|\r|\n")
_QUOTE = " \t>|\"'`\ufeff"
_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d) )?"
    r"(?P<sign>-?)(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)\.(?P<fraction>\d{6,9})(?!\S)"
    r"|(?P<epoch>\d{9,11})\.(?P<part>\d{6,9})(?!\S)",
    re.ASCII,
)
_UNTIMED = re.compile(
    r"IP6? (?:\(|[0-9a-fA-F:.]{3,39}[.\w-]{0,20} > )|ARP, |(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2} > "
    r"|\S{1,15} +(?:In|Out) +IP6? ",
    re.ASCII,
)
_COUNTED = re.compile(r"\d{1,8}  ", re.ASCII)  # --number
_HEADER = re.compile(r"tcpdump: |listening on \S+, |reading from file ")
_PROMPT = re.compile(r"[$#%]\s*(?:sudo\s+)?tcpdump\b")

_ADDRESS = r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
_ENDS = re.compile(
    rf"(?<!\S)(?P<src>{_ADDRESS})\.(?P<sport>[\w-]{{1,32}}) > (?P<dst>{_ADDRESS})\.(?P<dport>[\w-]{{1,32}}): ", re.ASCII
)
_DOTTED = re.compile(_ADDRESS, re.ASCII)
_IPV4 = re.compile(r"(?<!\S)(?:IP|ethertype IPv4)(?!\S)")
_PACKET = re.compile(r"\S{1,300} > \S{1,300}: \S")  # any protocol's
_IP_ID = re.compile(r"\bid (\d{1,5}),", re.ASCII)

_CHECKSUM = r"(?:, cksum 0x[0-9a-f]{1,4} \([^)]{0,40}\))?"
_NEW = re.compile(
    rf"Flags \[(?P<flags>[A-Za-z.]{{1,12}})\]{_CHECKSUM}"
    r"(?:, seq (?P<seq>\d{1,10})(?::(?P<end>\d{1,10}))?)?(?:, ack (?P<ack>\d{1,10}))?, win (?P<window>\d{1,5})"
    r"(?:, urg \d{1,5})?(?:, options \[(?P<options>.*?)\])?, length (?P<length>\d{1,9})(?!\d)",
    re.ASCII,
)
_OLD = re.compile(
    rf"(?P<flags>[SFPRWEU.]{{1,8}}){_CHECKSUM},?"
    r"(?: (?P<seq>\d{1,10}):(?P<end>\d{1,10})\((?P<length>\d{1,9})\))?(?: ack (?P<ack>\d{1,10}))?"
    r" win (?P<window>\d{1,5})(?: urg \d{1,5})?(?: <(?P<options>[^>]*)>)?(?!\d| <)",
    re.ASCII,
)
_BEGINS_NEW = re.compile(r"Fl?a?g?s?$|Flags (?:$|\[)")
_BEGINS_OLD = re.compile(r"[SFPRWEU.]{1,8}(?:$|,? (?:\d+$|\d+:\d|a?c?k?$|ack \d|w?i?n?$|win \d))", re.ASCII)
_OLD_BITS = {"S": SYN, "F": FIN, "P": PSH, "R": RST, "W": CWR, "E": ECE, "U": URG, ".": 0}
_OPTION = re.compile(
    r"mss (?P<mss>\d{1,5})|(?P<sack_permitted>sackOK)|wscale (?P<wscale>\d{1,3})|(?P<sack>sack \d.*|sack sack .*)"
    r"|(?:TS val|timestamp) (?P<tsval>\d{1,10}) (?:ecr )?(?P<tsecr>\d{1,10})",
    re.ASCII,
)
_MOST = {
    **dict.fromkeys(("seq", "end", "ack", "tsval", "tsecr"), _MOD - 1),
    **dict.fromkeys(("window", "mss", "sport", "dport"), 0xFFFF),
    "wscale": 0xFF,
}


@dataclass(slots=True)
class _Line:
    """A packet's line: its number, the time column's match, and what follows it."""

    number: int
    time: re.Match[str] | None
    text: str


@dataclass(slots=True)
class _Connection:
    """What tcpdump remembers of a connection, and what was seen of it; pairs are by sender.

    Attributes:
        relative: whether its numbers are relative; None until a packet tells.
        known: whether a packet with ACK was seen.
        base: what 0 stands for.
        following: the next sequence number.
        acked: what the other end acknowledged last.
        waiting: rows whose sequence number was not printed and is not known yet.
    """

    relative: bool | None = None
    known: bool = False
    base: list[int | None] = field(default_factory=lambda: [None, None])
    following: list[int | None] = field(default_factory=lambda: [None, None])
    acked: list[int | None] = field(default_factory=lambda: [None, None])
    waiting: tuple[list[dict[str, int]], list[dict[str, int]]] = field(default_factory=lambda: ([], []))

    def take(self, sender: int, row: dict[str, int], seq: int | None, ack: int | None) -> None:
        """Set the row's numbers from the printed ones."""
        flags = row["flags"]
        if ack is not None:
            seq, ack = self._absolute(sender, flags, seq, ack)
            row["ack"] = ack
            self.acked[1 - sender] = ack
            self._settle(1 - sender, ack)
        if seq is None:
            seq = self.following[sender]
            seq = self.acked[sender] if seq is None else seq
            if seq is None:
                self.waiting[sender].append(row)
                return
        else:
            end = (seq + row["length"] + bool(flags & SYN) + bool(flags & FIN)) % _MOD
            before = self.following[sender]
            if before is None or flags & SYN or (not flags & RST and _signed(end - before) > 0):
                self.following[sender] = end
        row["seq"] = seq
        self._settle(sender, seq)

    def _absolute(self, sender: int, flags: int, seq: int | None, ack: int) -> tuple[int | None, int]:
        if not self.known or flags & SYN:
            self.known = True
            self.relative = None
            self.base[sender] = self.following[sender] if seq is None else seq
            self.base[1 - sender] = (ack - 1) % _MOD
            return seq, ack
        if self.relative is None:
            self.relative = self._looks_relative(sender, seq, ack)
            if self.relative:
                for side in (0, 1):
                    self._settle(side, self.base[side] or 0)
        if not self.relative:
            return seq, ack
        seq = None if seq is None else (seq + (self.base[sender] or 0)) % _MOD
        return seq, (ack + (self.base[1 - sender] or 0)) % _MOD

    def _looks_relative(self, sender: int, seq: int | None, ack: int) -> bool:
        """Whether the numbers lie nearer to what is expected next as relative ones, or as they are."""
        for number, side in ((ack, 1 - sender), (seq, sender)):
            base = self.base[side]
            if number is not None and base is not None:
                following = self.following[side]
                off = number - (base + 1 if following is None else following)
                if_relative, as_it_is = abs(_signed(off + base)), abs(_signed(off))
                if if_relative != as_it_is:
                    return if_relative < as_it_is
        return ack < _SMALL

    def _settle(self, sender: int, seq: int) -> None:
        for row in self.waiting[sender]:
            row["seq"] = seq
        self.waiting[sender].clear()


def _signed(difference: int) -> int:
    """A difference of sequence numbers, from -2³¹ to 2³¹-1."""
    return (difference + (1 << 31)) % _MOD - (1 << 31)


def is_listing(data: bytes) -> bool:
    """Whether it is text with a line as tcpdump prints them."""
    if b"\0" in data[:_HEAD]:
        return False
    return any(_HEADER.match(line) or _packet_line(number, line) for number, line in _lines(data))


def read_listing(data: bytes, name: str) -> Capture:
    """Read what tcpdump printed.

    Raises:
        HarnessError: no line is tcpdump's.
    """
    if not is_listing(data):
        raise HarnessError(f"{name}: no line of it is a packet as tcpdump prints it")
    return _Reader().read(data)


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, bounded, without quote marks and indentation."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    at, number = 0, 0
    while at < len(text):
        number += 1
        found = _BREAK.search(text, at)
        stop, following = (found.start(), found.end()) if found else (len(text), len(text))
        if stop > at:
            line = text[at : min(stop, at + _LONGEST)].replace("\t", " ").replace("\xa0", " ")
            yield number, line.lstrip(_QUOTE).rstrip().rstrip("\"'`")
        at = following


def _packet_line(number: int, line: str) -> _Line | None:
    counted = _COUNTED.match(line)
    if counted:
        line = line[counted.end() :].lstrip()
    time = _TIME.match(line)
    if time:
        return _Line(number, time, line[time.end() :].strip())
    return _Line(number, None, line) if _UNTIMED.match(line) else None


class _Clock:
    """The time column → nanoseconds since the epoch, for one run of tcpdump after another."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._run: list[tuple[int, int]] = []  # place in _times, time of day
        self._day = 0
        self._last: int | None = None

    def add(self, found: re.Match[str] | None) -> None:
        """The time of one more segment."""
        self._times.append(self._now(found) if found else 0)

    def _now(self, found: re.Match[str]) -> int:
        latest = self._times[-1] if self._times else 0
        if found["epoch"]:
            return min(int(found["epoch"]) * _SECOND + int(found["part"].ljust(9, "0")), _LATEST)
        fraction = int(found["fraction"].ljust(9, "0"))
        if found["date"]:
            text = f"{found['date']} {found['hour']}:{found['minute']}:{found['second']}"
            try:
                moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            except ValueError:
                return latest
            return max(-_LATEST, min(int(moment.timestamp()) * _SECOND + fraction, _LATEST))
        seconds = (int(found["hour"]) * 60 + int(found["minute"])) * 60 + int(found["second"])
        time = (seconds * _SECOND + fraction) * (-1 if found["sign"] else 1)
        self._run.append((len(self._times), time))
        return time

    def new_run(self) -> None:
        """Tcpdump was started again: settle what the times of day of the run before were."""
        run, self._run = self._run, []
        if not run:
            return
        times = [time for _, time in run]
        if times[0] == 0 and len(times) > 1:  # -ttt or -ttttt
            rising = len(times) > _SURELY_RISING and all(a <= b for a, b in pairwise(times))
            total = self._last or 0
            for place, time in run:
                total = time if rising else max(-_LATEST, min(total + time, _LATEST))
                self._times[place] = total
            self._last = total
            return
        for place, time in run:
            now = time + self._day
            if self._last is not None and self._last - now > _HALF_DAY:
                self._day += 2 * _HALF_DAY * max(1, (self._last - now + _HALF_DAY) // (2 * _HALF_DAY))
                now = time + self._day
            self._last = self._times[place] = min(now, _LATEST)

    def times(self) -> list[int]:
        """All of them, in order."""
        self.new_run()
        return self._times


class _Reader:
    """A listing on its way to segments."""

    def __init__(self) -> None:
        self._rows: list[dict[str, int]] = []
        self._places: list[int] = []
        self._frames = 0
        self._clock = _Clock()
        self._timed = False
        self._options_shown = False
        self._damage: str | None = None
        self._connections: dict[tuple[tuple[int, int], tuple[int, int]], _Connection] = {}

    def read(self, data: bytes) -> Capture:
        header: _Line | None = None  # of -v, whose second line is awaited
        for number, line in _lines(data):
            if not line:
                continue
            packet = _packet_line(number, line)
            if packet and not packet.time and self._timed and line.startswith(("IP (", "IP6 (")):
                packet = None  # what an ICMP error quotes
            if packet is None:
                if header is not None and _DOTTED.match(line):
                    self._packet(line, header)
                    header = None
                elif _HEADER.match(line) or _PROMPT.search(line):
                    self._new_run()
                continue
            self._cut(header)
            self._frames += 1
            self._clock.add(packet.time)
            self._timed = packet.time is not None
            header = None
            if not _ENDS.search(packet.text) and "(tos 0x" in packet.text and packet.text.endswith((")", "!")):
                header = packet
            else:
                self._packet(packet.text, packet)
        self._cut(header)
        times = self._clock.times()
        for row in self._rows:
            row["time"] = times[row["frame"] - 1]
        return Capture(
            "tcpdump text",
            (),
            self._frames,
            self._frames - len(self._rows),
            self._damage,
            from_rows(self._rows, options_shown=self._options_shown),
        )

    def _new_run(self) -> None:
        self._clock.new_run()
        self._connections.clear()
        self._timed = False

    def _cut(self, line: _Line | None) -> None:
        if line is not None and self._damage is None:
            self._damage = f"line {line.number} is cut off"

    def _packet(self, text: str, head: _Line) -> None:
        """Take a packet: *text* has the addresses; *head* is the same line, or the one before (-v)."""
        ends = _ENDS.search(text)
        before = text[: ends.start()] if ends else text
        two_lines = text is not head.text
        if not two_lines and not (_IPV4.search(before) or (ends and not before)):
            if head.text in {"", "I"}:
                self._cut(head)
            return
        if ends is None:
            after = _IPV4.split(before)[-1]
            if "(0x0800), length" in after:
                after = after.partition(": ")[2]
            if not _PACKET.search(after):
                self._cut(head)
            return
        if _DOTTED.search(before):
            return  # a packet within a packet
        told = text[ends.end() :]
        found = _NEW.match(told) or _OLD.match(told)
        if found is None:
            if _BEGINS_NEW.match(told) or _BEGINS_OLD.match(told):
                self._cut(head)
            return
        self._segment(ends, found, head)

    def _segment(self, ends: re.Match[str], found: re.Match[str], head: _Line) -> None:
        told = {name: int(found[name]) for name in ("seq", "end", "ack", "window", "length") if found[name]}
        ports = {name: _port(ends[name]) for name in ("sport", "dport")}
        row = {"frame": self._frames, **ports, "window": told["window"], **_options(found["options"] or "")}
        if any(value < 0 for value in ports.values()) or any(
            (row | told).get(name, 0) > most for name, most in _MOST.items()
        ):
            return
        try:
            row |= {name: address_key(ends[name]) for name in ("src", "dst")}
            row["flags"] = _flags(found)
        except ValueError:
            return
        seq, ack = told.get("seq"), told.get("ack") if row["flags"] & ACK else None
        row["length"] = told.get("length", 0)
        row["seq_shown"] = int(seq is not None)  # tcpdump prints none for an empty segment without SYN, FIN and RST
        if seq is not None and (told.get("end", seq) - seq) % _MOD != row["length"]:
            self._cut(head)
            return
        ip_id = _IP_ID.search(head.text) if "(tos 0x" in head.text else None
        row["ip_id"] = int(ip_id[1]) if ip_id and int(ip_id[1]) <= _MOST["window"] else ABSENT
        self._options_shown |= found["options"] is not None
        src, dst = (row["src"], row["sport"]), (row["dst"], row["dport"])
        connection = self._connections.setdefault((min(src, dst), max(src, dst)), _Connection())
        connection.take(int(src > dst), row, seq, ack)
        self._rows.append(row)


def _port(text: str) -> int:
    if text.isdigit():
        return int(text)
    return _SERVICES.get(text, ABSENT)


def _flags(found: re.Match[str]) -> int:
    """The control bits.

    Raises:
        ValueError: a letter that tcpdump does not print.
    """
    if found.re is _NEW:
        return from_letters(found["flags"])
    bits = ACK if found["ack"] else 0  # tcpdump 3: "." says that there is none of S, F, R and P
    for letter in found["flags"]:
        bits |= _OLD_BITS[letter]
    return bits


def _options(text: str) -> dict[str, int]:
    options: dict[str, int] = {}
    for word in text.split(","):
        found = _OPTION.fullmatch(word.strip())
        if found:
            options |= {
                name: int(value) if value.isdigit() else 1
                for name, value in found.groupdict().items()
                if value is not None
            }
    return options
