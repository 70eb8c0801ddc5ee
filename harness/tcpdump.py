"""Capturing on a host with tcpdump(1), from "listening on" to counters that agree."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError, one_line
from harness.hosts.host import Completed, Host, RemoteProcess, together
from harness.runs import lost_packets

_COUNTERS = {
    "captured": re.compile(r"(\d+) packets? captured"),
    "received_by_filter": re.compile(r"(\d+) packets? received by filter"),
    "dropped_by_kernel": re.compile(r"(\d+) packets? dropped by kernel"),
    "dropped_by_interface": re.compile(r"(\d+) packets? dropped by interface"),
}


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished capture.

    Attributes:
        pcap: the file's bytes, whose SHA-256 equals that of the file on the host.
        sha256: in hex.
        counters: tcpdump's own counters, by name ("captured", "received_by_filter", "dropped_by_kernel").
        listing: the capture as this host's own tcpdump -n -S prints it.
    """

    pcap: bytes
    sha256: str
    counters: dict[str, int]
    listing: str

    def disagreement(self) -> str | None:
        """Why this capture is no evidence, if tcpdump's counters say so."""
        return lost_packets(self.counters)


@dataclass(frozen=True, slots=True)
class Capture:
    """A running capture on a host.

    Attributes:
        host: where it runs.
        command: the tcpdump command line.
        path: the pcap file on the host.
        process: tcpdump.
    """

    host: Host
    command: tuple[str, ...]
    path: str
    process: RemoteProcess

    def so_far(self) -> bytes:
        """The pcap file as it stands (tcpdump -U writes each packet as it comes; the last may be cut)."""
        return self.host.fetch(self.path)

    def _read(self, command: str) -> Completed:
        """Run a command on the host with the file as its input."""
        return self.host.shell(f'exec {command} <"$1"', self.path)

    def finish(self) -> Captured:
        """Stop tcpdump by its pid and fetch the file.

        Raises:
            HarnessError: tcpdump had ended before, or what was fetched is not what is on the host.
        """
        ended = self.process.stop("INT")
        counters = {
            name: int(found[1]) for name, pattern in _COUNTERS.items() if (found := pattern.search(ended.stderr))
        }
        if ended.status != 0:
            said = one_line(ended.stderr) or "nothing"
            raise HarnessError(
                f"{self.host.role}: tcpdump ended with status {ended.status} during the capture; it said: {said}"
            )
        (fetched, hashed), listed = together(
            lambda: (self._read("cat"), self._read("sha256sum")),
            lambda: self._read("tcpdump -n -S -r -"),
        )
        pcap = fetched.stdout
        ours, theirs = hashlib.sha256(pcap).hexdigest(), hashed.text.split()[:1]
        if theirs != [ours]:
            raise HarnessError(
                f"{self.host.role}: the fetched capture's SHA-256 is {ours}, the host's file has "
                f"{' '.join(theirs) or 'none'}: the transfer is not whole, run again"
            )
        return Captured(pcap, ours, counters, listed.text)


@contextmanager
def capturing(host: Host, directory: str, expression: str) -> Iterator[Capture]:
    """Capture on the host's lab interface while the block runs; it has begun when the block is entered.

    Args:
        host: where to capture.
        directory: a folder on that host for the file.
        expression: the capture filter (pcap-filter(7)).
    """
    command = (
        "tcpdump",
        "-i",
        host.entry.interface,
        "-n",
        "-S",
        "--immediate-mode",
        "-U",
        "-w",
        "-",
        expression,
    )
    path = f"{directory}/capture.pcap"
    # The shell opens the file: tcpdump started as root gives its rights up and could not (tcpdump(1), -Z).
    with host.start("sh", "-c", 'file=$1; shift; exec "$@" >"$file"', "sh", path, *command) as process:
        process.wait_for_output("it listened", "listening on", "stderr")
        yield Capture(host, command, path, process)
