"""A lab's scenes, as its lab.py declares them."""

from pathlib import Path

import pytest

from harness import scenes
from harness.errors import HarnessError
from harness.grading.judging import labs
from harness.scenes import own, ports_of_our_own, scenes_of
from harness.traffic.program import End
from harness.traffic.shapes import Shape

HEAD = "from harness.traffic.shapes import OPEN, Scene, Shape\n"


SCENES = [name for name, folder in labs().items() if (folder / "lab.py").exists() and not own(folder, "run")]


@pytest.mark.parametrize("lab", SCENES)
def test_each_labs_scenes_can_be_played(lab: str) -> None:
    """Names differ, and every verb is one that the program knows."""
    found = scenes_of(labs()[lab], slow=True)
    assert len({scene.name for scene in found}) == len(found)
    for scene in found:
        assert scene.title.endswith(".")
        assert scene.shape.parts == 4 or not scene.shape.released_first
        for part in range(scene.shape.parts):
            for side, steps in scene.shape.part(part):
                assert side in {"i", "r"}
                verbs = {verb for verb, _ in steps if verb != "="}
                assert all(hasattr(End, f"do_{verb.replace('-', '_')}") for verb in verbs), verbs


@pytest.mark.parametrize(
    "body",
    [
        "",
        "SCENES = ()",
        "SCENES = [1]",
        "SCENES = (1,)",
        "SCENES = Scene('x', 'X.', Shape('x', OPEN, '', ''))",
    ],
)
def test_what_is_no_experiment(tmp_path: Path, body: str) -> None:
    (tmp_path / "lab.py").write_text(HEAD + body + "\n")
    with pytest.raises(HarnessError, match=r"lab\.py: a lab's experiment is a tuple SCENES of Scene"):
        scenes_of(tmp_path)


def test_a_lab_without_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="a lab's experiment is a tuple SCENES"):
        scenes_of(tmp_path)


def test_a_script_that_names_no_end() -> None:
    with pytest.raises(HarnessError, match="begins neither with i: nor with r:"):
        Shape("x", "x: listen", "", "").part(0)


def test_no_two_runs_have_the_same_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ports of a run are its own as long as it goes on; when all are taken, one line says so."""
    monkeypatch.setattr(scenes, "_HUNDREDS", 2)
    with ports_of_our_own() as one:
        with ports_of_our_own() as two:
            assert one != two
            with pytest.raises(HarnessError, match="2 runs at once are too many"), ports_of_our_own():
                raise AssertionError("a third had ports")
        with ports_of_our_own() as again:
            assert again == two
