"""What ss(8) and the kernel's trace print, read."""

import random

import pytest

from harness.kernel_states import (
    Clock,
    HostStates,
    SocketState,
    parse_clock,
    parse_samples,
    parse_trace,
    parse_watch,
    rfc_name,
)

SAMPLES = """\
@ 1700000000.250000000
ESTAB     0      0      192.168.1.63:41812 192.168.1.64:22 timer:(keepalive,119min,0)
@ 1700000000.300000000
@ 1700000000.350000000
TIME-WAIT 0      0      192.168.1.63:41812 192.168.1.64:22 timer:(timewait,59sec,0)
"""
EVENT = (
    "  ssh-7 [001] .....  {clock}: inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP "
    "sport={sport} dport={dport} "
    "saddr={saddr} daddr={daddr} saddrv6=::ffff:0 daddrv6=::ffff:0 oldstate=TCP_{old} newstate=TCP_{new}\n"
)
ENDS = ("192.168.1.63", "192.168.1.64")


def event(clock: float, old: str, new: str, *, sport: int = 41812, server: bool = True) -> str:
    ports = (sport, 22) if server else (22, sport)
    saddr, daddr = ENDS if server else ENDS[::-1]
    return EVENT.format(
        clock=f"{clock:.6f}", sport=ports[0], dport=ports[1], saddr=saddr, daddr=daddr, old=old, new=new
    )


def marker(clock: float, wall: int) -> str:
    """What the kernel makes of "wall TIME", written into its trace."""
    return f"         python3-5       [000] ...1. {clock:.6f}: tracing_mark_write: wall {wall}\n"


# Recorded, and shortened: on a host with python3, and on one without.
BY_PYTHON = """\
         python3-2515    [000] ...1. 34888.830465: tracing_mark_write: wall 1795370909528743982
         python3-2515    [000] ...1. 34888.830470: tracing_mark_write: wall 1795370909528781782
         python3-2515    [000] ...1. 34888.830471: tracing_mark_write: wall 1795370909528784287
         python3-2515    [000] ...1. 34888.830474: tracing_mark_write: wall 1795370909528786000
         python3-2515    [000] ...1. 34888.830476: tracing_mark_write: wall 1795370909528788284
         python3-2575    [001] ...1. 34889.372219: tracing_mark_write: wall 1795370910070533455
         python3-2575    [001] ...1. 34889.372222: tracing_mark_write: wall 1795370910070534778
         python3-2575    [001] ...1. 34889.372223: tracing_mark_write: wall 1795370910070536250
"""
BY_DATE = """\
              sh-6818    [000] ...1. 34910.725824: tracing_mark_write: wall 1795370931423944678
              sh-6818    [000] ...1. 34910.726770: tracing_mark_write: wall 1795370931424916178
              sh-6818    [000] ...1. 34910.728942: tracing_mark_write: wall 1795370931425887909
              sh-6869    [001] ...1. 34910.976158: tracing_mark_write: wall 1795370931671534366
              sh-6869    [001] ...1. 34910.977602: tracing_mark_write: wall 1795370931675360497
              sh-6869    [001] ...1. 34910.979621: tracing_mark_write: wall 1795370931676881811
"""
OFFSET = 1795336020.698314  # what hundreds of markers of that hour agree on, to the microsecond

# Told 10 µs before and 10 µs after the first of them: to its clock half a second must be added.
HALF_A_SECOND_ON = marker(10, 1_700_000_010_499_990_000) + marker(10.1, 1_700_000_010_500_010_000)
TRACE = (
    "# tracer: nop\n"
    + HALF_A_SECOND_ON
    + event(10.1, "CLOSE", "SYN_SENT", sport=0)
    + event(10.2, "LISTEN", "SYN_RECV", server=False)
    + event(10.3, "SYN_SENT", "ESTABLISHED")
    + event(10.4, "ESTABLISHED", "FIN_WAIT1")
    + event(10.5, "FIN_WAIT1", "FIN_WAIT2")
    + event(10.6, "FIN_WAIT2", "CLOSE")
)


def test_samples() -> None:
    """A row a socket and look, with the time of the look, the state in RFC 9293's spelling, and the timer."""
    first, second = parse_samples(SAMPLES)
    assert (first.time, first.state, first.timer) == (1700000000.25, "ESTABLISHED", "keepalive,119min,0")
    assert (second.local, second.remote) == ("192.168.1.63:41812", "192.168.1.64:22")
    assert (second.state, second.timer) == ("TIME-WAIT", "timewait,59sec,0")


def test_samples_of_a_host_without_ss() -> None:
    """/proc/net/tcp tells the same: ends, states and TIME-WAIT's timer."""
    text = (
        "@ 1700000000.25\n"
        "   1: 3F01A8C0:C2F8 4001A8C0:0016 01 00000000:00000000 02:000A7B2C 00000000     0        0 4242 2 0 20\n"
        "   2: 3F01A8C0:C2F8 4001A8C0:0016 06 00000000:00000000 03:0000176F 00000000     0        0 0 3 0\n"
    )
    ends = ("192.168.1.63:49912", "192.168.1.64:22")
    assert parse_samples(text) == (
        SocketState(1700000000.25, *ends, "ESTABLISHED"),
        SocketState(1700000000.25, *ends, "TIME-WAIT", "timewait,59sec,0"),
    )


def test_trace() -> None:
    """Every transition of one host's sockets, on the wall clock; SYN-SENT gets the port that is chosen after it."""
    rows = parse_trace(TRACE, "192.168.1.63")
    assert [row.state for row in rows] == ["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSED"]
    assert {row.local for row in rows} == {"192.168.1.63:41812"}
    assert rows[0].time == 1700000010.6
    assert [row.state for row in parse_trace(TRACE, "192.168.1.64")] == ["SYN-RECEIVED"]


def test_a_kernel_that_tells_only_the_end_of_a_handshake() -> None:
    """SYN-RECEIVED is there although its begin is not told (Linux 6.1), and once only where it is."""
    ended = event(10.2, "SYN_RECV", "ESTABLISHED", server=False)
    begun = event(10.1, "LISTEN", "SYN_RECV", server=False)
    for text in (ended, begun + ended):
        states = [row.state for row in parse_trace(text, ENDS[1])]
        assert states == ["SYN-RECEIVED", "ESTABLISHED"]


def test_two_connections_in_one_trace_keep_apart() -> None:
    """Each SYN-SENT without a port goes to the next connection that is established."""
    text = (
        event(1, "CLOSE", "SYN_SENT", sport=0)
        + event(2, "SYN_SENT", "ESTABLISHED", sport=5001)
        + event(3, "CLOSE", "SYN_SENT", sport=0)
        + event(4, "SYN_SENT", "ESTABLISHED", sport=5002)
    )
    rows = parse_trace(text, "192.168.1.63")
    assert [(row.local[-4:], row.state) for row in rows] == [
        ("5001", "SYN-SENT"),
        ("5001", "ESTABLISHED"),
        ("5002", "SYN-SENT"),
        ("5002", "ESTABLISHED"),
    ]


def test_watch_output_with_everything() -> None:
    """Samples, a last look, the trace; and it survives JSON."""
    states = parse_watch(f"{SAMPLES}== ready\n\n== final\n{SAMPLES}== trace\n{TRACE}", "192.168.1.63")
    assert states.samples is not None
    assert states.final is not None
    assert states.trace is not None
    assert (len(states.samples), len(states.final), len(states.trace)) == (2, 2, 5)
    assert states.clock == parse_clock(TRACE) is not None
    document = states.to_json()
    assert set(document["clock"]) == {"offset", "within"}
    assert HostStates.from_json(document) == states


def test_what_was_written_before_clocks_were_measured_is_read() -> None:
    document = HostStates(None, (), ()).to_json()
    del document["clock"]
    assert HostStates.from_json(document) == HostStates(None, (), (), None)


def test_watch_output_of_poor_hosts() -> None:
    """No ss: no samples and no last look, which is not the same as none seen. No tracefs: no trace."""
    assert parse_watch("== ready\n", "192.168.1.63") == HostStates(None, None, None)
    only_trace = parse_watch(f"== ready\n== trace\n{TRACE}", "192.168.1.63")
    assert only_trace.samples is None
    assert only_trace.trace is not None
    nothing_seen = parse_watch("@ 1.5\n== ready\n\n== final\n@ 2.5\n", "192.168.1.63")
    assert nothing_seen == HostStates((), None, ())


def is_clock(clock: Clock | None, offset: float, half: float) -> bool:
    """Whether the offset is in the middle of bounds half of whose width is *half*; printing rounds 2 µs away."""
    assert clock is not None
    return abs(clock.offset - offset) < 1e-6 and abs(clock.within - half - 2e-6) < 1e-9


def test_clock_by_python() -> None:
    """The closest bounds of either end of the run count, and both hold the offset."""
    clock = parse_clock(BY_PYTHON)
    assert clock is not None
    assert clock.offset == pytest.approx(OFFSET, abs=clock.within)
    assert 2e-6 < clock.within < 4e-6


def test_clock_by_date() -> None:
    """Where there is no python3 it takes a process to read the clock: the bounds are wide, and said to be."""
    clock = parse_clock(BY_DATE)
    assert clock is not None
    assert clock.offset == pytest.approx(OFFSET, abs=clock.within)
    assert 0.4e-3 < clock.within < 2e-3


@pytest.mark.parametrize("text", [BY_PYTHON, BY_DATE])
def test_markers_in_any_order(text: str) -> None:
    """Each CPU has its own buffer: lines may stand in another order than they were written in."""
    lines = text.splitlines(keepends=True)
    for seed in range(20):
        random.Random(seed).shuffle(lines)  # noqa: S311 - no secret
        assert parse_clock("# tracer: nop\n" + "".join(lines)) == parse_clock(text)


@pytest.mark.parametrize("missing", range(8))
def test_a_marker_is_missing(missing: int) -> None:
    """The one after the gap still tells a time after the one before it."""
    lines = BY_PYTHON.splitlines(keepends=True)
    clock = parse_clock("".join(lines[:missing] + lines[missing + 1 :]))
    assert clock is not None
    assert clock.offset == pytest.approx(OFFSET, abs=clock.within)
    assert clock.within < 5e-6


@pytest.mark.parametrize("part", [slice(5), slice(5, None)])
def test_one_end_of_the_run_alone(part: slice) -> None:
    """Only the begin's markers, or only the end's: what is there is used."""
    clock = parse_clock("".join(BY_PYTHON.splitlines(keepends=True)[part]))
    assert clock is not None
    assert clock.offset == pytest.approx(OFFSET, abs=clock.within)
    assert clock.within < 5e-6


def test_clocks_that_drift_apart() -> None:
    """At the end 100 µs more: the offset is in the middle, and the drift in `within`."""
    begin = marker(10, 1_700_000_010_000_000_000) + marker(10.000010, 1_700_000_010_000_010_000)
    end = marker(60, 1_700_000_060_000_100_000) + marker(60.000010, 1_700_000_060_000_110_000)
    assert is_clock(parse_clock(begin + end), 1_700_000_000.000055, 55e-6)
    assert is_clock(parse_clock(begin), 1_700_000_000.000005, 5e-6)


def test_a_wall_clock_that_is_set_back() -> None:
    """Bounds that it passed through are none."""
    set_back = marker(10, 1_700_000_010_000_000_000) + marker(11, 1_600_000_000_000_000_000)
    assert parse_clock(set_back) is None
    before = marker(9.999990, 1_700_000_009_999_990_000)
    assert is_clock(parse_clock(before + set_back), 1_700_000_000.000005, 5e-6)


@pytest.mark.parametrize(
    "text",
    ["", "# tracer: nop\n", event(1, "CLOSE", "SYN_SENT"), marker(1, 1_700_000_000), BY_DATE.splitlines()[0]],
)
def test_a_clock_that_nobody_measured(text: str) -> None:
    """One marker says when it was at the latest, which is no measurement; the states are there all the same."""
    assert parse_clock(text) is None
    states = parse_watch(f"== ready\n== trace\n{text}", "192.168.1.63")
    assert states.clock is None
    assert states.trace is not None


def test_markers_without_a_name() -> None:
    """Where the kernel keeps no name of who wrote a marker it prints 0."""
    assert parse_clock(BY_PYTHON.replace("tracing_mark_write", "0")) == parse_clock(BY_PYTHON)


def test_names() -> None:
    """Both tools' spellings."""
    said = {"ESTAB": "ESTABLISHED", "FIN_WAIT1": "FIN-WAIT-1", "FIN-WAIT-1": "FIN-WAIT-1", "CLOSE": "CLOSED"}
    said |= {"SYN_RECV": "SYN-RECEIVED", "LAST_ACK": "LAST-ACK", "UNCONN": "CLOSED", "CLOSE_WAIT": "CLOSE-WAIT"}
    assert {name: rfc_name(name) for name in said} == said
