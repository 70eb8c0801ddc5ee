"""The machine image, built by a stand-in for mmdebstrap."""

import dataclasses
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.building import vm_build
from harness.errors import HarnessError
from harness.hosts import debian
from harness.hosts.image import cached, image, images
from harness.hosts.recipe import GUEST, recipe

# Says its stages, notes that it was called, and hands out an image: in the place that its last hook names.
MMDEBSTRAP = """#!/bin/sh
echo called >>"$CALLS"
echo "I: running apt-get update..." >&2
echo "I: downloading packages with apt..." >&2
{between}
for word in "$@"; do
    case $word in "--customize-hook=download /srv.tar "*) out=${{word#* * }} ;; esac
done
mkdir "$CALLS.made"
for name in disk.ext4 kernel initrd; do echo "$name" >"$CALLS.made/$name"; done
tar -cf "$out" -C "$CALLS.made" disk.ext4 kernel initrd
rm -r "$CALLS.made"
"""


class Builder:
    """A PATH with a stand-in for mmdebstrap, and a cache of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        self.said: list[str] = []
        self.mmdebstrap(":")
        self.tool("mke2fs", "#!/bin/sh\n")
        self.tool("apt-get", "#!/bin/sh\n")
        monkeypatch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("CALLS", str(self.calls))
        monkeypatch.setattr(os, "geteuid", lambda: 0)

    def tool(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def mmdebstrap(self, between: str) -> None:
        self.tool("mmdebstrap", MMDEBSTRAP.format(between=between))

    def times(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def fails(self) -> str:
        with pytest.raises(HarnessError) as failed:
            image(self.said.append)
        assert "\n" not in str(failed.value)
        assert cached() is None
        return str(failed.value)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    return Builder(tmp_path, monkeypatch)


def test_each_part_of_the_recipe_is_in_the_digest() -> None:
    """Another suite, package, file or option is another image; the same recipe is the same."""
    made = recipe("x86_64")
    changed = {
        "suite": "trixie",
        "architecture": "arm64",
        "packages": (*made.packages, "vim"),
        "files": {**made.files, "lab-init": made.files["lab-init"] + "#"},
        "options": made.options[:-1],
    }
    assert changed.keys() == {field.name for field in dataclasses.fields(made)}
    digests = {dataclasses.replace(made, **{name: value}).digest() for name, value in changed.items()}  # type: ignore[arg-type]
    assert len(digests | {made.digest(), recipe("aarch64").digest()}) == len(changed) + 2
    assert recipe("x86_64").digest() == made.digest()


def test_another_architecture_is_one_line() -> None:
    assert recipe("aarch64").packages[-1] == "linux-image-cloud-arm64"
    with pytest.raises(HarnessError, match=r"^image: machines are made for x86_64, aarch64, not for riscv64$"):
        recipe("riscv64")


def test_it_is_built_once(builder: Builder, capsys: pytest.CaptureFixture[str]) -> None:
    """The stages are told; then it is there, whole, and nothing is built again."""
    assert cached() is None
    made = image(builder.said.append)
    assert [path.read_text() for path in (made.disk, made.kernel, made.initrd)] == [
        "disk.ext4\n",
        "kernel\n",
        "initrd\n",
    ]
    assert made.disk.parent == images() / made.digest
    assert builder.said[1:] == ["reading the lists of packages", "fetching packages"]
    assert image(builder.said.append) == made == cached()
    assert builder.times() == 1
    assert sorted(path.name for path in images().iterdir()) == sorted([made.digest, "lock"])
    assert sorted(path.name for path in made.disk.parent.iterdir()) == ["build.log", "disk.ext4", "initrd", "kernel"]
    assert vm_build() == 0
    assert capsys.readouterr().out.startswith(f"the machine image is there already: {made.disk.parent} (")


def test_what_a_killed_build_left_is_removed(builder: Builder) -> None:
    left = images() / "0123.partial"
    left.mkdir(parents=True)
    (left / "image.tar").write_text("half")
    image(builder.said.append)
    assert not left.exists()


def test_what_nobody_uses_goes_when_a_new_one_is_built(builder: Builder) -> None:
    """Of other recipes' images those that were not used for a month; a use is noted."""
    month = 30 * 86400
    for name, age in (("a" * 64, month + 60), ("b" * 64, month - 60), ("other", month + 60)):
        (images() / name).mkdir(parents=True)
        os.utime(images() / name, (time.time() - age,) * 2)
    made = image(builder.said.append)
    assert {path.name for path in images().iterdir()} == {"b" * 64, "other", made.digest, "lock"}
    os.utime(images() / made.digest, (0, 0))
    image(builder.said.append)
    assert (images() / made.digest).stat().st_mtime > month


def test_two_at_once_build_once(builder: Builder) -> None:
    """The second waits, says so, and finds it."""
    builder.mmdebstrap("sleep 0.5")
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(image, [builder.said.append] * 2)
    assert first == second
    assert builder.times() == 1
    assert "waiting for another build of the image" in builder.said


@pytest.mark.parametrize(
    ("between", "says"),
    [
        ("echo 'E: Unable to locate package x' >&2; exit 1", "E: Unable to locate package x; whole output in "),
        ("echo 'Err:1 http://mirror x'; echo 'E: Failed to fetch x' >&2; exit 1", "building needs a network once"),
        ("echo 'mke2fs: No space left on device' >&2; exit 1", "free some space"),
        ("echo 'E: The repository is not signed.' >&2; exit 1", "sudo apt-get install debian-archive-keyring"),
        ("kill -KILL $$", "mmdebstrap failed: "),
    ],
)
def test_a_failed_build_is_one_line(builder: Builder, between: str, says: str) -> None:
    """Its first error and, where it is known, the mend; the next build tries again."""
    builder.mmdebstrap(between)
    said = builder.fails()
    assert said.startswith("image: mmdebstrap failed: ")
    assert says in said
    log = said.rpartition("whole output in ")[2]
    assert "I: running apt-get update" in Path(log).read_text()
    builder.mmdebstrap(":")
    image(builder.said.append)


def test_a_build_that_takes_too_long_is_ended(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "BUILD_SECONDS", 0.3)
    builder.mmdebstrap("exec sleep 60")
    assert "mmdebstrap did not end in 0.005 minutes" in builder.fails()


def test_an_interrupted_build_leaves_no_image_and_no_process(builder: Builder) -> None:
    builder.mmdebstrap('echo $$ >"$CALLS.pid"; exec sleep 60')

    def interrupted(step: str) -> None:
        if step == "fetching packages":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        image(interrupted)
    assert cached() is None
    number = builder.calls.with_name("calls.pid")
    if number.exists():  # it had come so far
        assert not Path(f"/proc/{number.read_text().strip()}").exists()


def _without(name: str) -> Callable[..., str | None]:
    which = shutil.which
    return lambda program, **options: None if program == name else which(program, **options)


@pytest.mark.parametrize(("tool", "package"), [("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")])
def test_a_missing_tool_names_its_package(
    builder: Builder, tool: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", _without(tool))
    assert builder.fails() == f"image: building it needs more programs; run: sudo apt-get install {package}"
    assert not images().exists()


def test_an_ordinary_user_needs_users_of_a_namespace(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without newuidmap or a range in /etc/subuid: the command that mends it."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(shutil, "which", _without("newuidmap"))
    assert builder.fails().endswith("sudo apt-get install uidmap")
    monkeypatch.setattr(shutil, "which", lambda program, **_: f"/usr/bin/{program}")
    assert "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody" in builder.fails()


def test_a_full_disk_is_known_before_the_build(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SPACE", 1 << 60)
    assert "free some space" in builder.fails()
    assert builder.times() == 0


def test_a_cache_that_cannot_be_written_is_one_line(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert builder.fails() == f"image: {tmp_path}/cache/tcp-lab/images: Not a directory"


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert images() == Path.home() / ".cache/tcp-lab/images"


def test_the_guests_scripts_are_posix_sh() -> None:
    """They parse under dash, which is Debian's sh."""
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("dash is not installed")
    for name in ("lab-init", "pack"):
        assert subprocess.run([dash, "-n", str(GUEST / name)], check=False).returncode == 0
