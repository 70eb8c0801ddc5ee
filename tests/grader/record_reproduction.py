"""Record the runs that tests/grader/test_claims.py decides the article's claims on: real ones, made thin.

    .venv/bin/python -m tests.grader.record_reproduction

runs `./invoke reproduce-article` and puts into tests/data/reproduced/<lab>/ what deciding reads of each run folder: the
capture, run.json, the listings, and states.json without the kernel's trace and without the samples that show a socket
in the state that it was in before.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.runs import CAPTURE, RUN, STATES, dump_json, listing_file
from labs.article.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[2]
REPRODUCED = ROOT / "tests" / "data" / "reproduced"
# What becomes of the claims on Linux, with tcpdump and OpenSSH as they are.
VERDICTS = dict.fromkeys((claim.id for claim in CLAIMS), "confirmed") | {
    **dict.fromkeys(("C04", "C11", "C12", "C13", "C14", "C15", "C17", "C18"), "qualified"),
    "C20": "refuted",
}


def thinned(states: dict[str, Any]) -> dict[str, Any]:
    """states.json with the first sight of each state only."""
    hosts = {}
    for role, said in states["hosts"].items():
        kept: list[dict[str, Any]] = []
        last: dict[tuple[str, str], str] = {}
        for row in said["samples"]:
            ends = row["local"], row["remote"]
            if last.get(ends) != row["state"]:
                kept.append(row)
            last[ends] = row["state"]
        hosts[role] = {"samples": kept, "trace": None, "final": said["final"], "clock": None}
    return {**states, "hosts": hosts}


def keep(run: Path, folder: Path) -> None:
    """Copy what is needed of a run folder."""
    folder.mkdir(parents=True)
    document = json.loads((run / RUN).read_text(encoding="utf-8"))
    for name in (CAPTURE, RUN, *map(listing_file, document.get("listings", ()))):
        shutil.copyfile(run / name, folder / name)
    states = json.loads((run / STATES).read_text(encoding="utf-8"))
    (folder / STATES).write_text(dump_json(thinned(states)), encoding="utf-8")


def main() -> None:
    """Run all labs; put their runs in place of those that are there."""
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "reproduced"
        subprocess.run([ROOT / "invoke", "reproduce-article", "--out", out], check=True)
        for folder in REPRODUCED.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder)
        for run in sorted(path for path in out.iterdir() if path.is_dir()):
            keep(run, REPRODUCED / run.name)


if __name__ == "__main__":
    main()
