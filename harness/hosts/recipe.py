"""What the machine image is made of: a recipe, whose digest names the image."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import HarnessError, one_line

SUITE = "bookworm"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's word: Debian's
PACKAGES = (
    *("openssh-server", "openssh-client", "tcpdump", "iproute2", "nftables", "python3", "ethtool", "procps"),
    *("mount", "kmod", "tiny-initramfs"),
)
SKIPPED = tuple(f"/usr/share/{name}/*" for name in ("doc", "info", "locale", "man"))
# Whatever is built in is left out; ext4 is. Without this the initrd would suit the machine that builds.
INITRD_HOOK = """
mkdir -p "$1/etc/tiny-initramfs"
cat >"$1/etc/tiny-initramfs/tiny-initramfs.conf" <<END
AUTO_MODULES=no
MICROCODE=no
INCLUDE_MODULES=virtio_blk,virtio_pci,virtio_mmio
END
"""
GUEST = Path(__file__).with_name("guest")
FILES = ("disk.ext4", "kernel", "initrd")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that makes the image what it is, but for the packages' versions, which are the mirror's newest.

    Attributes:
        suite: Debian's release.
        architecture: in Debian's words.
        packages: what is installed, besides the essential packages.
        files: the text of the guest's own files, by name.
        options: mmdebstrap's.
    """

    suite: str
    architecture: str
    packages: tuple[str, ...]
    files: dict[str, str]
    options: tuple[str, ...]

    def digest(self) -> str:
        """SHA-256 of the recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def recipe(machine: str | None = None) -> Recipe:
    """The recipe for a machine.

    Args:
        machine: its architecture as uname(1) -m says it; None for this one.

    Raises:
        HarnessError: no image is made for that architecture.
    """
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise HarnessError(f"image: machines are made for {known}, not for {one_line(machine, 40)}")
    architecture = ARCHITECTURES[machine]
    return Recipe(
        SUITE,
        architecture,
        (*PACKAGES, f"linux-image-cloud-{architecture}"),
        {name: (GUEST / name).read_text(encoding="utf-8") for name in ("lab-init", "pack")},
        (
            "--variant=essential",
            "--skip=cleanup",  # the root is not kept; guest/pack has taken out of the disk what it should not have
            "--dpkgopt=force-unsafe-io",  # a build that is cut short is thrown away, not repaired
            *(f"--dpkgopt=path-exclude={path}" for path in SKIPPED),
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",  # instead of usrmerge, which wants all of Perl
            f"--essential-hook={INITRD_HOOK}",
        ),
    )
