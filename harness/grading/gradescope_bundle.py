"""The zip that makes Gradescope grade a lab by itself: the project, and the two scripts that Gradescope asks for.

https://gradescope-autograders.readthedocs.io/en/latest/specs/: setup.sh runs once, as root, while the image is built,
with a network; run_autograder runs for each submission, without one here, and writes results.json. Ten minutes is the
default limit for that, and whoever exceeds it gets 0 (…/troubleshooting/), so the grader is stopped before. `score` is
required on top or on every test: when the grader itself fails, results.json has it nowhere and says so, which is no
mark.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HarnessError, one_line

_LAB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LOOSE = ("requirements.lock", "pyproject.toml", "LICENSE")
_LONGEST_AGO = (1980, 1, 1, 0, 0, 0)  # a zip's first moment
_SCRIPT, _FILE = 0o100755, 0o100644

SETUP = r"""#!/usr/bin/env bash
# Runs once, as root, while Gradescope builds the image; the only time that needs a network.
set -eu
source=${AUTOGRADER:-/autograder}/source

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if ! find_python >/dev/null; then
    apt-get update -q
    # Ubuntu 24.04 lacks only the second; 22.04 has Python 3.10, and a newer one beside it.
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3 python3-venv
    find_python >/dev/null ||
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3.11 python3.11-venv
fi
python=$(find_python) || {
    echo "setup.sh: no Python 3.11 or newer; choose a newer base image" >&2
    exit 1
}

"$python" -m venv "$source/.venv"
"$source/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes -r "$source/requirements.lock"
# Compiled now, not for each submission; and an image that cannot grade fails here.
"$source/.venv/bin/python" -m compileall -q "$source/harness" "$source/labs"
cd "$source"
"$source/.venv/bin/python" -c 'import harness.grading.one'
"""

RUN = r"""#!/usr/bin/env bash
# Runs for each submission, without a network. It always leaves a results.json; without a score if it could not grade.
set -u
root=${AUTOGRADER:-/autograder}
seconds=${AUTOGRADER_SECONDS:-480} # Gradescope's own limit, 10 minutes by default, would give 0
source=$root/source
python=$source/.venv/bin/python
results=$root/results/results.json
fresh=$root/results/.results.json.part

mkdir -p "$root/results"
rm -f "$results" "$fresh"

status=127
if cd "$source"; then
    # The grader's own files only: nothing of the submission is on Python's path.
    PYTHONPATH=$source PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 \
        timeout --kill-after=10 "$seconds" "$python" -m harness.grading.one '@LAB@' "$root/submission" "$fresh"
    status=$?
fi

# Its exit status tells the outcome; only a whole document tells that it graded.
if [ -s "$fresh" ] &&
    "$python" -I -c 'import json, sys; sys.exit(type(json.load(open(sys.argv[1], "rb"))) is not dict)' "$fresh"; then
    mv -f "$fresh" "$results"
    exit 0
fi

rm -f "$fresh"
case $status in
124 | 137) why="the grader was stopped: it took too long or too much memory" ;;
*) why="the grader failed (status $status)" ;;
esac
echo "run_autograder: $why; no results.json was written by it" >&2
cat >"$results" <<JSON
{
  "output": "Could not be judged: $why. This is not a mark. Please tell your course staff.",
  "output_format": "text",
  "visibility": "visible",
  "stdout_visibility": "hidden",
  "extra_data": {"lab": "@LAB@", "outcome": "not-judged"}
}
JSON
"""


def _sources(lab: str, root: Path) -> Iterator[Path]:
    """What grading needs, relative to *root*: the harness, this one lab, and the list of libraries."""
    for folder in ("harness", f"labs/{lab.replace('-', '_')}"):
        for path in (root / folder).rglob("*"):
            inside = path.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
            if path.is_file() and not path.is_symlink() and not hidden and path.suffix != ".pyc":
                yield inside
    yield from (path.relative_to(root) for path in (root / "labs").glob("*.py"))
    yield from (Path(name) for name in _LOOSE)


def _add(bundle: zipfile.ZipFile, name: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _LONGEST_AGO)
    entry.create_system = 3  # Unix: the mode below counts
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    bundle.writestr(entry, content)


def gradescope_bundle(lab: str, root: Path) -> bytes:
    """The autograder for a lab, to upload to Gradescope; the same sources make the same bytes.

    Args:
        lab: the lab's name.
        root: the project's folder.

    Raises:
        HarnessError: there is no such lab in *root*, or a file of the project cannot be read.
    """
    if not _LAB.fullmatch(lab) or not any((root / "labs" / lab.replace("-", "_")).glob("test_*.py")):
        known = sorted({path.parent.name for path in (root / "labs").glob("*/test_*.py")})
        raise HarnessError(f"no lab {one_line(repr(lab), 60)}; there are: {', '.join(known)}")
    files = {"setup.sh": (SETUP.encode(), _SCRIPT), "run_autograder": (RUN.replace("@LAB@", lab).encode(), _SCRIPT)}
    for path in _sources(lab, root):
        try:
            files[path.as_posix()] = ((root / path).read_bytes(), _FILE)
        except OSError as error:
            raise HarnessError(f"{root / path}: cannot be put into the bundle: {error.strerror}") from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, (content, mode) in sorted(files.items()):
            _add(bundle, name, content, mode)
    return buffer.getvalue()
