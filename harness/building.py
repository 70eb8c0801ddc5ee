"""Building the machine image ahead of its first use."""

from harness.cli import progress, say
from harness.hosts.image import Image, cached, image
from harness.language import _


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
    told = (
        _("the machine image is there already: {path} ({size} MB)")
        if found
        else _("the machine image is built: {path} ({size} MB)")
    )
    say(told.format(path=made.disk.parent, size=f"{_size(made) / 1e6:.0f}"))
    return 0
