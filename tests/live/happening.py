"""An experiment in which something happens to its hosts at a step of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.announcing import Announce, quietly
from harness.experiment import Experiment
from harness.grading.results import Results
from harness.hosts import testbeds
from harness.hosts.host import Testbed
from harness.inventory import Inventory
from harness.lab import experiment_of, run_into
from harness.runs import new_run_folder

CHECK, LISTEN, OPEN, CLOSE, STOP = (
    "check both hosts",
    "start tcpdump on the server host",
    "open ssh from server to client",
    "close it",
    "stop tcpdump, fetch the capture",
)
Happening = Callable[[Testbed], object]
PATH = "PATH=$PATH:/usr/sbin:/sbin\n"


def on(role: str, script: str) -> Happening:
    """A shell script on a host."""
    return lambda testbed: getattr(testbed, role).shell(PATH + script)


def on_both(script: str) -> Happening:
    """The same on both."""
    return lambda testbed: [host.shell(PATH + script) for host in testbed.hosts]


class Rig:
    """Runs labs on a provider's hosts, and lets things happen as steps begin."""

    def __init__(self, inventory: Inventory, folder: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
        self.folder = folder
        self._inventory, self._provider = inventory, provider
        self._testbeds: list[Testbed] = []
        whole = testbeds.PROVIDERS[provider]

        @contextmanager
        def caught(inventory: Inventory, banner: str | None = None, announce: Announce = quietly) -> Iterator[Testbed]:
            with whole(inventory, banner, announce) as testbed:
                self._testbeds.append(testbed)
                yield testbed

        monkeypatch.setitem(testbeds.PROVIDERS, provider, caught)

    def run(self, at: Mapping[str, Happening], close: str | None = None) -> tuple[Experiment, Results]:
        """Run the handshake lab; its folder is `folder / "run"` if it could be done."""

        def announce(step: str) -> None:
            if happening := at.get(step):
                happening(self._testbeds[-1])

        experiment_of_lab = experiment_of("handshake", self._inventory, self._provider, close)
        with new_run_folder(self.folder / "run", self.folder, "handshake") as (folder, _):
            experiment, results, _ = run_into(folder, "handshake", self._provider, experiment_of_lab, announce)
        return experiment, results
