"""The language in which people are spoken to; what is written for programs (JSON, CSV, XML) is always in English.

English is what stands in the source. Every other language is a gettext catalogue in `locale/`, as text, which Babel
reads when it is asked for.
"""

import gettext
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from harness.errors import HarnessError, one_line

ENGLISH = "en"
CATALOGUES = {"zh": Path(__file__).parent / "locale" / "zh_CN" / "LC_MESSAGES" / "tcp-lab.po"}
LANGUAGES = (ENGLISH, *CATALOGUES)
_spoken: ContextVar[str] = ContextVar("spoken", default=ENGLISH)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    if language == ENGLISH:
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with CATALOGUES[language].open("rb") as file:
        write_mo(compiled, read_po(file, locale="zh_CN"))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(text: str) -> str:
    """The text in the language that is spoken; English where its catalogue has nothing."""
    return _catalogue(_spoken.get()).gettext(text) if text else ""


def language(asked: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The language to speak: the one asked for, else the locale's if there is a catalogue, else English.

    The variables are those of gettext, in its order (LANGUAGE, LC_ALL, LC_MESSAGES, LANG).

    Raises:
        HarnessError: what is asked for is not known; names what is.
    """
    if asked is not None:
        if asked not in LANGUAGES:
            raise HarnessError(f"--lang {one_line(asked, 40)}: known are {', '.join(LANGUAGES)}")
        return asked
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            first = value.partition(":")[0].partition("_")[0].partition(".")[0]
            return first if first in LANGUAGES else ENGLISH
    return ENGLISH


def spoken() -> str:
    """The language that is spoken."""
    return _spoken.get()


@contextmanager
def speaking(chosen: str) -> Iterator[None]:
    """Speak this language, one of `LANGUAGES`, while the block runs."""
    before = _spoken.set(chosen)
    try:
        yield
    finally:
        _spoken.reset(before)
