"""Building the machine image ahead of its first use."""

from harness.cli import progress, say
from harness.hosts.image import Image, cached, image


def _size(made: Image) -> int:
    """What the image takes on this machine's disk, in bytes: holes take nothing."""
    return sum(path.stat().st_blocks * 512 for path in (made.disk, made.kernel, made.initrd))


def vm_build() -> int:
    """Build the image if it is missing, and say where it is and how big; returns 0.

    Raises:
        HarnessError: it cannot be built here; one line with the mend.
    """
    found = cached()
    if found:
        made = found
    else:
        with progress(quiet=False) as announce:
            made = image(announce)
    say(
        f"the machine image is {'there already' if found else 'built'}: {made.disk.parent} ({_size(made) / 1e6:.0f} MB)"
    )
    return 0
