"""What harness.intake promises of answers.yaml: what was written, as it was meant, or one line about it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.intake.answers import Answer, read_answers


def value(text: str) -> Answer:
    return read_answers(f"a: {text}\n".encode())["a"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("481914174", 481914174),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("0x1F", 31),
        ("9223372036854775807", (1 << 63) - 1),
        ("-9223372036854775808", -(1 << 63)),
        ("2.5", 2.5),
        ("-0.25e-3", -0.00025),
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("Null", None),
    ],
)
def test_numbers_and_words(text: str, wanted: Answer) -> None:
    """Only what is written plainly is one."""
    found = value(text)
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "22:10",
        "1:30:00",
        "0755",
        "0o17",
        "00",
        "0b11",
        "481,914,174",
        "1_000",
        "2024-05-06",
        "2024-05-06 10:00:00",
        "1e5",
        "12e4",
        ".5",
        "1.",
        ".inf",
        ".NaN",
        "1.5.2",
        "10.0.0.1",
        "0x",
        "-0x1",
        "=",
        "1.0e999",
        "10.0.0.1:22",
        "SYN, ACK",
        "Flags [S.]",
        "٣",
    ],
)
def test_all_else_stays_text(text: str) -> None:
    """YAML 1.1 would make numbers, truths and dates of some."""
    assert value(text) == text


def test_quotes_make_text() -> None:
    """Whatever stands in them; so do blocks."""
    assert read_answers(b"a: '7'\n\"b\": \"true\"\nc: ''\nd: |\n  1\n2: 3\nnull: 4\n") == {
        "a": "7", "b": "true", "c": "", "d": "1\n", "2": 3, "null": 4,
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"# nothing yet\n", b"---\n", b"\xef\xbb\xbf", b"{}"])
def test_no_answers(data: bytes) -> None:
    """A file that is not filled in is no error."""
    assert read_answers(data) == {}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(encoding: str, end: str) -> None:
    """As editors on Windows write them too."""
    assert read_answers(f"name: Zoë{end}isn: 7{end}".encode(encoding)) == {"name": "Zoë", "isn": 7}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3: has the name 'a' again"),
        (b"a: &x 1\n", "line 1: has an anchor or a tag"),
        (b"a: 1\nb: *x\n", "line 2: has an alias"),
        (b"a: 1\nb: !!python/object:os.system 1\n", "line 2: has an anchor or a tag"),
        (b"a: ! 1\n", "line 1: has an anchor or a tag"),
        (b"&x {a: 1}", "line 1: has an anchor or a tag"),
        (b"<<: *x\n", "line 1: has an alias"),
        (b"a: 1\nb: [1, 2]\n", "line 2: has a list or a mapping"),
        (b"a: 1\nb:\n  c: 1\n", "line 3: has a list or a mapping"),
        (b"? [a]\n: 1\n", "line 1: has a list or a mapping"),
        (b"- 1\n", "line 1: does not read 'name: value'"),
        (b"just text\n", "line 1: does not read 'name: value'"),
        (b"a: 1\n---\nb: 2\n", "line 2: there is a second document"),
        (b"---\n---\nb: 2\n", "line 2: there is a second document"),
        (b"a: 1\n'': 2\n", "line 2: has no name before the colon"),
        (b"a: 9223372036854775808\n", "line 1: has an integer of more than 64 bits"),
        (b"a: 0x" + b"f" * 900 + b"\n", "line 1: has an integer of more than 64 bits"),
        (b"a: " + b"1" * 900 + b"\n", "line 1: has an integer of more than 64 bits"),
        (b"a: -9223372036854775809\n", "line 1: has an integer of more than 64 bits"),
        (b"a: 1\nb: " + b"x" * 1001 + b"\n", "line 2: is longer than 1000 characters"),
        (b"".join(b"k%d: 1\n" % number for number in range(201)), "line 201: there are more than 200 names"),
        (b"a: 1\n\tb: 2\n", "line 2: is no YAML: "),
        (b"a: 'open\n", "line 2: is no YAML: "),
        (b"a: b: c\n", "line 1: is no YAML: "),
        (b"a: 1\nb: \x1b[31m\n", "line 2: has a control character"),
        (b"a: 1\nb: caf\xe9\n", "line 2: is no UTF-8 text; save the file as UTF-8"),
        (b"\xff\xfea", "line 1: is no UTF-8 text; save the file as UTF-8"),
        (b"[" * 60_000, "line 1: does not read 'name: value'"),
    ],
)
def test_what_is_refused(data: bytes, why: str) -> None:
    """With the line's number."""
    with pytest.raises(HarnessError) as caught:
        read_answers(data)
    assert str(caught.value).startswith(f"answers.yaml: {why}")
    assert str(caught.value).isprintable()


def test_the_bounds_themselves_are_allowed() -> None:
    """64 KiB, 200 names, 1,000 characters."""
    assert len(read_answers(b"".join(b"k%d: 1\n" % number for number in range(200)))) == 200
    assert value("x" * 1000) == "x" * 1000
    assert read_answers(b"a: 1 ".ljust(64 << 10, b"#")) == {"a": 1}
    with pytest.raises(HarnessError, match="is larger than 64 KiB"):
        read_answers(b"#" * ((64 << 10) + 1))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(st.sampled_from("abc_é"), min_size=1, max_size=8), st.integers(-(2**63), 2**63 - 1)))
def test_integers_come_back(answers: dict[str, int]) -> None:
    """Any of 64 bits."""
    assert read_answers("".join(f"{key}: {number}\n" for key, number in answers.items()).encode()) == answers


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60) | st.text(st.sampled_from("ab:-?[]{}&*!|>'\"#%@` \n\t0x1.,"), max_size=60).map(str.encode)
)
def test_any_bytes(data: bytes) -> None:
    """A flat mapping, or a line."""
    try:
        answers = read_answers(data)
    except HarnessError as error:
        assert str(error).startswith("answers.yaml: ")  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
        return
    for name, answer in answers.items():
        assert name
        assert answer is None or isinstance(answer, (str, int, float))
        assert not isinstance(answer, float) or math.isfinite(answer)
