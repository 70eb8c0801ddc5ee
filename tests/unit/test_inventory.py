"""What harness.inventory promises: the documented values, or one line that says what to mend."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.inventory import HostEntry, Inventory, load_inventory

SHIPPED = Path(__file__).parents[2] / "inventory.yaml"
TOP_KEYS = "hosts, provider, known_hosts, ssh_config"
ROLE_KEYS = "client, server"
HOST_KEYS = "address, interface, port, user, identity_file, password_env, ssh_alias"
HOSTS = ("server", "client")

Load = Callable[[str | bytes], Inventory]
Refused = Callable[[str | bytes], str]


def document() -> dict[str, Any]:
    """Make a good inventory, to be spoilt by the test."""
    return {
        "provider": "embedded",
        "hosts": {
            "server": {"address": "10.0.0.1", "user": "root", "port": 22, "interface": "ens33"},
            "client": {"address": "10.0.0.2", "user": "root", "port": 22, "interface": "ens33"},
        },
    }


def with_value(where: str, value: object) -> str:
    """Write a good inventory but for the value at *where*, a path of keys such as hosts.server.port."""
    *parents, key = where.split(".")
    top = inner = document()
    for parent in parents:
        inner = inner[parent]
    inner[key] = value
    return yaml.safe_dump(top)


def with_yaml(where: str, value: str) -> str:
    """Write a good inventory but for the YAML text of the value at *where*."""
    return with_value(where, "PLACEHOLDER").replace("PLACEHOLDER", value)


def without(where: str) -> str:
    """Write a good inventory but for the key at *where*, which is missing."""
    *parents, key = where.split(".")
    top = inner = document()
    for parent in parents:
        inner = inner[parent]
    del inner[key]
    return yaml.safe_dump(top)


def assert_one_line(message: str) -> None:
    """Check that *message* is one line that a terminal prints as it is."""
    assert message
    assert message.splitlines() == [message]
    assert message.isprintable()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail, rather than hang or fill the memory, when the block takes longer."""

    def fail(_signal: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name the inventory file of the test."""
    return tmp_path / "inventory.yaml"


@pytest.fixture
def load(file: Path) -> Load:
    """Load an inventory of the given content."""

    def load(content: str | bytes) -> Inventory:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_inventory(file)

    return load


@pytest.fixture
def refused(load: Load, file: Path) -> Refused:
    """Load an inventory that must be refused in one line with its path; return what follows the path."""

    def refused(content: str | bytes) -> str:
        with pytest.raises(HarnessError) as caught:
            load(content)
        message = str(caught.value)
        assert_one_line(message)
        assert message.startswith(f"{file}:")
        return message.removeprefix(f"{file}:").removeprefix(" ")

    return refused


# What is good


def test_the_shipped_inventory_has_the_documented_values() -> None:
    """The inventory in the repository is the lab of the documentation."""
    assert load_inventory(SHIPPED) == Inventory(
        path=SHIPPED,
        provider="embedded",
        server=HostEntry("server", "192.168.1.63", "root", 22, "ens33"),
        client=HostEntry("client", "192.168.1.64", "root", 22, "ens33"),
    )


def test_what_is_optional_is_none_unless_given(load: Load) -> None:
    """An inventory without the optional keys has None for them."""
    inventory = load(yaml.safe_dump(document()))
    assert (inventory.ssh_config, inventory.known_hosts) == (None, None)
    for host in (inventory.server, inventory.client):
        assert (host.ssh_alias, host.identity_file) == (None, None)


@pytest.mark.parametrize("key", ["ssh_config", "known_hosts"])
def test_optional_keys_of_the_file_are_kept(load: Load, key: str) -> None:
    """An optional key of the file is handed on as it was written."""
    assert getattr(load(with_value(key, "~/.ssh/some file")), key) == "~/.ssh/some file"


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize("key", ["ssh_alias", "identity_file"])
def test_optional_keys_of_a_host_are_kept(load: Load, role: str, key: str) -> None:
    """An optional key of one host is handed on for this host, and for no other."""
    inventory = load(with_value(f"hosts.{role}.{key}", "lab-1"))
    other = next(name for name in HOSTS if name != role)
    assert getattr(getattr(inventory, role), key) == "lab-1"
    assert getattr(getattr(inventory, other), key) is None


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 1),
        ("port", 2222),
        ("port", 65535),
        ("interface", "e"),
        ("interface", "a" * 15),
        ("interface", "eth0.100"),
        ("user", "_u"),
        ("user", "a" * 32),
        ("user", "first.last-2"),
        ("address", "0.0.0.1"),
        ("address", "255.255.255.254"),
    ],
)
def test_values_at_the_edge_are_accepted(load: Load, role: str, key: str, value: object) -> None:
    """The strict checks do not refuse what is right, up to the very limit."""
    assert getattr(getattr(load(with_value(f"hosts.{role}.{key}", value)), role), key) == value


def test_the_order_of_the_hosts_does_not_matter(load: Load) -> None:
    """A host's role is its key, not its place."""
    good = document()
    turned = good | {"hosts": dict(reversed(good["hosts"].items()))}
    assert load(yaml.safe_dump(turned, sort_keys=False)) == load(yaml.safe_dump(good, sort_keys=False))


# Keys


def test_unknown_key_of_the_file(refused: Refused) -> None:
    """A key that means nothing is refused, and those that do are listed."""
    message = refused(with_value("providr", "embedded"))
    assert message == f"unknown key 'providr'; known are: {TOP_KEYS}"


def test_unknown_host(refused: Refused) -> None:
    """There are two hosts, with these names."""
    message = refused(with_value("hosts.router", {}))
    assert message == f"hosts: unknown key 'router'; known are: {ROLE_KEYS}"


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize("key", ["adress", "Port", "", "user ", "two\nlines", "next\u2028line", "<<"])
def test_unknown_key_of_a_host(refused: Refused, role: str, key: str) -> None:
    """A host's key that means nothing is refused, however odd its name, and the known ones are listed."""
    message = refused(with_value(f"hosts.{role}.{key}", "x"))
    assert message == f"hosts.{role}: unknown key {key!r}; known are: {HOST_KEYS}"


@pytest.mark.parametrize("key", ["provider", "hosts"])
def test_missing_key_of_the_file(refused: Refused, key: str) -> None:
    """A key the file needs is named, with all that are known."""
    assert refused(without(key)) == f"missing key {key!r}; known are: {TOP_KEYS}"


@pytest.mark.parametrize("role", HOSTS)
def test_missing_host(refused: Refused, role: str) -> None:
    """Both hosts are needed."""
    assert refused(without(f"hosts.{role}")) == f"hosts: missing key {role!r}; known are: {ROLE_KEYS}"


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize("key", ["address", "user", "port", "interface"])
def test_missing_key_of_a_host(refused: Refused, role: str, key: str) -> None:
    """A key a host needs is named with its host, with all that are known."""
    message = refused(without(f"hosts.{role}.{key}"))
    assert message == f"hosts.{role}: missing key {key!r}; known are: {HOST_KEYS}"


@pytest.mark.parametrize(
    ("after", "again", "key"),
    [
        ("provider: embedded", "provider: hosts", "provider"),
        ("provider: embedded", '"provider": embedded', "provider"),
        ("    port: 22", "    port: 23", "port"),
        ("    user: root", "    user: root", "user"),
        ("    interface: ens33", "  client: {}", "client"),
        ("provider: embedded", "hosts: {}", "hosts"),
    ],
)
def test_duplicate_key(refused: Refused, after: str, again: str, key: str) -> None:
    """A key written twice in one mapping is refused with the line of a repetition, never silently dropped."""
    lines = yaml.safe_dump(document(), sort_keys=False).splitlines()
    lines.insert(lines.index(after) + 1, again)
    message = refused("\n".join(lines))
    line, _, problem = message.partition(": ")
    assert problem == f"duplicate key {key!r}"
    assert lines[int(line) - 1].strip().strip('"').startswith(key)


@pytest.mark.parametrize("key", ["1", "null", "true", "1.5", "2001-01-01", "[a, b]", "{a: b}"])
@pytest.mark.parametrize("where", ["provider", "hosts", "hosts.server", "hosts.server.port"])
def test_keys_that_are_not_text(refused: Refused, where: str, key: str) -> None:
    """A key that is no text is refused at any depth, with its line."""
    message = refused(with_yaml(where, f"{{? {key} : x}}"))
    assert re.fullmatch(r"\d+: .+ is not a key's name", message)


@pytest.mark.parametrize("key", ["<<", "="])
def test_keys_with_a_meaning_of_their_own_in_yaml(refused: Refused, key: str) -> None:
    """YAML 1.1's merge and default keys are not for inventories."""
    assert re.match(r"\d+: ", refused(with_yaml("hosts.server", f"{{{key}: {{port: 22}}}}")))


# Values


def test_one_address_on_both_hosts(refused: Refused) -> None:
    """Two hosts have two addresses; the message names the address and both keys."""
    message = refused(with_value("hosts.client.address", "10.0.0.1"))
    assert message == "hosts.client.address: 10.0.0.1 is a duplicate of hosts.server.address"


BAD_VALUES: dict[str, tuple[object, ...]] = {
    "address": (
        *("server.example", "fe80::1", "::ffff:10.0.0.1", "999.1.1.1", "10.0.0", "10.0.0.1.1"),
        *("10.0.0.1/24", "010.0.0.1", " 10.0.0.1", "10.0.0.1\n", "", "1\u0660.0.0.1"),
        *(10, 167772161, 1.5, True, None, [], ["10.0.0.1"], {}),
    ),
    "port": (0, -1, 65536, 70000, "22", "", True, False, 22.0, None, [22], {}),
    "interface": (
        *("", "eth/0", "eth:0", "eth 0", "eth0\n", "\t", "a" * 16, ".", "..", "eth\0", "a\u2028b"),
        *(33, None, True, ["ens33"], {}),
    ),
    "user": (
        *("", " ", "ro ot", "root ", "root\n", "-root", "0root", "a" * 33, "ro;ot", "r\u00f6\u00f6t"),
        *(0, None, True, ["root"], {}),
    ),
    "ssh_alias": (1, True, [], ["x"], {}),
    "identity_file": (1, True, [], ["x"], {}),
}


@pytest.mark.parametrize("role", HOSTS)
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_VALUES.items() for value in values])
def test_bad_value_of_a_host(refused: Refused, role: str, key: str, value: object) -> None:
    """A value that cannot be right is refused with its key, what was expected and what was found."""
    message = refused(with_value(f"hosts.{role}.{key}", value))
    found = f"a {type(value).__name__}" if isinstance(value, list | dict) else repr(value)
    assert re.fullmatch(rf"hosts\.{role}\.{key}: expected .+, found {re.escape(found)}", message)


@pytest.mark.parametrize("key", ["provider", "ssh_config", "known_hosts"])
@pytest.mark.parametrize("value", [None, 1, True, 1.5, [], ["embedded"], {}, {"a": "b"}])
def test_bad_value_of_the_file(refused: Refused, key: str, value: object) -> None:
    """What must be a text is refused when it is not, with its key and what was found."""
    message = refused(with_value(key, value))
    assert message.startswith(f"{key}: expected a text, found ")


@pytest.mark.parametrize("value", [None, 1, "x", "", True, [], ["address"]])
@pytest.mark.parametrize(
    ("where", "known"), [("hosts", ROLE_KEYS), ("hosts.server", HOST_KEYS), ("hosts.client", HOST_KEYS)]
)
def test_not_a_mapping(refused: Refused, where: str, known: str, value: object) -> None:
    """Where a mapping belongs, anything else is refused with the keys it would have."""
    assert refused(with_value(where, value)) == f"{where}: expected a mapping with the keys {known}"


@pytest.mark.parametrize("value", ["x" * 2000, "\n" * 1000, "\x85\u2028\u2029\x1c", "\x1b[31m red", "\ud800 \udfff"])
@pytest.mark.parametrize("key", ["address", "user", "port", "interface"])
def test_odd_texts_are_shown_short_and_harmless(refused: Refused, key: str, value: str) -> None:
    """However long or odd a value is, the message stays one short printable line."""
    escaped = '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    message = refused(with_yaml(f"hosts.server.{key}", escaped))
    assert message.startswith(f"hosts.server.{key}: expected ")
    assert len(message) < 250


@pytest.mark.parametrize("where", ["provider", "hosts.server.port", "hosts.client.user"])
def test_a_number_too_long_to_print(refused: Refused, where: str) -> None:
    """A number with more digits than Python prints is a wrong value like any other."""
    message = refused(with_yaml(where, "0x" + "f" * 5000))
    assert message.startswith(f"{where}: expected ")


# Documents


@pytest.mark.parametrize("content", ["- provider\n", "embedded\n", "22\n", "true\n", "[]\n", "null\n", "~\n"])
def test_document_that_is_not_a_mapping(refused: Refused, content: str) -> None:
    """A document that is no mapping is refused with the keys it would have."""
    assert refused(content) == f"expected a mapping with the keys {TOP_KEYS}"


@pytest.mark.parametrize("content", ["", "\n\n", "   ", "# a comment\n", "---\n", "\ufeff"])
def test_empty_file(refused: Refused, content: str) -> None:
    """A file that says nothing is refused with the keys it would have."""
    assert refused(content) == f"expected a mapping with the keys {TOP_KEYS}"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("provider: [embedded\n", 2),
        ("provider: embedded\nhosts: }\n", 2),
        ("provider: embedded\n\nhosts: a: b\n", 3),
        ("provider: embedded\nhosts:\n  server: {}\n client: {}\n", 4),
        ("provider: 'embedded\n", 2),
        ("provider: *nowhere\n", 1),
        ("provider: !unknown x\n", 1),
        ("provider: !!python/name:os.system x\n", 1),
        ("provider: @x\n", 1),
        ('provider: x\nhosts: "\\q"\n', 2),
        ("provider: x\n---\nprovider: y\n", 2),
        ("%YAML 2.0\n---\nprovider: x\n", 1),
    ],
)
def test_syntax_error_has_its_line(refused: Refused, content: str, line: int) -> None:
    """What is not YAML, or a tag nobody knows, is refused with the line's number: file:line: problem."""
    assert re.match(rf"{line}: \S", refused(content))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("provider: embedded\nhosts:\n\tserver: {}\n", 3),
        ("\tprovider: embedded\n", 1),
        ("provider: embedded\nhosts:\n  server:\n  \tport: 22\n\tuser: root\n", 4),
    ],
)
def test_tabs_for_indentation(refused: Refused, content: str, line: int) -> None:
    """A tab cannot indent; the message has the line's number."""
    assert re.match(rf"{line}: \S", refused(content))


@pytest.mark.parametrize(
    "value",
    [
        '!!int ""',
        "!!int _",
        "!!int x",
        '!!float ""',
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "!!binary \u00e9",
        "!!map x",
        "!!map [x]",
        "!!set [x]",
        "!!seq x",
        "!!str [x]",
        "!!null {}",
        "!!omap x",
        "!!pairs [x]",
        '"\\UFFFFFFFF"',
        '"\\U00110000"',
        "2001-99-99",
        "0x_",
        "0b_",
        "9" * 5000,
        "1" + ":1" * 400 + ".0",
        "&a !!str {=: *a}",
        "&a {? *a : x}",
        "&a [*a]",
        "&a {b: *a}",
    ],
)
@pytest.mark.parametrize("where", ["provider", "hosts", "hosts.server", "hosts.server.port"])
def test_tags_and_values_that_pyyaml_trips_over(refused: Refused, where: str, value: str) -> None:
    """No exception of the YAML library escapes, whatever a tag or an escape asks of it."""
    message = refused(with_yaml(where, value))
    assert re.match(rf"\d+: |not YAML: |{re.escape(where)}: (expected|unknown key) ", message)


def bomb() -> str:
    """Write the billion laughs: nine anchors, each nine times the one before."""
    levels = ["&a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    levels += [f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return f"[{', '.join(levels)}]"


def chain() -> str:
    """Write a list in a list and so on, too deep to print, without nesting in the text."""
    return f"[&a0 [x], {', '.join(f'&a{n} [*a{n - 1}]' for n in range(1, 3000))}]"


@pytest.mark.parametrize("value", [bomb(), chain()], ids=["bomb", "chain"])
@pytest.mark.parametrize(
    "where",
    [
        *("provider", "ssh_config", "hosts", "hosts.server", "hosts.server.address", "hosts.server.user"),
        *("hosts.client.port", "hosts.client.interface", "hosts.client.ssh_alias", "unknown"),
    ],
)
def test_alias_bomb_ends_quickly(refused: Refused, where: str, value: str) -> None:
    """A few hundred bytes that stand for gigabytes are refused like any wrong value."""
    content = with_yaml(where, value)
    with at_most(5):
        message = refused(content)
    assert where in message
    assert len(message) < 250


@pytest.mark.parametrize("value", [bomb(), chain()], ids=["bomb", "chain"])
def test_alias_bomb_as_a_key_ends_quickly(refused: Refused, value: str) -> None:
    """The same in a key's place."""
    content = f"? {value}\n: x\n"
    with at_most(5):
        message = refused(content)
    assert message == "1: a list is not a key's name"


@pytest.mark.parametrize(
    "content",
    [
        "[" * 5_000,
        "{a: " * 5_000,
        "- " * 5_000,
        "? " * 5_000,
        "provider: " + "[" * 5_000 + "]" * 5_000,
        "\n".join(" " * n + "a:" for n in range(2000)),
    ],
    ids=["lists", "mappings", "dashes", "keys", "closed", "indented"],
)
def test_deep_nesting(refused: Refused, content: str) -> None:
    """A document nested deeper than Python recurses is refused, and quickly."""
    with at_most(20):
        message = refused(content)
    assert message.startswith("not YAML: ")


# Files


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\x01\x00\xff\xfe\xfd", b"\xff\xfep\x00r\x00", b"provider: \xe9\n", b"\x80"]
)
def test_binary_file(refused: Refused, content: bytes) -> None:
    """A file that is not UTF-8 is refused as such."""
    assert refused(content) == "the inventory is not UTF-8 text"


@pytest.mark.parametrize("content", [b"\x00" * 64, b"provider: \x00\n", b"\x1b[31m\n", b"\x7f\x01\x02"])
def test_control_characters(refused: Refused, content: bytes) -> None:
    """Bytes that are UTF-8 but no text are refused as well."""
    assert refused(content).startswith("not YAML: ")


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named with the system's reason."""
    path = tmp_path / "none.yaml"
    with pytest.raises(HarnessError) as caught:
        load_inventory(path)
    assert str(caught.value) == f"{path}: cannot read the inventory: No such file or directory"


def test_directory_instead_of_a_file(tmp_path: Path) -> None:
    """A directory is named with the system's reason."""
    with pytest.raises(HarnessError) as caught:
        load_inventory(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot read the inventory: Is a directory"


@pytest.mark.parametrize("name", ["a/b.yaml", "loop.yaml"])
def test_path_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    """Neither a file taken for a directory nor a link to itself is more than one line."""
    (tmp_path / "a").touch()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    path = tmp_path / name
    with pytest.raises(HarnessError) as caught:
        load_inventory(path)
    assert_one_line(str(caught.value))
    assert str(caught.value).startswith(f"{path}: cannot read the inventory: ")


@pytest.mark.parametrize("name", ["two\nlines", "next\u2028line", "nul\0", "not\udcffutf8", "x" * 300])
@pytest.mark.parametrize("content", [None, "", "provider: [\n", "provider: 1\nhosts: {}\n"])
def test_odd_paths_do_not_break_the_line(tmp_path: Path, name: str, content: str | None) -> None:
    """A path that is no printable line is shown escaped, whatever is wrong with the file."""
    path = tmp_path / name
    if content is not None and "\0" not in name and len(name) < 256:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError) as caught:
        load_inventory(path)
    assert_one_line(str(caught.value))
    assert repr(str(path)).strip("'") in str(caught.value)


def test_a_path_with_spaces_is_shown_as_it_is(tmp_path: Path) -> None:
    """A path is never folded: the user can copy it from the message."""
    path = tmp_path / "my  lab \u00e9.yaml"
    with pytest.raises(HarnessError) as caught:
        load_inventory(path)
    assert str(caught.value).startswith(f"{path}: ")


# Anything at all

_ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # all that UTF-8 can hold
_TOKENS = st.sampled_from(
    [
        *("provider", "hosts", "server", "client", "address", "user", "port", "interface", "embedded"),
        *(": ", ":", ", ", "- ", "? ", "[", "]", "{", "}", "\n", "\n  ", "\n    ", " ", "\t", "#", "|", ">"),
        *("&a ", "*a", "&b ", "*b", "!", "!!int ", "!!float ", "!!bool ", "!!null ", "!!str ", "!!binary "),
        *("!!timestamp ", "!!map ", "!!seq ", "!!set ", "!!omap ", "!!pairs ", "!!merge ", "!x ", "<<", "="),
        *("'", '"', "\\", "\\x00", "\\ud800", "\\UFFFFFFFF", "%YAML 1.1\n", "---\n", "...\n", "\ufeff", "~"),
        *("0", "22", "0x_", "0b_", "0o8", "1:59.5", ".inf", ".nan", "1e9", "2001-99-99", "yes", "10.0.0.1"),
    ]
)
_YAML_LIKE = st.lists(_TOKENS | st.text(max_size=3), max_size=40).map("".join)


@st.composite
def _spoilt(draw: st.DrawFn) -> str:
    """Replace one stretch of a good inventory by something YAML-like."""
    good = yaml.safe_dump(document(), sort_keys=False)
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, min(len(good), start + 30)))
    return good[:start] + draw(st.lists(_TOKENS, max_size=6).map("".join)) + good[end:]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(content=_ANY_TEXT | _YAML_LIKE | _spoilt())
@example(content="")
@example(content="!!map [x]")
@example(content="!!set [x]")
@example(content='!!int ""')
@example(content="!!bool x")
@example(content="!!timestamp x")
@example(content='"\\UFFFFFFFF"')
@example(content="{provider: 0x" + "f" * 5000 + ", hosts: x}")
def test_any_text_is_an_inventory_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    """Whatever the file says, the answer is an inventory or one line with the file's path, nothing else."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode(errors="replace"))
    _inventory_or_one_line(path)


@settings(deadline=None)
@given(content=st.binary())
def test_any_bytes_are_an_inventory_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """The same for a file that need not be text."""
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(content)
    _inventory_or_one_line(path)


def _inventory_or_one_line(path: Path) -> None:
    """Load *path* and check the outcome; any exception but HarnessError passes, and fails the test."""
    outcome: Inventory | str
    try:
        outcome = load_inventory(path)
    except HarnessError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert_one_line(outcome)
        assert outcome.startswith(f"{path}:")
        return
    assert outcome.path == path
    assert outcome.server.address != outcome.client.address
    for host in (outcome.server, outcome.client):
        assert 1 <= host.port <= 65535


@pytest.mark.parametrize("value", ["hunter2", 42, None, ["hunter2"]])
def test_a_password_has_no_place_in_the_inventory(refused: Refused, value: object) -> None:
    """A password in the file is refused, with what to do instead; it is not repeated."""
    said = refused(with_value("hosts.server.password", value))
    assert "hosts.server.password: a password does not belong in a file" in said
    assert "password_env: " in said
    assert "hunter2" not in said


@pytest.mark.parametrize("value", ["", "1ST", "two words", "a-b", 5, ["A"], "hunter2!"])
def test_password_env_is_a_variables_name(refused: Refused, value: object) -> None:
    """Anything else is refused, and not repeated: it may be the password itself."""
    said = refused(with_value("hosts.client.password_env", value))
    assert "hosts.client.password_env: expected the name of an environment variable" in said
    assert "hunter2" not in said


def test_password_env(load: Load) -> None:
    """The variable's name is taken over."""
    name = "LAB_PASSWORD"
    assert load(with_value("hosts.client.password_env", name)).client.password_env == name
