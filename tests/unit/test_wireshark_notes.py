"""What harness.tcp.wireshark promises: Wireshark's notes, those by hand in the scripts' comments, and tshark's."""

import random
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from harness.tcp.flags import ACK, FIN, PSH, RST, SYN
from harness.tcp.notation import parse
from harness.tcp.segments import Segments, from_rows
from harness.tcp.splitting import Rows
from harness.tcp.wireshark import NAMES, notes
from tests.pcaps import encode, frames_of

TSHARK = shutil.which("tshark")

SYN_LINE = "+0 > S 0:0(0) win 64240 <mss 1460,wscale 7>\n"
HANDSHAKE = SYN_LINE + "+.005 < S. 0:0(0) ack 1 win 65160 <mss 1460,wscale 7>\n+.005 > . 1:1(0) ack 1\n"
FOUR = HANDSHAKE + "+0 > . 1:101(100) ack 1\n" + "".join(
    f"+0 > . {begin}:{begin + 100}(100) ack 1\n" for begin in (101, 201, 301)
)  # fmt: skip
SCRIPTS = {
    "nothing to note": HANDSHAKE + """
        +0    > P. 1:101(100) ack 1
        +.010 < .  1:1(0) ack 101
        +0    < P. 1:301(300) ack 101
        +.010 > .  101:101(0) ack 301
        +1    > F. 101:101(0) ack 301
        +.010 < F. 301:301(0) ack 102
        +.010 > .  102:102(0) ack 302""",
    "handshake repeated": SYN_LINE + """
        +1    > S  0:0(0) win 64240 <mss 1460,wscale 7>           // retransmission
        +.005 < S. 0:0(0) ack 1 win 65160 <mss 1460,wscale 7>
        +1    < S. 0:0(0) ack 1 win 65160 <mss 1460,wscale 7>     // retransmission
        +.005 > .  1:1(0) ack 1""",
    "data repeated": HANDSHAKE + """
        +0    > P. 1:101(100) ack 1
        +.2   > P. 1:101(100) ack 1                               // retransmission
        +.4   > P. 1:101(100) ack 1                               // retransmission
        +.010 < .  1:1(0) ack 101""",
    "at once and with the same end": HANDSHAKE + """
        +0    > P. 1:101(100) ack 1
        +0    > P. 1:101(100) ack 1                               // retransmission
        +0    > P. 51:101(50) ack 1                               // retransmission
        +0    > F. 101:101(0) ack 1
        +0    > F. 101:101(0) ack 1                               // retransmission""",
    "FIN repeated": HANDSHAKE + """
        +0    > F. 1:1(0) ack 1
        +.2   > F. 1:1(0) ack 1                                   // retransmission
        +.4   > FP. 1:1(0) ack 1                                  // retransmission""",
    "fast retransmission": FOUR + """
        +.010 < .  1:1(0) ack 101
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +.019 > .  101:201(100) ack 1                             // retransmission fast_retransmission
        +.010 < .  1:1(0) ack 401""",
    "not so fast": FOUR + """
        +.010 < .  1:1(0) ack 101
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +.020 > .  101:201(100) ack 1                             // retransmission
        +0    > .  201:301(100) ack 1                             // retransmission""",
    "one duplicate is too few": FOUR + """
        +.010 < .  1:1(0) ack 101
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +0    > .  101:201(100) ack 1                             // retransmission""",
    "spurious": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +.010 < .  1:1(0) ack 101
        +.2   > .  1:101(100) ack 1                               // retransmission spurious_retransmission
        +0    > .  51:101(50) ack 1                               // retransmission spurious_retransmission
        +0    > .  51:151(100) ack 1                              // retransmission
        +0    > .  51:121(70) ack 1                               // out_of_order""",
    "overtaken": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +0    > .  201:301(100) ack 1                             // lost_segment
        +.009 > .  101:201(100) ack 1                             // out_of_order""",
    "later than the round trip": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +0    > .  201:301(100) ack 1                             // lost_segment
        +.010 > .  101:201(100) ack 1                             // retransmission""",
    "round trip not known": """
        +0    > .  1:101(100) ack 1
        +0    > .  301:401(100) ack 1                             // lost_segment
        +.002999 > . 101:201(100) ack 1                           // out_of_order
        +.000001 > . 201:301(100) ack 1                           // retransmission""",
    "clock set back": HANDSHAKE + """
        .020  > .  1:101(100) ack 1
        .020  > .  201:301(100) ack 1                             // lost_segment
        .019  > .  101:201(100) ack 1                             // retransmission""",
    "clock set back before a fast retransmission": FOUR + """
        .030  < .  1:1(0) ack 101
        .030  < .  1:1(0) ack 101                                 // duplicate_ack
        .030  < .  1:1(0) ack 101                                 // duplicate_ack
        .029  > .  101:201(100) ack 1                             // retransmission""",
    "clock set back in the handshake": """
        .010  > S  0:0(0)
        .010  < S. 0:0(0) ack 1
        .005  > .  1:1(0) ack 1
        +0    > .  101:201(100) ack 1                             // lost_segment
        +9    > .  1:101(100) ack 1                               // out_of_order""",
    "half of all numbers away": HANDSHAKE + """
        +0    > .  2147483649:2147483649(0) ack 1                 // lost_segment
        +0    > .  2147483549:2147483649(100) ack 1               // retransmission spurious_retransmission""",
    "loss before the tap": HANDSHAKE + """
        +0    > .  101:201(100) ack 1                             // lost_segment
        +0    > .  301:301(0) ack 1                               // lost_segment
        +0    > F. 401:401(0) ack 1                               // lost_segment
        +0    > R  501:501(0)""",
    "acknowledged though not captured": HANDSHAKE + """
        +0    < .  1:1(0) ack 101                                 // ack_lost_segment
        +0    < .  1:1(0) ack 101                                 // duplicate_ack
        +0    < .  1:1(0) ack 201
        +0    > .  201:201(0) ack 2                               // lost_segment ack_lost_segment
        +0    < .  1:1(0) ack 301                                 // ack_lost_segment""",
    "a hole acknowledged": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +0    > .  201:301(100) ack 1                             // lost_segment
        +.010 < .  1:1(0) ack 301                                 // ack_lost_segment
        +0    < .  1:1(0) ack 301                                 // duplicate_ack
        +0    > .  301:401(100) ack 1
        +.010 < .  1:1(0) ack 401""",
    "muted duplicates count as two": HANDSHAKE + """
        +0    < .  1:1(0) ack 101                                 // ack_lost_segment
        +0    < .  1:301(300) ack 101
        +0    < .  1:301(300) ack 101                             // retransmission fast_retransmission""",
    "duplicates": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +0    < .  1:1(0) ack 1 win 502                           // window_update
        +0    < .  1:1(0) ack 1 win 502                           // duplicate_ack
        +0    < .  1:1(0) ack 1 win 500                           // window_update
        +0    < .  1:1(0) ack 1 win 500                           // duplicate_ack
        +0    < .  1:11(10) ack 1 win 500
        +0    < .  11:11(0) ack 1 win 500                         // duplicate_ack
        +0    < R. 11:11(0) ack 1 win 500""",
    "keep-alive": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +.010 < .  1:1(0) ack 101
        +9    > .  100:100(0) ack 1                               // keep_alive
        +.010 < .  1:1(0) ack 101                                 // keep_alive_ack
        +9    > .  100:101(1) ack 1                               // keep_alive
        +.010 < .  1:1(0) ack 101                                 // keep_alive_ack
        +.010 < .  1:1(0) ack 101                                 // keep_alive_ack
        +9    > .  100:102(2) ack 1
        +9    > F. 101:101(0) ack 1                               // retransmission""",
    "keep-alive answered by another window": HANDSHAKE + """
        +9    > .  0:0(0) ack 1                                   // keep_alive
        +0    < .  1:1(0) ack 1 win 100                           // window_update
        +9    > .  0:0(0) ack 1                                   // keep_alive
        +0    < .  1:1(0) ack 1 win 0                             // zero_window""",
    "zero window": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +.010 < .  1:1(0) ack 101 win 0                           // zero_window
        +.2   > .  101:102(1) ack 1                               // zero_window_probe
        +.010 < .  1:1(0) ack 101 win 0                           // zero_window zero_window_probe_ack
        +.4   > .  101:102(1) ack 1                               // zero_window_probe
        +.010 < .  1:1(0) ack 101 win 0                           // zero_window zero_window_probe_ack
        +.010 < .  1:1(0) ack 101 win 0                           // zero_window zero_window_probe_ack
        +1    < .  1:1(0) ack 101 win 502                         // window_update
        +0    > .  101:201(100) ack 1
        +0    < F. 1:1(0) ack 201 win 0""",
    "both windows zero": HANDSHAKE + """
        +0    > .  1:1(0) ack 1 win 0                             // zero_window
        +0    < .  1:1(0) ack 1 win 0                             // zero_window
        +0    > .  1:2(1) ack 1 win 0                             // zero_window_probe
        +0    > .  1:3(2) ack 1 win 0                             // zero_window""",
    "a probe taken": HANDSHAKE + """
        +.010 < .  1:1(0) ack 1 win 0                             // zero_window
        +.2   > .  1:2(1) ack 1                                   // zero_window_probe
        +.010 < .  1:1(0) ack 2 win 502                           // ack_lost_segment
        +0    > .  2:102(100) ack 1                               // lost_segment""",
    "what follows up a byte": HANDSHAKE + """
        +0    > .  1:2(1) ack 1
        +.2   > .  1:101(100) ack 1
        +.2   > .  99:201(102) ack 1                              // retransmission""",
    "window full": HANDSHAKE + """
        +0    < .  1:1(0) ack 1 win 2                             // window_update
        +0    > .  1:201(200) ack 1
        +0    > P. 201:257(56) ack 1                              // window_full
        +.2   > P. 201:257(56) ack 1                              // retransmission window_full
        +.2   > FP. 201:257(56) ack 1                             // retransmission""",
    "the window of a SYN-ACK is not scaled": SYN_LINE + """
        +0    < S. 0:0(0) ack 1 win 300 <wscale 7>
        +0    > P. 1:301(300) ack 1                               // window_full
        +0    < .  1:1(0) ack 301 win 1
        +0    > P. 301:429(128) ack 1                             // window_full""",
    "scaling refused": SYN_LINE + """
        +0    < S. 0:0(0) ack 1 win 300
        +0    > .  1:1(0) ack 1 win 300
        +0    < .  1:101(100) ack 1 win 300
        +0    < .  101:301(200) ack 1 win 300                     // window_full
        +0    > .  1:301(300) ack 301 win 300                     // window_full""",
    "scaling not asked for": """
        +0    > S  0:0(0) win 300
        +0    < S. 0:0(0) ack 1 win 300 <wscale 7>
        +0    > .  1:1(0) ack 1 win 300
        +0    < .  1:301(300) ack 1 win 300                       // window_full
        +0    > .  1:301(300) ack 301 win 300                     // window_full""",
    "the largest scale": """
        +0    > S  0:0(0) win 300 <wscale 15>
        +0    < S. 0:0(0) ack 1 win 300 <wscale 0>
        +0    > .  1:1(0) ack 1 win 1
        +0    < .  1:16385(16384) ack 1 win 300                   // window_full""",
    "scale not known": """
        +0    > .  1:1(0) ack 1 win 300
        +0    < .  1:301(300) ack 1 win 300""",
    "begins in the middle": """
        +0    > P. 1:101(100) ack 1
        +.010 < .  1:1(0) ack 101
        +0    < P. 1:301(300) ack 201                             // ack_lost_segment
        +.2   < P. 1:301(300) ack 201                             // retransmission
        +.010 > .  101:101(0) ack 301""",
    "one end only": SYN_LINE + """
        +.010 > .  1:1(0) ack 1
        +0    > .  1:101(100) ack 1
        +.2   > .  1:101(100) ack 1                               // retransmission
        +0    > .  201:301(100) ack 1                             // lost_segment
        +0    > .  301:301(0) ack 51
        +0    > .  301:301(0) ack 51                              // duplicate_ack
        +0    > F. 301:301(0) ack 51
        +0    > .  302:302(0) ack 52""",
    "refused": SYN_LINE + """
        +0    < R. 0:0(0) ack 1
        +1    > S  0:0(0) win 64240 <mss 1460,wscale 7>           // retransmission
        +0    < R. 0:0(0) ack 1""",
    "a RST anywhere, and the SYN again": SYN_LINE + """
        +0    > R  50001:50001(0)
        +1    > S  0:0(0) win 64240 <mss 1460,wscale 7>           // retransmission
        +0    > .  1:101(100) ack 1""",
    "ports reused": HANDSHAKE + """
        +0    > .  1:101(100) ack 1
        +0    > R. 101:101(0) ack 1
        +1    > S  70000:70000(0) win 64240                       // reused_ports
        +.005 < S. 90000:90000(0) ack 70001
        +.005 > .  70001:70001(0) ack 90001
        +0    > .  70001:70101(100) ack 90001""",
    "a SYN-ACK with another number than was acknowledged": SYN_LINE + """
        +0    > .  1:1(0) ack 1
        +0    < S. 1001:1001(0) ack 1                             // reused_ports""",
    "another SYN-ACK": SYN_LINE + """
        +0    < .  301:301(0) ack 501                             // ack_lost_segment
        +0    > R  501:501(0)
        +1    > S  0:0(0) win 64240 <mss 1460,wscale 7>           // retransmission
        +0    < S. 1001:1001(0) ack 1                             // lost_segment reused_ports""",
}  # fmt: skip
ISNS = [(1000, 5000), (2**32 - 50, 2**32 - 50), (2**31 - 50, 2**31 - 50)]


def scripted(name: str, isns: tuple[int, int] = ISNS[0], port: int = 40000) -> Segments:
    """A script's segments; so near to time 0 that its times are exact."""
    return parse(SCRIPTS[name], isns=isns, start=1000, initiator=f"192.168.1.63:{port}", responder="192.168.1.64:9")


def by_hand(name: str) -> list[tuple[str, ...]]:
    """The notes in a script's comments."""
    lines = filter(None, map(str.strip, SCRIPTS[name].splitlines()))
    return [tuple(line.partition("//")[2].split()) for line in lines]


def all_of(segments: Segments) -> Rows:
    """All rows as one conversation."""
    forward = segments.src == segments.src[0]
    ends = [(int(a[0]), int(p[0])) for a, p in ((segments.src, segments.sport), (segments.dst, segments.dport))]
    return Rows(np.arange(len(segments)), forward, ends[0], ends[1])


@pytest.mark.parametrize("isns", ISNS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_notes_are_those_in_the_comments(name: str, isns: tuple[int, int]) -> None:
    segments = scripted(name, isns)
    assert notes(segments, all_of(segments)) == by_hand(name)


def test_every_note_is_in_a_script() -> None:
    assert {note for name in SCRIPTS for line in by_hand(name) for note in line} == set(NAMES)


def test_a_later_conversation_begins_with_reused_ports() -> None:
    """The same whether it is told of the earlier one or shown it."""
    both = scripted("ports reused")
    whole = all_of(both)
    later = replace(whole, rows=whole.rows[5:], forward=whole.forward[5:])
    assert notes(both, later, reused_ports=True) == by_hand("ports reused")[5:]
    assert notes(both, later)[0] == ()


def test_a_scale_that_is_not_shown_is_not_known() -> None:
    rows = [
        {"src": 1, "dst": 2, "flags": SYN, "window": 300},
        {"src": 2, "dst": 1, "flags": SYN | ACK, "window": 300, "ack": 1},
        {"src": 1, "dst": 2, "flags": ACK, "window": 300, "seq": 1, "ack": 1, "length": 300},
    ]
    shown, hidden = from_rows(rows), from_rows(rows, options_shown=False)
    assert notes(shown, all_of(shown))[2] == ("window_full",)
    assert notes(hidden, all_of(hidden))[2] == ()


def test_an_empty_conversation_has_no_notes() -> None:
    segments = from_rows([])
    assert notes(segments, Rows(np.arange(0), np.zeros(0, bool), (1, 1), (2, 2))) == []


class Talk:
    """A random conversation as some tap sees it: what two ends do, in any order, some of it missed or repeated.

    It keeps no rule of TCP for long, but most of its segments begin and acknowledge where they should, so that every
    note comes up, with what Wireshark makes of it afterwards.
    """

    SIZES = (0, 0, 0, 1, 1, 3, 10)
    PAUSES = (0, 1_000, 500_000, 500_000, 2_999_000, 3_000_000, 19_999_000, 20_000_000, 300_000_000)  # ns
    WINDOWS = (1, 3, 5, 10, 20, 100)
    STARTS = (0, 1, 2**31 - 3, 2**31, 2**32 - 1, 2**32 - 4, 2**32 - 20)

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.port = 10_000 + 2 * seed
        self.isns = [self.random.choice([*self.STARTS, self.random.randrange(2**32)]) for _ in range(2)]
        self.next, self.ack, self.window = [*self.isns], [*reversed(self.isns)], [100, 100]
        self.time = 1_700_000_000 * 10**9
        self.scale = self.random.choice([-1, 0, 3])
        self.rows: list[dict[str, int]] = []

    def chance(self, percent: float) -> bool:
        return self.random.random() < percent / 100

    def say(self, end: int, flags: int, seq: int, ack: int, length: int = 0) -> None:
        """One segment, if the tap does not miss it."""
        begin, last = seq % 2**32, (seq + length + (flags & (SYN | FIN) != 0)) % 2**32
        row = {"time": self.time, "seq": begin, "ack": ack % 2**32, "flags": flags, "length": length}
        row |= {"src": 10 + end, "dst": 11 - end, "sport": self.port + end, "dport": self.port + 1 - end}
        row |= {"window": self.window[end], "wscale": self.scale if flags & SYN else -1}
        if not self.chance(3):
            self.rows += [row] * (2 if self.chance(1) else 1)
        if 0 < (last - self.next[end]) % 2**32 < 2**31:
            self.next[end] = last
        self.ack[end] = ack

    def shake_hands(self) -> None:
        self.say(0, SYN, self.isns[0], 0)
        self.say(1, SYN | ACK, self.isns[1], self.next[0])
        self.time += self.random.choice(self.PAUSES)
        self.say(0, ACK, self.next[0], self.next[1])

    def step(self) -> None:
        """Something that an end may do."""
        me = self.random.randrange(2)
        peer = 1 - me
        self.time += self.random.choice(self.PAUSES) if not self.chance(1) else -1_000_000
        length, seq, ack, flags = self.random.choice(self.SIZES), self.next[me], self.ack[me], ACK
        seq += self.random.choices(
            [0, -1, -self.random.randrange(1, 20), self.ack[peer] - seq, self.random.randrange(1, 20)],
            [73, 8, 8, 6, 5],
        )[0]
        ack = self.random.choices(
            [ack, self.next[peer], self.next[peer] + self.random.randrange(1, 10), ack - self.random.randrange(1, 10)],
            [57, 35, 5, 3],
        )[0]
        if self.chance(20):
            self.window[me] = self.random.choice([0, 0, *self.WINDOWS, (self.next[peer] - ack) & 0xFFFF])
        if self.chance(9):
            flags, seq, length = self.random.choice(
                [
                    (ACK | FIN, seq, length),
                    (ACK | RST, seq, length),
                    (RST, seq, 0),
                    (SYN, self.isns[me], 0),
                    (SYN | ACK, self.isns[me], 0),
                    (SYN, seq, 0),
                    (PSH, seq, length),
                ]
            )
        self.say(me, flags, seq, ack, length)

    def segments(self, steps: int) -> Segments:
        """The rows, some of them exchanged: the network, or the tap, reorders."""
        if not self.chance(25):
            self.shake_hands()
        for _ in range(steps):
            self.step()
        for row in range(1, len(self.rows)):
            if self.chance(3):
                times = [self.rows[place]["time"] for place in (row - 1, row)]
                self.rows[row - 1], self.rows[row] = (
                    self.rows[row] | {"time": times[0]}, self.rows[row - 1] | {"time": times[1]},
                )  # fmt: skip
        return from_rows([row | {"frame": frame} for frame, row in enumerate(self.rows, 1)])


def bulk(count: int, acknowledged: int) -> Segments:
    """So many segments with a byte each, a FIN, and again; perhaps an ACK; the FIN twice more, and the last ACK."""
    me = {"src": 10, "dst": 11, "sport": 10 + acknowledged, "dport": 9, "ack": 1, "window": 100}
    peer = {"src": 11, "dst": 10, "sport": 9, "dport": 10 + acknowledged, "seq": 1, "flags": ACK, "window": 100}
    data = [me | {"seq": place, "flags": ACK, "length": 1} for place in range(1, count + 1)]
    fin, last = me | {"seq": count + 1, "flags": FIN | ACK}, me | {"seq": count + 2, "flags": ACK}
    answer = [peer | {"ack": acknowledged}] if acknowledged else []
    rows = [*data, fin, fin, *answer, fin, fin, last]
    return from_rows([row | {"time": 10**12 + place, "frame": place} for place, row in enumerate(rows, 1)])


@pytest.mark.parametrize(
    ("count", "acknowledged", "found"),
    [
        (9_999, 0, ["retransmission", "retransmission", "retransmission", "duplicate_ack"]),
        (10_000, 0, ["lost_segment"]),  # Wireshark remembers no more: to it, the FIN takes no number
        (10_000, 1, ["lost_segment"]),
        (10_000, 2, ["retransmission", "duplicate_ack"]),
        (10_000, 10_001, ["retransmission", "duplicate_ack"]),
    ],
)
def test_a_full_memory(count: int, acknowledged: int, found: list[str]) -> None:
    segments = bulk(count, acknowledged)
    assert [note for line in notes(segments, all_of(segments)) for note in line] == found


@cache
def segments_of(name: str) -> Segments:
    """One of CONVERSATIONS, each at a port of its own."""
    kind, _, which = name.rpartition(", ")
    if kind == "talk":
        return Talk(int(which)).segments(60)
    if kind == "bulk":
        return bulk(10_000, int(which))
    return scripted(kind, ISNS[int(which)], 40000 + CONVERSATIONS.index(name))


CONVERSATIONS = [
    *(f"{name}, {place}" for name in SCRIPTS for place in range(len(ISNS))),
    *(f"talk, {seed}" for seed in range(60)),
    "bulk, 1",
    "bulk, 2",
]


@pytest.fixture(scope="module")
def tsharks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, ...]]]:
    """What tshark says of each of CONVERSATIONS: they go into one capture and one run."""
    if TSHARK is None:
        pytest.skip("tshark is not installed: no second opinion")
    version = subprocess.run([TSHARK, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if " 4.0." not in version.partition("\n")[0]:
        pytest.skip("tshark is not one of 4.0, and may have other rules: no second opinion")
    path = tmp_path_factory.mktemp("notes") / "all.pcap"
    frames = [frame for name in CONVERSATIONS for frame in frames_of(segments_of(name))]
    path.write_bytes(encode(frames, nanoseconds=True))
    fields = [word for name in NAMES for word in ("-e", f"tcp.analysis.{name}")]
    command = [TSHARK, "-r", str(path), "-T", "fields", "-E", "occurrence=f", *fields]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    lines = [tuple(name for name, cell in zip(NAMES, line.split("\t"), strict=True) if cell) for line in said]
    found = {}
    for name in CONVERSATIONS:
        count = len(segments_of(name))
        found[name], lines = lines[:count], lines[count:]
    assert not lines
    return found


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_notes_are_tsharks(name: str, tsharks: dict[str, list[tuple[str, ...]]]) -> None:
    segments = segments_of(name)
    assert notes(segments, all_of(segments)) == tsharks[name]


def test_every_note_is_in_a_talk(tsharks: dict[str, list[tuple[str, ...]]]) -> None:
    talks = (found for name, found in tsharks.items() if name.startswith("talk"))
    assert {note for found in talks for line in found for note in line} == set(NAMES)
