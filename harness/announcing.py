"""Telling what is being done to whoever wants to know."""

from collections.abc import Callable

Announce = Callable[[str], None]


def quietly(_step: str) -> None:
    """Tell nobody."""
