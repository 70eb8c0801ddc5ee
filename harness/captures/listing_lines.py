"""The lines of a listing, as people paste it → packets: each one's time, and what is printed of its TCP segment.

- A packet begins with a line that has a time; with -t, that begins as tcpdump's lines do. -v breaks it in two.
- A line that a terminal or a mail client wrapped is put together again, where the pieces make one segment.
- All else is passed over: prompts, counters, hex dumps, what an ICMP error quotes, what a tunnel carries.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

from harness.captures.listing_tcp import MAC, No, Printed, Texts, squeezed

_LONGEST = 4096  # of a packet's text; what TCP says stands in the first few hundred characters
_HEAD = 4096  # a text has no NUL here
_BLOCK = 1 << 20  # bytes looked at together
_PIECES = 12  # that one packet's line is wrapped into, at most
_SECOND = 1_000_000_000
_LATEST = (1 << 63) - 1


class TimeKind(Enum):
    """What a printed time says."""

    AT = "since the epoch (-tt, -tttt)"
    CLOCK = "a time of day, or since the first packet (-ttttt) or the one before (-ttt)"
    STEP = "since the packet before, as tcpdump 3 prints it"


class Packet(NamedTuple):
    """A packet.

    Attributes:
        line: the number of the line where it begins.
        kind: what its time says; None: none is printed.
        time: in nanoseconds; 0 where none is printed.
        segment: the TCP segment; None: it is none, or was not understood.
        cut: whether it may be one, but its line ends before tcpdump's would.
    """

    line: int
    kind: TimeKind | None
    time: int
    segment: Printed | None
    cut: bool


class Start(NamedTuple):
    """Tcpdump was started here.

    Attributes:
        line: the line's number.
        elapsed: whether the command has -ttttt (True) or -ttt (False); None: neither, or no command is shown.
        truncated: whether tcpdump says that the capture file it reads is cut off.
    """

    line: int
    elapsed: bool | None
    truncated: bool


_QUOTE = " >|\"'`\xef\xbb\xbf"  # and the byte order mark, byte by byte
_END = " \"'`"
_TIME = re.compile(
    r"(?:\d{1,8}  +)?"  # --number
    r"(?:(?:(?P<date>\d{4}-\d\d-\d\d )?(?P<sign>-?)(?P<clock>\d\d:\d\d:\d\d)"
    rf"|(?P<epoch>\d{{9,11}}|\d{{1,8}}(?=\.\d{{6,10}} (?:IP6? |ARP, |{MAC} ))))"
    r"\.(?P<fraction>\d{6,10})(?!\S)"
    r"|(?:(?P<seconds>\d{1,6})\. )?(?P<micro>\d{6})(?= (?:IP6? |arp |\d{1,3}\.\d)))",
    re.ASCII,
)
_UNTIMED = re.compile(
    r"(?:\d{1,8}  +)?"
    r"(?=IP6? (?:[(\[]|[0-9a-fA-F:.]{3,39}[.\w-]{0,33} > |\S{3,300} > \S{1,300}: |truncated-ip|bad-)|ARP, "
    rf"|{MAC} (?:> |Unknown )|(?:\S{{1,15}} +)?(?:In|Out|B|M|P) +(?:IP6? |ARP, |ethertype |ifindex \d|{MAC} )"
    r"|AF \w{1,12} \(\d{1,10}\), length \d|ip: [0-9a-f(])",
    re.ASCII,
)
_BEGUN = re.compile(r"tcpdump: |listening on \S+, |reading from file ")
_COMMAND = re.compile(r"[$#%>]\s*(?:[\w/.=@:-]{1,80}\s+){0,6}(?:[\w/.-]{0,80}/)?(?:tcp|win)dump(?!\S)(?P<switches>.*)")
_ELAPSED = re.compile(r"\s-[A-Za-su-z#]{0,20}(ttt(?:tt)?)(?!t)")
_ENDS_IN_WINDOW = re.compile(r"win ?\d{1,5}$", re.ASCII)
_GOES_ON = re.compile(r"\d{1,4}(?: [<(\[]|:|$)|<|urg \d")  # after "win 58" or "length 2"


class _Times:
    """Reads the time column."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[TimeKind, int]] = {}  # what stands before the fraction of a second

    def read(self, line: str) -> tuple[TimeKind | None, int, str] | None:
        """A line's time: what it says, in nanoseconds, and what follows it; None: it has none."""
        head, _, tail = line.partition(".")
        moment = self._known.get(head)
        if moment and tail[6:7] == " " and tail[:6].isdecimal():
            return moment[0], moment[1] + int(tail[:6]) * 1000, tail[7:]
        found = _TIME.match(line) if line[0] in "-0123456789" else None
        if found is None:
            return None
        text, fraction = line[found.end() :], found["fraction"]
        if fraction is None:
            return TimeKind.STEP, int(found["seconds"] or 0) * _SECOND + int(found["micro"]) * 1000, text
        moment = _moment(found)
        if moment is None:
            return None, 0, text
        nanoseconds = int(fraction) * (1 if len(fraction) == 9 else 1000)
        if found["sign"]:
            return moment[0], -moment[1] - nanoseconds, text
        if found.start("fraction") == len(head) + 1 and "  " not in head:
            self._known[head] = moment
        return moment[0], moment[1] + nanoseconds, text


def _moment(found: re.Match[str]) -> tuple[TimeKind, int] | None:
    """A time without its fraction of a second; None: there is no such date."""
    if found["epoch"]:
        moment = int(found["epoch"]) * _SECOND
        return (TimeKind.AT, moment) if moment < _LATEST - 10 * _SECOND else None
    clock = found["clock"]
    moment = ((int(clock[:2]) * 60 + int(clock[3:5])) * 60 + int(clock[6:])) * _SECOND
    if not found["date"]:
        return TimeKind.CLOCK, moment
    try:
        midnight = datetime.strptime(found["date"], "%Y-%m-%d ").replace(tzinfo=UTC)
    except ValueError:
        return None
    moment += int(midnight.timestamp()) * _SECOND
    return (TimeKind.AT, moment) if abs(moment) < _LATEST - 10 * _SECOND else None


class _Waiting:
    """A packet whose text may go on in the next line.

    If it stands behind quote marks, the lines that it goes on in do so as well, or all do not.
    """

    def __init__(self, packet: Packet, text: str, told: Printed | No, marks: str) -> None:
        self._packet = packet
        self._text = text
        self._told = told
        self._marks = (marks, "") if marks else ("",)
        self._squeezed = [""] * len(self._marks)
        self._pieces = 1

    def add(self, line: str, texts: Texts) -> Packet | None:
        """Take one more line; the packet, if that settles it."""
        self._pieces += 1
        pieces = [_unquoted(line, marks) for marks in self._marks]
        if isinstance(self._told, Printed):
            if not _GOES_ON.match(pieces[0]):
                return self.end()
            if pieces[0].startswith("<"):
                self._told = No.CUT
        if self._told is No.HALF:
            self._text += " " + pieces[0]
            self._told = told = texts.read(self._text)
            if told is No.OTHER or (isinstance(told, Printed) and not _may_go_on(told, self._text)):
                return self.end()
            pieces = [""] * len(pieces)
        begun = squeezed(self._text)
        self._squeezed = [(old or begun) + squeezed(piece) for old, piece in zip(self._squeezed, pieces, strict=True)]
        for told, text in sorted(((texts.read_squeezed(text), text) for text in self._squeezed), key=_segments_first):
            if told is No.OTHER or isinstance(told, Printed):
                self._told = told
                return None if isinstance(told, Printed) and _may_go_on(told, text) else self.end()
        return self.end() if self._pieces == _PIECES or len(self._squeezed[0]) > _LONGEST else None

    def end(self) -> Packet:
        """The packet as far as it goes."""
        segment = self._told if isinstance(self._told, Printed) else None
        return self._packet._replace(segment=segment, cut=self._told is No.CUT or self._told is No.HALF)


def _segments_first(read: tuple[Printed | No, str]) -> bool:
    return not isinstance(read[0], Printed)


def _may_go_on(told: Printed, text: str) -> bool:
    """Whether a whole text may be longer: tcpdump 3's without options, or 4.0's, whose length nothing confirms."""
    if told.options is None and _ENDS_IN_WINDOW.search(text, max(0, len(text) - 11)):
        return True
    return told.seq is None and told.length > 0 and text[-1:].isdecimal()


def read_lines(data: bytes) -> Iterator[Packet | Start]:
    """The packets of a listing in order, and where tcpdump was started; nothing if it is no listing."""
    texts, times = Texts(), _Times()
    waiting: _Waiting | None = None
    timed, margin = False, -1
    for number, whole in enumerate(_lines(data), 1):
        line = whole[:_LONGEST].lstrip(_QUOTE).rstrip(_END)
        if not line:
            continue
        stamp = times.read(line)
        text: str | None = stamp[2] if stamp else None if timed else _without_time(line)
        if text == line:  # what an ICMP error quotes stands further in
            column = whole.index(line[0])
            if column > margin >= 0:
                text = None
            else:
                margin = column
        if text is None:
            command = _COMMAND.search(line) if "dump" in line else None
            if command or _BEGUN.match(line):
                if waiting:
                    yield waiting.end()
                waiting, timed, margin = None, False, -1
                elapsed = _ELAPSED.search(command["switches"]) if command else None
                yield Start(number, elapsed[1] == "ttttt" if elapsed else None, "truncated dump file" in line)
            elif waiting:
                packet = waiting.add(whole[:_LONGEST], texts)
                if packet:
                    yield packet
                    waiting = None
            continue
        if waiting:
            yield waiting.end()
            waiting = None
        timed = stamp is not None
        text = text.lstrip()
        told = texts.read(text)
        kind, time, _ = stamp or (None, 0, "")
        if isinstance(told, Printed) and not _may_go_on(told, text):
            yield Packet(number, kind, time, told, False)
        elif told is No.OTHER:
            yield Packet(number, kind, time, None, False)
        else:
            if told is No.CUT and whole.endswith(": "):
                told = No.OPEN  # tcpdump has no more to say of some packets
            marks = whole[: whole.index(line[0])].replace(" ", "")
            waiting = _Waiting(Packet(number, kind, time, None, False), text, told, marks)
    if waiting:
        yield waiting.end()


def _lines(data: bytes) -> Iterator[str]:
    """The lines, without their ends; none if it is no text. A last one that has no end has no space there either."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:  # Windows PowerShell's > writes UTF-16
        data = data.decode("utf-16", "replace").encode("latin-1", "replace")
    if b"\0" in data[:_HEAD]:
        return
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    at = 0
    while at < len(data):
        stop = (data.rfind(b"\n", at, at + _BLOCK) + 1) or (data.find(b"\n", at + _BLOCK) + 1) or len(data)
        block = data[at:stop].decode("latin-1").replace("\t", " ")
        if not block.isascii():
            block = block.replace("\xc2\xa0", " ").replace("\xa0", " ")  # no-break spaces
        at = stop
        yield from (block.removesuffix("\n") if block.endswith("\n") else block.rstrip(" ")).split("\n")


def _without_time(line: str) -> str | None:
    """A packet's text in a line without a time (-t)."""
    found = _UNTIMED.match(line) if " " in line else None
    return line[found.end() :] if found else None


def _unquoted(line: str, marks: str) -> str:
    """A line without indentation and the quote marks that stood before the one it goes on from."""
    line = line.lstrip().rstrip(_END)
    for mark in marks:
        line = line.removeprefix(mark).lstrip()
    return line
