"""What the live tests share: the front door, a testbed, a deadline for each test, and a look at what is left."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

import pytest

from harness.errors import HarnessError
from harness.hosts.embedded import embedded, holding_nothing
from harness.hosts.host import Testbed
from harness.inventory import Inventory, load_inventory
from tests.live.sites import Site, opened_site
from tests.live.watching import ROOT, Finished, Invocation, Watch

DEADLINE = 100


class Lab(Protocol):
    """Starts ./invoke; see `Invocation`."""

    def __call__(
        self,
        *arguments: str | Path,
        patch: str | None = None,
        prefix: tuple[str, ...] = (),
        home: Path | None = None,
    ) -> Invocation:
        """Start it."""


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test hangs; a module whose tests take longer says how long in SECONDS_EACH."""
    seconds = getattr(request.module, "SECONDS_EACH", DEADLINE)

    def late(_number: int, _frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"the test did not end in {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _machine() -> dict[str, list[str]]:
    """What a testbed must not change on the machine itself."""
    return {
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "namespaces": sorted(str(path) for path in Path("/run/netns").glob("*")),
        "files": sorted(str(path) for path in Path("/tmp").glob("tcp-lab-*")),
    }


@pytest.fixture(scope="session", autouse=True)
def _machine_stays_as_it_is() -> Iterator[None]:
    before = _machine()
    yield
    assert _machine() == before


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip where this user may not make namespaces."""
    try:
        holding_nothing()
    except HarnessError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def root() -> None:
    """Skip without root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Recognises what a test starts; nothing of it may be there afterwards."""
    made = Watch()
    yield made
    left, traces = made.look(), made.left_traces()
    deadline = time.monotonic() + 3  # a watcher that is looked at takes its trace away a moment later
    while traces and time.monotonic() < deadline:
        time.sleep(0.05)
        traces = made.left_traces()
    made.close()
    assert not left
    assert not traces


@pytest.fixture
def start(watch: Watch) -> Iterator[Lab]:
    """Start ./invoke."""
    with ExitStack() as stack:

        def launch(
            *arguments: str | Path,
            patch: str | None = None,
            prefix: tuple[str, ...] = (),
            home: Path | None = None,
        ) -> Invocation:
            return stack.enter_context(Invocation(*arguments, watch=watch, patch=patch, prefix=prefix, home=home))

        yield launch


@pytest.fixture
def run(start: Lab) -> Callable[..., Finished]:
    """Run ./invoke to its end."""

    def to_its_end(*arguments: str | Path, patch: str | None = None, prefix: tuple[str, ...] = ()) -> Finished:
        return start(*arguments, patch=patch, prefix=prefix).finish()

    return to_its_end


@pytest.fixture(scope="session")
def inventory() -> Inventory:
    """The inventory as it is shipped."""
    return load_inventory(ROOT / "inventory.yaml")


@pytest.fixture
def testbed(inventory: Inventory, watch: Watch, monkeypatch: pytest.MonkeyPatch, namespaces: None) -> Iterator[Testbed]:
    """An embedded testbed, made for one test."""
    assert namespaces is None
    monkeypatch.setenv("PATH", watch.path)
    with embedded(inventory) as made:
        watch.look()
        yield made


@pytest.fixture
def site(
    inventory: Inventory, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespaces: None
) -> Iterator[Site]:
    """Two machines that exist already."""
    assert namespaces is None
    monkeypatch.setenv("PATH", watch.path)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with opened_site(inventory, tmp_path / "site") as made:
        watch.look()
        yield made
