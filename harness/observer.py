"""Watch the kernel's socket states on both hosts during a run.

Sampled with ss(8), and traced where the kernel's own trace may be read: tracefs, event sock/inet_sock_set_state (Linux
≥ 4.16), in an instance of our own. The trace has every transition; samples see what lasted long enough.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.hosts.host import Host, RemoteProcess, Testbed, together
from harness.kernel_states import HostStates, parse_watch

# One process a host: traces and samples until its input ends, then looks once more and prints the trace.
_WATCH = """
PATH=$PATH:/usr/sbin:/sbin
instance=/sys/kernel/tracing/instances/$1 here=$2 there=$3 low=$4 high=$5
sampler=
trap : TERM HUP INT PIPE # they end the reading below, and nothing else: what was made is taken away in any case
if mkdir "$instance" 2>/dev/null; then
    cd "$instance"
    ours="(sport >= $low && sport <= $high) || (dport >= $low && dport <= $high)"
    echo "$ours" >events/sock/inet_sock_set_state/filter &&
        echo 1 >events/sock/inet_sock_set_state/enable && echo "wall $(date +%s.%N)" >trace_marker ||
        { cd / && rmdir "$instance"; }
fi
look() { echo "@ $(date +%s.%N)" && ss -H -t -a -n -o "src $here and dst $there"; }
if command -v ss >/dev/null 2>&1; then
    # With a trap it ends between two looks: an ss that is left alone would write into what follows.
    (trap 'exit 0' TERM; while look; do sleep 0.05 & wait $!; done) &
    sampler=$!
fi
echo "== ready"
while read -r _; do :; done
trap '' TERM HUP INT PIPE # for rmdir too
if [ -n "$sampler" ]; then
    kill "$sampler"
    wait "$sampler" 2>/dev/null
    echo && echo "== final" && look
fi
if [ -d "$instance" ]; then
    echo "== trace" && cat trace
    cd / && rmdir "$instance"
fi
exit 0
"""


class Observer:
    """Watches both hosts' sockets while its block runs."""

    def __init__(self, watching: dict[Host, RemoteProcess]) -> None:
        self._watching = watching

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
            script = ("sh", "-c", _WATCH, "sh", name, host.entry.address, peer.entry.address, low, high)
            process = stack.enter_context(host.start(*script))
            process.wait_for_output("it watched the sockets", "== ready")
            return process

        server, client = testbed.hosts
        watching = together(lambda: watch(server, client), lambda: watch(client, server))
        yield Observer(dict(zip(testbed.hosts, watching, strict=True)))
