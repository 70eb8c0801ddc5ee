"""Capturing on a host with tcpdump(1), from "listening on" to counters that agree."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.errors import HarnessError, one_line
from harness.hosts.host import Completed, Host, RemoteProcess, together
from harness.runs import CAPTURE, lost_packets

_COUNTERS = {
    "captured": re.compile(r"(\d+) packets? captured"),
    "received_by_filter": re.compile(r"(\d+) packets? received by filter"),
    "dropped_by_kernel": re.compile(r"(\d+) packets? dropped by kernel"),
    "dropped_by_interface": re.compile(r"(\d+) packets? dropped by interface"),
}


# $1: the run's folder, $2: the file's name in it, then the command. Captures until its input ends, which is also when
# the connection to the host is lost; its status is tcpdump's. The shell opens the file: it is ours and readable though
# tcpdump runs as another user, and tcpdump started as root gives its rights up and could not (tcpdump(1), -Z). Which
# process it is, and since when, is noted in the folder, by which it is found should this shell be killed
# (`harness.hosts.leftovers`). Under sudo it is sudo's child, and some pass on no signal of their own process group.
_CAPTURE = """
PATH=$PATH:/usr/sbin:/sbin
folder=$1 file=$2
shift 2
exec 3<&0
"$@" </dev/null 3<&- >"$folder/$file" &
command=$!
below() {
    echo "$1"
    for stat in /proc/[0-9]*/stat; do
        { read -r pid _ _ parent _ <"$stat"; } 2>/dev/null || continue
        [ "$parent" != "$1" ] || (below "$pid")
    done
}
with=$1
stop() {
    all=$(below "$command")
    kill -TERM "$command" 2>/dev/null
    # shellcheck disable=SC2086
    [ "$with" != sudo ] || sudo -n kill -TERM $all 2>/dev/null
}
{ read -r began <"/proc/$command/stat"; } 2>/dev/null
note() { echo "$command ${20}"; }
# shellcheck disable=SC2086
note ${began##*) } >"$folder/$file.process"
trap stop TERM HUP INT
(trap '' TERM HUP INT; while read -r _ <&3; do :; done; stop) &
reader=$!
exec 3<&-
wait "$command"
status=$?
[ "$status" -lt 128 ] || { wait "$command"; status=$?; } # what was interrupted is only our waiting
kill -KILL "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
exit "$status"
"""


@dataclass(frozen=True, slots=True)
class Tcpdump:
    """A host's tcpdump.

    Attributes:
        prefix: what it is run with, ("sudo", "-n"), where the user may not capture himself.
        immediate: whether it can have packets as they come (--immediate-mode; old ones have no such switch).
        hashes: whether the host has sha256sum(1).
        shared: whether others than the lab may send on its link.
    """

    prefix: tuple[str, ...] = ()
    immediate: bool = True
    hashes: bool = True
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished capture.

    Attributes:
        pcap: the file's bytes, whose SHA-256 equals that of the file on the host.
        sha256: in hex.
        counters: tcpdump's own counters, by name ("captured", "received_by_filter", "dropped_by_kernel"); and
            "left_in_buffer" where it could not have packets as they came, and "before_the_filter" where others send
            on the link, too.
        listing: the capture as this host's own tcpdump -n -S prints it.
    """

    pcap: bytes
    sha256: str
    counters: dict[str, int]
    listing: str

    def disagreement(self) -> str | None:
        """Why this capture is no evidence, if tcpdump's counters say so."""
        return lost_packets(self.counters)


def _frames(pcap: bytes) -> int:
    """How many whole frames a file holds."""
    from harness.captures.reading import read_capture

    try:
        return read_capture(pcap, CAPTURE).frames
    except HarnessError:  # not even its header
        return 0


@dataclass(frozen=True, slots=True)
class Capture:
    """A running capture on a host.

    Attributes:
        host: where it runs.
        command: the tcpdump command line.
        path: the pcap file on the host.
        process: what runs tcpdump until its input ends.
        tool: the host's tcpdump.
    """

    host: Host
    command: tuple[str, ...]
    path: str
    process: RemoteProcess
    tool: Tcpdump = field(default_factory=Tcpdump)

    def so_far(self) -> bytes:
        """The pcap file as it stands (tcpdump -U writes each packet as it comes; the last may be cut)."""
        return self.host.fetch(self.path)

    def _read(self, command: str, *, check: bool = True) -> Completed:
        """Run a command on the host with the file as its input and as its $1."""
        return self.host.shell(f'PATH=$PATH:/usr/sbin:/sbin; exec {command} <"$1"', self.path, check=check)

    def finish(self) -> Captured:
        """Stop tcpdump and fetch the file.

        Where tcpdump could not have packets as they came, the kernel hands them over about once a second, and what came
        after the last time is lost with the buffer: counted as received, not as captured. That is the very end, after
        what was waited for in the file (`so_far`), and is told as "left_in_buffer".

        What others send while tcpdump starts is counted as received, too: libpcap opens its socket first and gives it
        the filter then (pcap-linux.c, set_kernel_filter). It is thrown away, and told as "before_the_filter"; of the
        lab nothing was sent yet. What the kernel had no room for is counted as dropped, here as everywhere.

        Raises:
            HarnessError: tcpdump had ended before, its file does not hold what it counted, or what was fetched is not
                what is on the host.
        """
        if self.process.runs:
            self.process.end_input()
        ended = self.process.wait()
        counters = {
            name: int(found[1]) for name, pattern in _COUNTERS.items() if (found := pattern.search(ended.stderr))
        }
        if ended.status != 0:
            said = one_line(ended.stderr) or "nothing"
            raise HarnessError(
                f"{self.host.role}: tcpdump ended with status {ended.status} during the capture; it said: {said}"
            )
        besides = "left_in_buffer" if not self.tool.immediate else "before_the_filter" if self.tool.shared else None
        if besides and {"captured", "received_by_filter"} <= counters.keys():
            counters[besides] = max(0, counters["received_by_filter"] - counters["captured"])
        (fetched, told), listed = together(
            lambda: (self._read("cat"), self._read("sha256sum" if self.tool.hashes else "wc -c")),
            lambda: self._read("tcpdump -n -S -r -", check=False),
        )
        pcap = fetched.stdout
        digest = hashlib.sha256(pcap).hexdigest()
        name, ours = ("SHA-256", digest) if self.tool.hashes else ("size", str(len(pcap)))
        theirs = told.text.split()[:1]
        if theirs != [ours]:
            raise HarnessError(
                f"{self.host.role}: the fetched capture's {name} is {ours}, the host's file has "
                f"{' '.join(theirs) or 'none'}: the transfer is not whole, run again"
            )
        captured, held = counters.get("captured"), _frames(pcap)
        if captured is not None and captured != held:  # tcpdump does not look whether it could write
            raise HarnessError(
                f"{self.host.role}: tcpdump captured {captured} packets, but its file holds {held}; is the disk full? "
                f"{self._disk()}"
            )
        if listed.status:
            raise HarnessError(f"{self.host.role}: tcpdump cannot read its own file: {one_line(listed.stderr)}")
        return Captured(pcap, digest, counters, listed.text)

    def _disk(self) -> str:
        """How full the disk with the file is, as df(1) says."""
        last = self._read('df "$1" 2>&1', check=False).text.strip().splitlines()[-1:]
        return one_line(" ".join(last))


@contextmanager
def capturing(
    host: Host, directory: str, expression: str, tool: Tcpdump = Tcpdump(), *, file: str = CAPTURE
) -> Iterator[Capture]:
    """Capture on the host's lab interface while the block runs; it has begun when the block is entered.

    Args:
        host: where to capture.
        directory: a folder on that host for the file.
        expression: the capture filter (pcap-filter(7)).
        tool: the host's tcpdump.
        file: the file's name in the folder.
    """
    command = (
        *tool.prefix,
        "tcpdump",
        "-i",
        host.entry.interface,
        "-n",
        "-S",
        *(("--immediate-mode",) if tool.immediate else ()),
        "-U",
        "-w",
        "-",
        expression,
    )
    with host.start("sh", "-c", _CAPTURE, "sh", directory, file, *command) as process:
        try:
            process.wait_for_output("it listened", "listening on", "stderr")
            yield Capture(host, command, f"{directory}/{file}", process, tool)
        finally:
            with suppress(HarnessError):  # it ends when the connection does
                process.end_input()
