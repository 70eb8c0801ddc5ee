"""The catalogues' other half: what there is to translate, taken from the source, and merged into each catalogue.

Four kinds of text are for people: what stands in `_("…")` and `ngettext(…)` in Python and in the page's templates; a
rubric's titles and its claims' notes, which are docstrings; what plain data say (`CALLS`); and the messages that
rubrics and readers make of f-strings, which become templates with numbered placeholders (see `harness.messages`).
"""

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from harness.cli import ROOT, say
from harness.language import CATALOGUES, MESSAGE, read_catalogue
from harness.messages import WORD

# Where messages are made that end up before a student; every prose string in a function there is one.
SOURCES = (
    "labs/*/test_*.py",
    "labs/article/side_by_side.py",
    "harness/answers.py",
    "harness/claim_plugin.py",
    "harness/evidence.py",
    "harness/inventory.py",
    "harness/preflight.py",
    "harness/pytest_plugin.py",
    "harness/runs.py",
    "harness/captures/*.py",
    "harness/grading/assessing.py",
    "harness/grading/late.py",
    "harness/grading/workers.py",
    "harness/intake/*.py",
    "harness/tcp/conversation.py",
    "harness/tcp/segment.py",
    "harness/tcp/stream.py",
    "harness/tcp/values.py",
)
TABLES = ("harness/intake/*.py", "labs/article/side_by_side.py")  # there, messages also stand outside functions
RUBRICS = "labs/*/test_*.py"
NOT_SPOKEN = ("harness/catalogues.py", "harness/developing.py", "harness/picturing.py")  # for developers: in English
CLAIMS = "test_claims.py"  # its docstrings are notes, and shown whole
# Which argument of theirs is told.
CALLS = {"Claim": 1, "HarnessError": 0, "Rule": 0, "announce": 0, "progress": 0, "step": 0, "wait_for": 0}
# What messages are made with, and no prose by itself: names of ends, of verdicts, of kinds of closes.
PHRASES = (
    "initiator",
    "responder",
    "both",
    "data",
    "confirmed",
    "qualified",
    "refuted",
    "ours",
    "four-segment close",
    "three-segment close",
    "simultaneous close",
    "behind",
)
HEADER = """\
# {language} for tcp-lab. ./invoke catalogue takes the texts from the source; docs/languages.md tells how to translate.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Language: {locale}\\n"
"Plural-Forms: {plural}\\n"

"""

# Attributes, names and calls that print as a number, or as one word.
_WORDS = frozenset(
    {"ack", "frame", "len", "row", "seq", "value"}
    | {"closer", "end", "receiver", "sender", "verdict"}
    | {"int", "other"}
)
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
_JINJA = {"newstyle_gettext": "true", "silent": "false"}
_MARKUP = re.compile(r"\\|\n|\(\?")  # a regular expression, or a table
_PROSE = re.compile(r"(?<!\S)[(]?[a-z]{2,}(?:'s)?[,:;.)]?(?!\S)")
_NOT_TOLD = frozenset(  # no words to anybody, or too few to be known again
    {"proto TCP (6), length ", "proto AH (51), length ", "bold green", "{0} on {1}", "{0}: hosts", " or "}
)
_NAMES = frozenset({"ack", "len", "mss", "seq", "val", "win", "wscale"})  # of fields: they stay as they are
# Methods whose arguments are looked for, not told.
_LOOKING = frozenset(
    {"addini", "addinivalue_line", "addoption", "compile", "endswith", "getgroup", "removeprefix", "removesuffix"}
    | {"partition", "rpartition", "skip", "split", "startswith", "UsageError"}
)


class Text(NamedTuple):
    """A text to translate.

    Attributes:
        path: the file that it stands in, relative to the project.
        line: where.
        text: its msgid, or two of them (singular and plural).
        context: its msgctxt; empty for none.
        note: for the translator.
    """

    path: str
    line: int
    text: str | tuple[str, str]
    context: str = ""
    note: str = ""


def texts() -> Iterator[Text]:
    """All that is to be translated, file by file."""
    for path in sorted([ROOT / "tasks.py", *ROOT.glob("harness/**/*.py"), *ROOT.glob("labs/**/*.py")]):
        yield from _in_python(path)
    for path in sorted(ROOT.glob("harness/reports/**/*.html")):
        yield from _in_template(path)
    for phrase in PHRASES:
        yield Text("harness/catalogues.py", 1, phrase, MESSAGE)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _in_template(path: Path) -> Iterator[Text]:
    """What stands in `_(…)`, `ngettext(…)` and `{% trans %}` of a page's template."""
    with path.open("rb") as file:
        for line, said, _, _ in extract("jinja2.ext:babel_extract", file, _KEYWORDS, options=_JINJA):
            yield Text(_name(path), line, said if isinstance(said, str) else (said[0], said[1]))


def _in_python(path: Path) -> Iterator[Text]:
    """What else a module of ours says."""
    name = Path(_name(path))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _called(tree, name)
    if name.match(RUBRICS):
        yield from _titles(tree, name)
    if any(name.match(pattern) for pattern in SOURCES):
        begin: list[ast.AST] = [tree] if any(name.match(pattern) for pattern in TABLES) else [*_functions(tree)]
        seen = set[tuple[int, str]]()
        for node in begin:
            for one in _messages(node, name):
                if (one.line, str(one.text)) not in seen:
                    seen.add((one.line, str(one.text)))
                    yield one


def _functions(tree: ast.AST) -> list[ast.stmt]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _titles(tree: ast.AST, name: Path) -> Iterator[Text]:
    """The docstrings that are shown."""
    for function in _functions(tree):
        told = ast.get_docstring(function) if isinstance(function, ast.FunctionDef) else None
        if told and isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
            title = " ".join(told.split()) if name.name == CLAIMS else told.splitlines()[0]
            yield Text(name.as_posix(), function.lineno, title, MESSAGE)


def _called(tree: ast.AST, name: Path) -> Iterator[Text]:
    """What stands in `_(…)` and `ngettext(…)`, what data say, and the names of steps.

    Babel's own extractor does not look into f-strings before Python 3.12.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if called == "_" and len(said) == 1:
            yield Text(name.as_posix(), node.lineno, said[0])
        elif called == "ngettext" and len(said) == 2:
            yield Text(name.as_posix(), node.lineno, (said[0], said[1]))
        elif called in CALLS and len(node.args) > CALLS[called] and (made := _template(node.args[CALLS[called]])):
            if called == "HarnessError" and (name.as_posix() in NOT_SPOKEN or not is_prose(made[0])):
                continue
            yield Text(name.as_posix(), node.lineno, made[0], MESSAGE, made[1])


def _messages(node: ast.AST, name: Path) -> Iterator[Text]:
    """The prose in a piece of code, but docstrings and annotations, and what is only compared."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and (made := _template(node)):
        text, note = made
        if is_prose(text):
            yield Text(name.as_posix(), node.lineno, text, MESSAGE, note)
        for part in _parts(node):
            if not isinstance(part, ast.Constant):
                yield from _messages(part.value if isinstance(part, ast.FormattedValue) else part, name)
        return
    for child in _told(node):
        yield from _messages(child, name)


def _told(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that may hold a message."""
    left_out = list[ast.AST | None]()
    if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        left_out.append(node.body[0])
    if isinstance(node, ast.FunctionDef):
        left_out += [node.returns, node.args]
    if isinstance(node, ast.AnnAssign):
        left_out.append(node.annotation)
    if isinstance(node, ast.Compare):
        left_out += [one for one in (node.left, *node.comparators) if _template(one)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LOOKING:
        left_out += [*node.args, *node.keywords]
    return (child for child in ast.iter_child_nodes(node) if child not in left_out)


def _template(node: ast.AST) -> tuple[str, str] | None:
    """A string as a template, and what its placeholders stand for; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _escaped(node.value), ""
    text, stands = "", list[str]()
    for part in _parts(node):
        if isinstance(part, ast.Constant):
            text += _escaped(str(part.value))
        else:
            text += f"{{{len(stands)}{':' + WORD if _is_word(part) else ''}}}"
            stands.append(ast.unparse(part.value if isinstance(part, ast.FormattedValue) else part))
    return (text.rstrip(), ", ".join(f"{n} = {one}" for n, one in enumerate(stands))) if text else None


def _parts(node: ast.AST) -> list[ast.expr]:
    """What an f-string, or a sum with a string in it, is made of; nothing for all else."""
    if isinstance(node, ast.JoinedStr):
        return node.values
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        one, two = (_parts(side) or [side] for side in (node.left, node.right))
        if any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in (*one, *two)):
            return [*one, *two]
    return []


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _is_word(value: ast.expr) -> bool:
    """Whether it prints as a number, or another word without spaces."""
    if not isinstance(value, ast.FormattedValue) or value.conversion >= 0:
        return False
    one = value.value.func if isinstance(value.value, ast.Call) else value.value
    name = one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else ""
    return value.format_spec is not None or name in _WORDS


def is_prose(text: str) -> bool:
    """Whether a template is something to read: two words or more, or one beside a placeholder."""
    if _MARKUP.search(text) or text in _NOT_TOLD:
        return False
    words = [word for word in _PROSE.findall(re.sub(r"\{[^}]*\}", "0", text)) if word not in _NAMES]
    return len(words) > 1 or (len(words) == 1 and ("{" in text or text.count(" ") > 0))


def extracted() -> Catalog:
    """All texts as a catalogue without translations; in the order of the source."""
    catalogue = Catalog()
    for one in texts():
        notes = [one.note] if one.note else []
        catalogue.add(one.text, context=one.context or None, locations=[(one.path, one.line)], auto_comments=notes)
    return catalogue


def update() -> int:
    """Take the texts from the source, and write every catalogue anew; translations are kept. Returns 0."""
    source = extracted()
    for language, path in CATALOGUES.items():
        there = merged(language, source)
        path.write_text(as_text(there, path.parents[1].name), encoding="utf-8")
        missing = sum(1 for one in there if one.id and not translations(one))
        say(f"{path.relative_to(ROOT)}: {len(there)} texts, {missing} without a translation")
    return 0


def merged(language: str, source: Catalog) -> Catalog:
    """A language's catalogue with the texts of the source; new ones have no translation."""
    there = read_catalogue(language)
    there.update(source, no_fuzzy_matching=True)
    there.obsolete.clear()
    for one in there:
        if not translations(one):  # new plurals are marked as fuzzy
            one.flags.discard("fuzzy")
    return there


def translations(one: Message) -> list[str]:
    """An entry's translations: one, or one for each of the language's plurals; none if any lacks."""
    there = [one.string] if isinstance(one.string, str) else list(one.string or ())
    return there if all(there) else []


def as_text(catalogue: Catalog, locale: str) -> str:
    """A catalogue as its file has it: in the order of the files, without line numbers and dates, which only change."""
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=True, sort_by_file=True, include_lineno=False)
    name = catalogue.locale.english_name if catalogue.locale else locale
    return HEADER.format(language=name, locale=locale, plural=catalogue.plural_forms) + out.getvalue().decode()
