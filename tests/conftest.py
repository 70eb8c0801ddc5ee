"""What all tests share: they read English, whatever the locale of who runs them; and a switch for the slow ones."""

import os

import pytest

for _name in ("LC_ALL", "LC_MESSAGES", "LANGUAGE"):
    os.environ.pop(_name, None)
os.environ["LANG"] = "C.UTF-8"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--machines`: see tests/live/machines.py."""
    parser.addoption("--machines", action="store_true", help="all tests of virtual machines, also where they are slow")
