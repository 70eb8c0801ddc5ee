"""The drawing in docs/architecture.md is true: imports go down only, and every module has its place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def layers() -> list[list[str]]:
    """The list in docs/architecture.md, top first."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert found
    return [line.split() for line in found[1].splitlines()]


def modules() -> dict[str, Path]:
    """Every module of the project that is more than a docstring."""
    paths = [ROOT / "tasks.py", *(ROOT / "harness").rglob("*.py"), *(ROOT / "labs").rglob("*.py")]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name: path for name, path in named.items() if not name.endswith("__init__")}


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """The project's modules that a module imports, wherever in it; not what only type checkers import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from {name if name in known else node.module for name in names} & known


def test_every_module_has_one_place() -> None:
    """The list names each module once, and none that is not there."""
    listed = [name for layer in layers() for name in layer]
    assert sorted(listed) == sorted(modules())


def test_imports_go_down_only() -> None:
    """No module imports from its own layer or from one above."""
    floor = {name: -index for index, layer in enumerate(layers()) for name in layer}
    up = [
        f"{name} imports {imported}"
        for name, path in modules().items()
        for imported in imports(path, set(floor))
        if imported != name and floor[imported] >= floor[name]
    ]
    assert up == []


def test_the_core_is_pure() -> None:
    """Below the run folder nothing opens, runs, connects or reads a clock; harness.tcp knows nothing of the rest."""
    impure = {"os", "socket", "subprocess", "time", "shutil", "paramiko", "threading", "tempfile"}
    for name, path in modules().items():
        if not name.startswith(("harness.tcp.", "harness.captures.")):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not names & impure, name
        if name.startswith("harness.tcp."):
            assert all(m.startswith("harness.tcp") for m in imports(path, set(modules()))), name
