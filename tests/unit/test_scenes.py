"""A lab's scenes, as its lab.py declares them."""

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.grading.judging import labs
from harness.scenes import scenes_of
from harness.traffic.program import End
from harness.traffic.shapes import Shape

HEAD = "from harness.traffic.shapes import OPEN, Scene, Shape\n"


@pytest.mark.parametrize("lab", [name for name, folder in labs().items() if (folder / "lab.py").exists()])
def test_each_labs_scenes_can_be_played(lab: str) -> None:
    """Names differ, and every verb is one that the program knows."""
    scenes = scenes_of(labs()[lab])
    assert len({scene.name for scene in scenes}) == len(scenes)
    for scene in scenes:
        assert scene.title.endswith(".")
        parts = 4 if scene.shape.released_first else 1
        assert scene.shape.script.count("|") == parts - 1
        for part in range(parts):
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
