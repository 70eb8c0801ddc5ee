"""Lets pytest's own option `--capture` take a capture file: `pytest labs/handshake --capture FILE`.

pytest has an option of that name (how to capture a test's *output*: fd, sys, no, tee-sys) and refuses any other word
before it loads its first plugin. So this module is imported when the interpreter of .venv starts (by
`tcp_lab_pytest.pth`, which lists it), and widens the option when pytest defines it: the four words keep their meaning,
any other is the file to judge. It must import next to nothing: every start of the interpreter pays for it.
"""

import sys
from importlib.machinery import ModuleSpec, PathFinder

_MODULE = "_pytest.capture"
_OUTPUT_METHODS = ("fd", "sys", "no", "tee-sys")


def widen(parser: object) -> None:
    """Make `--capture` of a pytest parser take a file too (as `lab_capture`)."""
    import argparse

    class CaptureAction(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,  # noqa: ARG002
            namespace: argparse.Namespace,
            values: object,
            option_string: str | None = None,  # noqa: ARG002
        ) -> None:
            setattr(namespace, "capture" if values in _OUTPUT_METHODS else "lab_capture", values)

    for group in getattr(parser, "_groups", ()):
        for action in group._arggroup._group_actions:  # noqa: SLF001 - pytest has no public way to its own options
            if "--capture" in action.option_strings:
                action.choices = None
                action.metavar = "FILE|method"
                action.help = f"{action.help}; or the capture file that a lab's rubric judges"
                action.__class__ = CaptureAction


class _Finder:
    """Finds one module, as the import system would, and widens the option that it defines."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, _target: object = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        spec = PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: object) -> None:
            execute(module)  # type: ignore[arg-type]
            define = module.pytest_addoption  # type: ignore[attr-defined]

            def pytest_addoption(parser: object) -> None:
                define(parser)
                widen(parser)

            module.pytest_addoption = pytest_addoption  # type: ignore[attr-defined]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if _MODULE not in sys.modules:
    sys.meta_path.insert(0, _Finder)
