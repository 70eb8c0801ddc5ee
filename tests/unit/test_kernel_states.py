"""What ss(8) and the kernel's trace print, read."""

from harness.kernel_states import HostStates, parse_samples, parse_trace, parse_watch, rfc_name

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


TRACE = (
    "# tracer: nop\n"
    "   sh-5 [000] ...1.  10.000000: tracing_mark_write: wall 1700000010.5\n"
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


def test_trace() -> None:
    """Every transition of one host's sockets, on the wall clock; SYN-SENT gets the port that is chosen after it."""
    rows = parse_trace(TRACE, "192.168.1.63")
    assert [row.state for row in rows] == ["SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSED"]
    assert {row.local for row in rows} == {"192.168.1.63:41812"}
    assert rows[0].time == 1700000010.6
    assert [row.state for row in parse_trace(TRACE, "192.168.1.64")] == ["SYN-RECEIVED"]


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
    assert HostStates.from_json(states.to_json()) == states


def test_watch_output_of_poor_hosts() -> None:
    """No ss: no samples and no last look, which is not the same as none seen. No tracefs: no trace."""
    assert parse_watch("== ready\n", "192.168.1.63") == HostStates(None, None, None)
    only_trace = parse_watch(f"== ready\n== trace\n{TRACE}", "192.168.1.63")
    assert only_trace.samples is None
    assert only_trace.trace is not None
    nothing_seen = parse_watch("@ 1.5\n== ready\n\n== final\n@ 2.5\n", "192.168.1.63")
    assert nothing_seen == HostStates((), None, ())


def test_names() -> None:
    """Both tools' spellings."""
    said = {"ESTAB": "ESTABLISHED", "FIN_WAIT1": "FIN-WAIT-1", "FIN-WAIT-1": "FIN-WAIT-1", "CLOSE": "CLOSED"}
    said |= {"SYN_RECV": "SYN-RECEIVED", "LAST_ACK": "LAST-ACK", "UNCONN": "CLOSED", "CLOSE_WAIT": "CLOSE-WAIT"}
    assert {name: rfc_name(name) for name in said} == said
