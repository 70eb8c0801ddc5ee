"""Read a capture file, whatever wrote it: pcap, pcapng, gzip of either, or tcpdump's text."""

from dataclasses import replace
from pathlib import Path

from harness.captures.capture import Capture
from harness.captures.gzipped import gunzip, is_gzip
from harness.captures.pcap import is_pcap, read_pcap
from harness.captures.pcapng import is_pcapng, read_pcapng
from harness.captures.text import is_listing, read_listing
from harness.errors import HarnessError

MAX_BYTES = 1 << 30

# What tells a format by its first bytes, and what reads it; a listing has no mark of its own, so it is asked last.
_READERS = ((is_pcap, read_pcap), (is_pcapng, read_pcapng), (is_listing, read_listing))


def read_capture(data: bytes, name: str) -> Capture:
    """Read a capture from the bytes of its file; *name* is for messages.

    Raises:
        HarnessError: it is empty, not a capture, or too large when decompressed.
    """
    if not data:
        raise HarnessError(f"{name}: the capture file is empty; was tcpdump started with -w and stopped in order?")
    damage: str | None = None
    if is_gzip(data):
        data, damage = gunzip(data, name, MAX_BYTES)
    for recognises, read in _READERS:
        if recognises(data):
            capture = read(data, name)
            return replace(capture, damage=damage) if damage else capture
    raise HarnessError(
        f"{name}: not a pcap file (it begins with {data[:4].hex(' ')}), nor pcapng or tcpdump's text; "
        "write it with tcpdump -w"
    )


def load_capture(path: Path) -> Capture:
    """Read a whole, undamaged capture that holds TCP, to be judged.

    Raises:
        HarnessError: one line: no such file, empty, not a capture, damaged, or without TCP.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise HarnessError(f"{path}: larger than {MAX_BYTES >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot read the capture: {error.strerror}") from None
    capture = read_capture(data, str(path))
    if capture.damage:
        raise HarnessError(f"{path}: {capture.damage}; fetch the file again, or stop tcpdump in order")
    if not len(capture.segments):
        raise HarnessError(
            f"{path}: no TCP segment in its {capture.frames} frames; capture with the filter 'tcp port 22'"
        )
    return capture
