"""What one writes with dpkt to know a capture's conversations: a loop and a dict.

.venv/bin/python benchmarks/with_dpkt.py FILE
"""

import sys
from pathlib import Path
from typing import BinaryIO

import dpkt  # type: ignore[import-untyped]

End = tuple[bytes, int]
Flow = list[int]  # packets, payload bytes, flags seen, packets that are not next in order, next numbers of both ends


def count(flow: Flow, end: int, seq: int, flags: int, length: int) -> None:
    """Enter one more packet, sent by end 0 or 1, into its conversation."""
    flow[0] += 1
    flow[1] += length
    flow[2] |= flags
    flow[3] += flow[4 + end] not in {-1, seq}
    flow[4 + end] = (seq + length + (flags & 1) + (flags >> 1 & 1)) % (1 << 32)


def flows(file: BinaryIO) -> dict[tuple[End, End], Flow]:
    """The TCP/IPv4 conversations of a pcap file."""
    found: dict[tuple[End, End], Flow] = {}
    for _, frame in dpkt.pcap.Reader(file):
        ip = dpkt.ethernet.Ethernet(frame).data
        if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.tcp.TCP):
            continue
        tcp = ip.data
        source, target = (ip.src, tcp.sport), (ip.dst, tcp.dport)
        key = (source, target) if source < target else (target, source)
        flow = found.setdefault(key, [0, 0, 0, 0, -1, -1])
        count(flow, int(key[0] is target), tcp.seq, tcp.flags, len(tcp.data))
    return found


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as capture:
        all_flows = flows(capture)
    sys.stdout.write(f"{sum(flow[0] for flow in all_flows.values())} packets in {len(all_flows)} conversations\n")
