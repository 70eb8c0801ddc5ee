"""What the tests of QEMU machines share: which there are, and fixtures to import."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.image import image, images
from harness.hosts.machines import accelerator, qemu
from harness.waiting import wait_for

SECONDS_EACH = 600  # a deadline: a run without KVM takes half a minute on an idle machine
SECONDS = 500.0


def machines() -> dict[int, list[str]]:
    """QEMU's processes with a machine of ours: pid → command line."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "qemu-system" in words[0] and any(word.startswith("tcp-lab-") for word in words):
            found[int(path.parent.name)] = words
    return found


def wait_until_gone(seconds: float = 15.0) -> dict[int, list[str]]:
    """Wait until there is none any more; what is left at the deadline."""
    deadline = time.monotonic() + seconds
    while (left := machines()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """The image, built once; skips where it cannot be."""
    try:
        qemu()
        image(lambda _: None)
    except HarnessError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def quick(request: pytest.FixtureRequest) -> None:
    """Skips where machines are slow, unless they were asked for: without KVM these tests take six minutes."""
    if not request.config.getoption("--machines") and accelerator(image(lambda _: None), images()) != "kvm":
        pytest.skip("KVM does not work here, and without it this takes minutes: ./invoke test --machines")


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One of these tests at a time on this machine: they look for machines, whosoever these are.

    Machines that the user keeps up are not theirs.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:

        def taken() -> bool:
            try:
                held.bind("\0tcp-lab-tests-of-machines")
            except OSError:
                return False
            return True

        wait_for("the other tests of machines", taken, seconds=SECONDS)
        if machines():
            pytest.skip(
                "virtual machines of this project are up here, which these tests would take for theirs: ./invoke down"
            )
        yield
        assert not wait_until_gone()
