"""The live step list on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@contextmanager
def live_steps() -> Iterator[Callable[[str], None]]:
    """Yields what is to be called with a step's name as it begins; a step ends where the next begins."""
    steps: list[tuple[str, float]] = []
    ended: list[float] = []
    spinner = Spinner("dots")

    def draw(*, over: bool = False, broken: bool = False) -> Table:
        table = Table.grid(padding=(0, 1))
        for index, (name, began) in enumerate(steps):
            running = index == len(steps) - 1 and not over
            end = ended[index] if index < len(ended) else time.perf_counter()
            failed = broken and index == len(steps) - 1
            mark = spinner if running else Text("✗", "red") if failed else Text("✓", "green")
            table.add_row(mark, name, Text(f"{end - began:.2f} s", "dim"))
        return table

    with Live(console=Console(stderr=True), refresh_per_second=12, get_renderable=draw) as live:

        def announce(name: str) -> None:
            now = time.perf_counter()
            if steps:
                ended.append(now)
            steps.append((name, now))
            live.refresh()

        broken = True
        try:
            yield announce
            broken = False
        finally:
            ended.append(time.perf_counter())
            live.update(draw(over=True, broken=broken), refresh=True)
