"""The language in which people are spoken to; what is written for programs (JSON, CSV, XML) is always in English.

English is what stands in the source. Every other language is a gettext catalogue in `locale/`, as text, which Babel
reads when it is asked for. docs/languages.md tells what is translated, and how to add a language.
"""

import gettext
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError, one_line

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

ENGLISH = "en"
CATALOGUES = {"zh": Path(__file__).parent / "locale" / "zh_CN" / "LC_MESSAGES" / "tcp-lab.po"}
LANGUAGES = (ENGLISH, *CATALOGUES)
TAGS = {ENGLISH: "en", "zh": "zh-CN"}  # BCP 47, as <html lang> has them
MESSAGE = "message"  # msgctxt of what is translated by `harness.messages` only when it is shown
_spoken: ContextVar[str] = ContextVar("spoken", default=ENGLISH)


def read_catalogue(language: str) -> "Catalog":
    """A language's catalogue, as it stands in its file; English has none."""
    from babel.messages.pofile import read_po

    path = CATALOGUES[language]
    with path.open("rb") as file:
        return read_po(file, locale=path.parents[1].name)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    if language == ENGLISH:
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo

    compiled = io.BytesIO()
    write_mo(compiled, read_catalogue(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _(text: str) -> str:
    """The text in the language that is spoken; English where its catalogue has nothing."""
    return _catalogue(_spoken.get()).gettext(text) if text else ""


def ngettext(one: str, many: str, count: int) -> str:
    """The same for a text with a number in it: *one* is for 1, *many* for all else, as far as the language tells."""
    return _catalogue(_spoken.get()).ngettext(one, many, count)


def messages(language: str) -> dict[str, str]:
    """The catalogue's messages that are translated when they are shown: English template → that in the language."""
    if language == ENGLISH:
        return {}
    entries = (one for one in read_catalogue(language) if one.context == MESSAGE and not one.fuzzy)
    return {str(one.id): str(one.string) for one in entries if one.string}


def language(asked: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The language to speak: the one asked for, else the locale's if there is a catalogue, else English.

    The variables are those of gettext, in its order (LANGUAGE, LC_ALL, LC_MESSAGES, LANG); LANGUAGE may name several,
    and counts for nothing where the locale is C (gettext manual, section 2.3).

    Raises:
        HarnessError: what is asked for is not known; names what is.
    """
    if asked is not None:
        if asked not in LANGUAGES:
            raise HarnessError(f"--lang {one_line(asked, 40)}: known are {', '.join(LANGUAGES)}")
        return asked
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), "")
    several = environment.get("LANGUAGE", "").split(":") if locale.partition(".")[0] not in ("C", "POSIX") else []
    for name in filter(None, [*several, locale]):
        first = name.partition("_")[0].partition(".")[0]
        if first in LANGUAGES:
            return first
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
