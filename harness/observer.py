"""Watch the kernel's socket states on both hosts during a run.

Sampled with ss(8), or from /proc/net/tcp (proc(5)) where there is no ss; and traced where the kernel's own trace may be
read: tracefs, event sock/inet_sock_set_state (Linux ≥ 4.16), in an instance of our own. The trace has every transition;
samples see what lasted long enough.

The trace runs on a clock of its own. What must be added to it is measured: markers in the trace tell the wall clock,
some before the experiment and some after it (see `harness.kernel_states.parse_clock`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.hosts.host import Host, RemoteProcess, Testbed, together
from harness.kernel_states import SAMPLE_SECONDS, HostStates, parse_samples, parse_watch

# One process a host: traces and samples until its input ends, then looks once more and prints the trace.
_WATCH = """
PATH=$PATH:/usr/sbin:/sbin
instance=/sys/kernel/tracing/instances/$1 here=$2 there=$3 low=$4 high=$5 pause=$6
sampler='' marking='' told=''
# Some have no nanoseconds in date(1): then the trace's clock is not measured. Some have no fractions in sleep(1).
case $(date +%N) in '' | *[!0-9]*) fraction=000000000 ;; *) fraction=%N ;; esac
# They end the readings below, and nothing else: what was made is taken away in any case, but nobody looks once more, or
# listens: dash ends where it cannot write a message.
trap 'exec 2>/dev/null; told=yes; [ -z "$marking" ] || kill "$marking"' TERM HUP INT PIPE
mark() { # now, and when the input ends; each marker tells the time just before it, the next one a time just after it
    command -v python3 >/dev/null && exec python3 -I -S -c '
import os, time
now = getattr(time, "time_ns", lambda: int(time.time() * 1e9)) # it came with Python 3.7
marker = os.open("trace_marker", os.O_WRONLY)
for _ in range(2):
    for _ in range(21):
        os.write(marker, b"wall %d" % now())
    while os.read(0, 99):
        pass
'
    [ "$fraction" = %N ] || return
    for _ in 1 2; do
        for _ in 1 2 3 4 5 6 7 8 9; do echo "wall $(date +%s%N)"; done >trace_marker
        while read -r _; do :; done
    done
} 2>/dev/null
if mkdir "$instance" 2>/dev/null; then
    cd "$instance"
    # While it is open nobody else can remove the instance: one that can be removed is a dead run's.
    exec 9<trace_clock
    # As the wall clock it is the same on all CPUs, and NTP makes both faster or slower alike; "local" is neither.
    { echo mono >trace_clock; } 2>/dev/null
    ours="(sport >= $low && sport <= $high) || (dport >= $low && dport <= $high)"
    echo "$ours" >events/sock/inet_sock_set_state/filter &&
        echo 1 >events/sock/inet_sock_set_state/enable || { exec 9<&- && cd / && rmdir "$instance"; }
fi
if [ -d "$instance" ]; then
    { mark <&3 9<&- & } 3<&0
    marking=$!
fi
if command -v ss >/dev/null 2>&1; then
    look() { echo "@ $(date +%s.$fraction)" && ss -H -t -a -n -o "src $here and dst $there"; }
elif [ -r /proc/net/tcp ]; then # the same, less readable: addresses are hexadecimal, their last byte first
    hexadecimal() { IFS=. && set -- $1 && printf "%02X%02X%02X%02X" "$4" "$3" "$2" "$1"; }
    there=$(hexadecimal "$there")
    look() { echo "@ $(date +%s.$fraction)" && { grep " $there:" /proc/net/tcp || true; }; }
fi
if [ -n "$there" ] && command -v look >/dev/null; then
    # With a trap it ends between two looks: an ss that is left alone would write into what follows.
    (trap 'exit 0' TERM; while look; do { sleep "$pause" 2>/dev/null || exec sleep 1; } & wait $!; done) 9<&- &
    sampler=$!
fi
echo "== ready"
while read -r _; do :; done
trap '' TERM HUP INT PIPE # for rmdir too
if [ -n "$sampler" ]; then
    kill "$sampler"
    wait "$sampler" 2>/dev/null
    [ -n "$told" ] || { echo && echo "== final" && look; }
fi
if [ -n "$marking" ]; then
    wait "$marking"
    [ -n "$told" ] || { echo "== trace" && cat trace; }
    exec 9<&-
    cd /
    for _ in 1 2 3 4 5 6 7 8 9; do # whoever is looking at it keeps it for a moment
        { rmdir "$instance" || [ ! -d "$instance" ]; } 2>/dev/null && break
        sleep 0.1
    done
fi
exit 0
"""


class Observer:
    """Watches both hosts' sockets while its block runs."""

    def __init__(self, watching: dict[Host, RemoteProcess]) -> None:
        self._watching = watching

    def settled(self, one: str, other: str) -> bool:
        """Whether no host still waited for anything of a connection when it was last looked; True if nobody looks.

        Args:
            one: an end of it, "IP:PORT".
            other: its other end.
        """
        for process in self._watching.values():
            *_, last, _unfinished = "", *process.output().split("@ ")
            for socket in parse_samples(f"@ {last}"):
                if {socket.local, socket.remote} == {one, other} and socket.state != "TIME-WAIT":
                    return False
        return True

    def finish(self) -> dict[str, HostStates]:
        """Look once more, stop, and return what each host's kernel said, by role."""
        for process in self._watching.values():
            process.end_input()
        return {
            host.role: parse_watch(process.wait().text, host.entry.address) for host, process in self._watching.items()
        }


@contextmanager
def observing(testbed: Testbed, run_id: str, ports: tuple[int, int] | None = None) -> Iterator[Observer]:
    """Watch the kernel's socket states on both hosts while the block runs; it has begun when the block is entered.

    Args:
        testbed: the two hosts.
        run_id: names the run on both.
        ports: the lowest and the highest that either end may have; None: the ssh port.

    Raises:
        HarnessError: a host was lost.
    """
    low, high = map(str, ports or (testbed.client.entry.port,) * 2)
    with ExitStack() as stack:

        def watch(host: Host, peer: Host) -> RemoteProcess:
            name = f"tcp-lab-{run_id}-{host.role}"
            addresses = (host.entry.address, peer.entry.address)
            script = ("sh", "-c", _WATCH, "sh", name, *addresses, low, high, str(SAMPLE_SECONDS))
            process = stack.enter_context(host.start(*script))
            process.wait_for_output("it watched the sockets", "== ready")
            return process

        server, client = testbed.hosts
        watching = together(lambda: watch(server, client), lambda: watch(client, server))
        yield Observer(dict(zip(testbed.hosts, watching, strict=True)))
