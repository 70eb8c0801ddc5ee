"""Templates to pages: each one file that loads nothing, with a policy that lets nothing in.

The policy is Content Security Policy Level 3 in a <meta> element (https://www.w3.org/TR/CSP3/#meta-element): only the
page's own style and script run, known by their SHA-256; no picture, font, frame, form or connection. Text is escaped
by Jinja2's autoescaping.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.language import TAGS, _, ngettext, spoken

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """The environment of all templates."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(_, ngettext, newstyle=True)  # type: ignore[attr-defined]  # by the extension
    return made


@cache
def _part(name: str) -> tuple[Markup, str]:
    """A style or a script, and the source expression that allows it."""
    lines = (TEMPLATES / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(stripped for line in lines if (stripped := line.strip()))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704 - our own file


def render(template: str, **values: Any) -> str:
    """A page, in the language that is spoken."""
    style, style_source = _part("page.css")
    script, script_source = _part("page.js")
    policy = (
        f"default-src 'none'; style-src {style_source}; script-src {script_source}; base-uri 'none'; form-action 'none'"
    )
    return (
        environment()
        .get_template(template)
        .render(
            values,
            page_language=TAGS[spoken()],
            policy=policy,
            style=style,
            script=script,
        )
    )
