"""`./invoke report`: of a capture, of a run folder, of what is damaged, and of what is no capture."""

import json
import shutil
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.reporting import Asked, report
from tests.pages import DATA, seen_by_other_host, wrong_capture
from tests.pcaps import decode, encode
from tests.unit.test_page import assert_harmless

GOOD = DATA / "four-segment.pcap"


def write(out: Path, **given: Path | str | None) -> str:
    assert report(Asked(**given), out) == 0  # type: ignore[arg-type]
    page = out.read_text(encoding="utf-8")
    assert_harmless(page)
    return page


def test_a_capture_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a lab there are no checks; one line says where the page is."""
    page = write(tmp_path / "x.html", capture=GOOD)
    assert 'class="ladder"' in page
    assert 'id="checks"' not in page
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'x.html'}: ")


def test_a_capture_judged(tmp_path: Path) -> None:
    """By a lab's rubric; what is wrong is told, and the page is written all the same."""
    (tmp_path / "wrong.pcap").write_bytes(wrong_capture())
    page = write(tmp_path / "x.html", capture=tmp_path / "wrong.pcap", lab="handshake")
    assert "Frame 2 is wrong" in page


def test_answers_are_judged_too(tmp_path: Path) -> None:
    """With answers.yaml its questions are checks."""
    (tmp_path / "answers.yaml").write_text("closer: initiator\n")
    page = write(tmp_path / "x.html", capture=GOOD, lab="handshake", answers=tmp_path / "answers.yaml")
    assert "of 120 points" in page


@pytest.mark.parametrize("turned", [False, True])
def test_both_hosts_captures(tmp_path: Path, *, turned: bool) -> None:
    """Drawn with what each segment took, and what was lost, in whichever order the captures are named."""
    lost, frames = 4, decode(GOOD.read_bytes())
    (tmp_path / "far.pcap").write_bytes(encode(seen_by_other_host(frames, lost=lost)))
    names = (tmp_path / "far.pcap", GOOD) if turned else (GOOD, tmp_path / "far.pcap")
    page = write(tmp_path / "x.html", capture=names[0], other=names[1])
    assert f"{len(frames)} segments: 1 never arrived, 0 arrived more than once, 0 not seen being sent" in page
    drawn = page[page.index('id="both"') :]
    assert drawn.count('lost" aria-hidden') == 1
    assert drawn.count(f">#{lost}</tspan>") == 2  # where it was sent, and the next one where that arrived


def test_a_run_folder(tmp_path: Path) -> None:
    """Every scene with its name and ladder, the kernels' states, the hosts."""
    page = write(tmp_path / "x.html", run=DATA / "reproduced" / "teardown")
    for name in ("four-segment", "three-segment", "half-close"):
        assert f"<h3>{name}</h3>" in page
    scenes = page.count("<h3>") - page.count("<h3>States on the same clock</h3>") - page.count("<h3>What the kernels")
    assert page.count('<svg class="diagram"') == page.count("<h3>States on the same clock</h3>") == scenes // 2 == 8
    assert "What the kernels said" in page
    assert "OpenSSH" in page


def test_a_run_folder_whose_client_capture_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That is told, and the page is of what the server host captured."""
    folder = tmp_path / "run"
    shutil.copytree(DATA / "reproduced" / "teardown", folder)
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**document, "client_capture": {}}), encoding="utf-8")
    (folder / "capture-client.pcap").write_bytes((folder / "capture.pcap").read_bytes()[:-1])
    page = write(tmp_path / "x.html", run=folder)
    assert 'id="both"' not in page
    assert "capture-client.pcap: " in capsys.readouterr().err


def test_what_stands_before_damage_is_shown(tmp_path: Path) -> None:
    """A capture that was cut off: its begin, and where it breaks off; judged it is not."""
    (tmp_path / "cut.pcap").write_bytes(GOOD.read_bytes()[:3000])
    for lab in (None, "handshake"):
        page = write(tmp_path / "x.html", capture=tmp_path / "cut.pcap", lab=lab)
        assert 'id="frame-3"' in page
        assert page.count("is cut off after") == 1
        assert ("could not be judged" in page) is (lab is not None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"capture": DATA / "reproduced" / "README.md"}, "not a pcap file"),
        ({"capture": Path("/nonexistent")}, "/nonexistent: cannot read the capture"),
        ({"capture": GOOD, "lab": "nope"}, "no lab 'nope'"),
        ({"capture": GOOD, "answers": Path("/nonexistent")}, "/nonexistent: cannot read the answers"),
        ({"run": DATA / "named"}, "not a run folder"),
        ({}, "of what?"),
        ({"capture": GOOD, "run": DATA}, "of what?"),
        ({"run": DATA / "reproduced" / "teardown", "other": GOOD}, "a run folder has its own"),
        ({"capture": GOOD, "other": DATA / "three-segment.pcap"}, "is it the other host's capture of the same session"),
    ],
)
def test_what_cannot_be_read_leaves_nothing(tmp_path: Path, given: dict[str, Path | str], said: str) -> None:
    """One line, and no page."""
    with pytest.raises(HarnessError, match=said):
        report(Asked(**given), tmp_path / "x.html")  # type: ignore[arg-type]
    assert not (tmp_path / "x.html").exists()


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is not there, and the capture itself, which must not be lost."""
    with pytest.raises(HarnessError, match="cannot write the page"):
        write(tmp_path / "no" / "x.html", capture=GOOD)
    with pytest.raises(HarnessError, match="where to"):
        report(Asked(GOOD), None)
    copy = tmp_path / "copy.pcap"
    copy.write_bytes(GOOD.read_bytes())
    with pytest.raises(HarnessError, match="that is what is read"):
        write(copy, capture=copy)
    assert copy.read_bytes() == GOOD.read_bytes()
