"""The machine image: a small Debian that boots in a virtual machine, made once and kept.

It stands in a folder that is named by the digest of its recipe: a changed recipe is another image, and what stands
there is whole. `guest/lab-init` is process 1 of the machine. The image holds no key of anybody; those of a testbed come
on a second disk.
"""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.announcing import Announce
from harness.errors import HarnessError
from harness.hosts.debian import BUILD_SECONDS, build, check_space, mode_here
from harness.hosts.recipe import FILES, recipe
from harness.waiting import wait_for

UNUSED_SECONDS = 30 * 86400.0  # after which an image of another recipe goes, when a new one is built


@dataclass(frozen=True, slots=True)
class Image:
    """A machine's disk and what boots it.

    Attributes:
        disk: an ext4 file system, sparse; machines share it, so each must keep its changes elsewhere.
        kernel: for QEMU's -kernel.
        initrd: for QEMU's -initrd.
        digest: SHA-256 of the recipe.
    """

    disk: Path
    kernel: Path
    initrd: Path
    digest: str


def images() -> Path:
    """The folder of all images (XDG Base Directory Specification: a relative path is ignored)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "tcp-lab" / "images"


def cached() -> Image | None:
    """The image, if it has been built.

    Raises:
        HarnessError: no image is made for this architecture.
    """
    digest = recipe().digest()
    folder = images() / digest
    disk, kernel, initrd = (folder / name for name in FILES)
    return Image(disk, kernel, initrd, digest) if folder.is_dir() else None


def image(announce: Announce) -> Image:
    """The image, built if it is missing: about a minute, and a network for it.

    Args:
        announce: called with the name of each step as it begins.

    Raises:
        HarnessError: it cannot be built here; one line with the mend.
    """
    if found := cached():
        with suppress(OSError):  # a cache that is only to be read
            os.utime(found.disk.parent)
        return found
    made = recipe()
    mode = mode_here()
    folder = images()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / "lock", announce):
            if found := cached():  # by the other build that we waited for
                return found
            for path in folder.glob("*.partial"):
                shutil.rmtree(path)
            check_space(folder)
            partial = folder / f"{made.digest()}.partial"
            partial.mkdir()
            build(made, mode, partial, announce)
            partial.rename(folder / made.digest())
            _forget(folder, time.time() - UNUSED_SECONDS)
    except OSError as error:
        raise HarnessError(f"image: {error.filename or folder}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise HarnessError(f"image: unpacking the disk in {folder} did not end; is that disk alive?") from None
    found = cached()
    assert found  # noqa: S101 - it has just been put there
    return found


def _forget(folder: Path, since: float) -> None:
    """Remove images of other recipes that were not used since then; machines that run keep theirs open."""
    for path in folder.iterdir():
        if re.fullmatch("[0-9a-f]{64}", path.name) and path.stat().st_mtime < since:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _alone(path: Path, announce: Announce) -> Iterator[None]:
    """One build at a time; the lock goes with the process, however that ends."""
    with path.open("a") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not taken():
            announce("waiting for another build of the image")
            wait_for(f"another build of the image to end ({path})", taken, seconds=BUILD_SECONDS)
        yield
