"""Draw the ladders of docs/analysis.md anew, each by the command above it.

.venv/bin/python -m tests.repo.draw_ladders
"""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from harness.analysis import analyze

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "analysis.md"
# A command that names a capture, and the block under it.
DRAWN = re.compile(r"(^    \./invoke analyze (--capture [^\n]+)\n\n```text\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)


def ladder(switches: str) -> str:
    """The ladders that `./invoke analyze` prints with these switches, without the other lines."""
    capture, *more = shlex.split(switches.removeprefix("--capture"))
    assert set(more) <= {"--segments", "-S"}, switches
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert (
            analyze([ROOT / capture], json=False, segments="--segments" in more, filter_=None, absolute="-S" in more)
            == 0
        )
    drawn: list[str] = []
    drawing = False
    for line in printed.getvalue().splitlines():
        if drawing:
            drawn.append(line)
            drawing = bool(line)  # an empty line follows a ladder
        else:
            drawing = line.startswith("  responder: ")  # the line before one
    return "\n".join(drawn).rstrip("\n") + "\n"


def redrawn(document: str) -> str:
    """The document with every ladder as it is printed now."""
    return DRAWN.sub(lambda found: found[1] + ladder(found[2]) + found[4], document)


if __name__ == "__main__":
    DOCUMENT.write_text(redrawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
