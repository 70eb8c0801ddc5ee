"""The front door in Chinese: people read it on the terminal and in the run folder; what programs read stays English."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.reports.columns import cells
from tests.live.watching import ROOT, Finished
from tests.pcaps import decode, encode

INVOKE = str(Path(sys.executable).with_name("invoke"))
CAPTURE = ROOT / "tests" / "data" / "four-segment.pcap"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
SPEAKING = ("check", "analyze", "labs", "doctor", "run", "run-handshake-lab", "reproduce-article", "submit", "grade",
            "prove-rubric", "assign", "gradescope-bundle", "soak")  # fmt: skip


def invoke(*arguments: str | Path, status: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [INVOKE, *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done


def half_a_capture(folder: Path) -> Path:
    """One that ends in the middle of a connection: some checks fail, some are not shown."""
    path = folder / "half.pcap"
    path.write_bytes(encode(decode(CAPTURE.read_bytes())[:20]))
    return path


@pytest.mark.parametrize(
    "arguments", [("check", "--json"), ("analyze", "--json", "--segments")], ids=lambda words: words[0]
)
def test_documents_are_in_english(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """To the byte, whatever is spoken; also of what cannot be judged."""
    nothing = tmp_path / "nothing.pcap"
    nothing.write_bytes(CAPTURE.read_bytes()[:24])
    for capture, status in ((CAPTURE, 0), (nothing, 2 if arguments[0] == "check" else 0)):
        words = (*arguments, "--capture", str(capture))
        said = [invoke(*words, "--lang", language, status=status).stdout for language in ("en", "zh")]
        assert said[0] == said[1]
        assert json.loads(said[0])


def test_a_proof_is_in_english() -> None:
    said = [
        invoke("prove-rubric", "--lab", "lost-syn", "--json", "--lang", language).stdout for language in ("en", "zh")
    ]
    assert said[0] == said[1]


def test_the_locale_is_spoken() -> None:
    """The same as if asked for; the switch goes before it."""
    asked = invoke("check", "--capture", CAPTURE, "--lang", "zh").stdout
    assert invoke("check", "--capture", CAPTURE, LANG="zh_CN.UTF-8").stdout == asked
    assert (
        invoke("check", "--capture", CAPTURE, "--lang", "en", LANG="zh_CN.UTF-8").stdout
        == invoke("check", "--capture", CAPTURE).stdout
    )
    assert "通过：得 100 分，满分 100 分" in asked


@pytest.mark.parametrize(
    "arguments",
    [("check", "--capture"), ("analyze", "--segments", "--capture")],
    ids=lambda words: words[0],
)
def test_what_people_read(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Lines fit the terminal; no sentence is left in English."""
    for capture, status in ((CAPTURE, 0), (half_a_capture(tmp_path), int(arguments[0] == "check"))):
        done = invoke(*arguments, capture, "--lang", "zh", status=status)
        lines = done.stdout.splitlines()
        ladder = [line for line in lines if "─" in line]
        assert ladder
        assert max(map(cells, ladder)) <= 80
        prose = [line for line in lines if re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,} [a-z]{3,}", line)]
        assert prose == []


@pytest.mark.parametrize("task", SPEAKING)
def test_unknown_languages_are_one_line(task: str, tmp_path: Path) -> None:
    needed = {
        "check": ("--capture", str(CAPTURE)),
        "run": ("--lab", "teardown"),
        "submit": ("--run", str(tmp_path), "--student", "ann"),
        "grade": ("--submissions", str(tmp_path), "--out", str(tmp_path / "out")),
        "assign": ("--roster", str(tmp_path), "--secret-file", str(tmp_path), "--out", str(tmp_path / "out")),
        "gradescope-bundle": ("--out", str(tmp_path / "out")),
        "soak": ("--out", str(tmp_path / "out")),
    }
    done = invoke(task, *needed.get(task, ()), "--lang", "tlh", status=2)
    assert (done.stdout, done.stderr) == ("", "--lang tlh: known are en, zh\n")
    assert not (tmp_path / "out").exists()


def test_errors_on_captures_are_told_in_chinese(tmp_path: Path) -> None:
    """Those that a student meets; the others stay as they are."""
    done = invoke("check", "--capture", tmp_path / "none.pcap", "--lang", "zh", status=2)
    assert f"{tmp_path}/none.pcap：无法读取抓包文件：" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_annotated_capture_is_told_of_in_chinese(tmp_path: Path) -> None:
    """Of a damaged one, too: how far it was read."""
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(CAPTURE.read_bytes()[:-1])
    done = invoke("annotate", "--capture", cut, "--out", tmp_path / "x.pcapng", "--lang", "zh", status=2)
    assert "个帧，带有注释" in done.stdout
    assert done.stderr.endswith("；已写入能读取的帧，未作评判\n")
    assert not re.search(r"[a-z]{3,} [a-z]{3,}", done.stderr)


def test_a_teacher_is_told_in_chinese(tmp_path: Path) -> None:
    """What was made for a class; and what was wrong with a switch, of which tasks.py tells itself."""
    (tmp_path / "roster.csv").write_text("student\nann\nbob\n")
    secret = tmp_path / "secret"
    secret.write_text("a secret of more than 16 bytes\n")
    secret.chmod(0o600)
    words = ("--roster", tmp_path / "roster.csv", "--secret-file", secret, "--out", tmp_path / "out", "--lang", "zh")
    told = f"{tmp_path}/out：课程 tcp-lab 中实验 handshake 的 2 份作业（新建 2 份）\n"
    assert invoke("assign", *words).stdout == told
    assert invoke("soak", "--runs", "many", "--lang", "zh", status=2).stderr == "--runs many：应为整数\n"


@pytest.mark.usefixtures("namespaces")
def test_a_run_in_chinese(run: Callable[..., Finished], tmp_path: Path) -> None:
    """Steps, verdict and timeline; the documents of the run folder are as ever."""
    done = run("run-handshake-lab", "--out", tmp_path / "run", "--lang", "zh")
    assert done.status in (0, 1)
    assert "· 启动两台主机" in done.stderr
    assert "运行文件夹：" in done.stdout
    assert CHINESE.search((tmp_path / "run" / "timeline.txt").read_text())
    for name in ("results.json", "run.json", "states.json", "junit.xml"):
        assert not CHINESE.search((tmp_path / "run" / name).read_text()), name
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "bring up the two hosts" in told["timings"]
