"""The wheel, for those who install the project instead of cloning it: nothing that the code reads is missing."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.live.watching import ROOT

_JUDGE = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[3]]
from pathlib import Path
import harness
from harness.evidence import evidence_of_capture
from harness.grading.judging import judge
from harness.language import speaking
from harness.reports.pages import Subject, report_page
assert harness.__file__.startswith(sys.argv[1])
evidence = evidence_of_capture(Path(sys.argv[2]))
results = judge("handshake", evidence)
with speaking("zh"):
    page = report_page(Subject("handshake", results, evidence.conversation, evidence.conversations))
print(results.score, "三次握手" in page)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in it, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (made,) = folder.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder / "there")
    return folder / "there"


def test_it_has_every_file(wheel: Path) -> None:
    """Templates, catalogues, handouts, good captures, the guest's scripts: all that stands beside the code."""
    files = {
        path.relative_to(ROOT)
        for top in ("harness", "labs")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(files) > 200
    assert [path for path in sorted(files) if not (wheel / path).is_file()] == []


def test_it_judges(wheel: Path, tmp_path: Path) -> None:
    """Away from the clone it judges a capture, and draws its page in Chinese."""
    good, packages = ROOT / "tests" / "data" / "four-segment.pcap", Path(pytest.__file__).parents[1]
    # Without the site module, which would put the clone first (the editable install's .pth).
    words = [sys.executable, "-I", "-S", "-c", _JUDGE, *map(str, (wheel, good, packages))]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("100 True\n", "")
