import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.config.nodes import MAX_NODES, Malformed, Node, parse, scalar


def plain(node: Node | None) -> object:
    """Return a tree without its places."""
    if node is None:
        return None
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: plain(item) for key, (_, item) in node.value.items()}
    return node.value


def read(text: str) -> object:
    root, problems = parse(text, "x.yaml")
    assert problems == []
    return plain(root)


def refusal(text: str) -> str:
    with pytest.raises(Malformed) as caught:
        parse(text, "x.yaml")
    return caught.value.problem.code


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E+2", 100.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-17", -17),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        # text by YAML 1.2, though not by YAML 1.1
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("0b11", "0b11"),
        ("tRue", "tRue"),
        ("1e", "1e"),
        ("--1", "--1"),
    ],
)
def test_plain_scalars_follow_the_yaml_1_2_core_schema(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read_as_one() -> None:
    assert math.isnan(scalar(".NaN"))


def test_quoted_scalars_are_text() -> None:
    assert read("a: '1'\nb: \"true\"\nc: |-\n  null\n") == {"a": "1", "b": "true", "c": "null"}


def test_values_know_their_line_and_column() -> None:
    root, _ = parse("a:\n  b: 1\n  ccc: [x, yy]\n", "x.yaml")
    assert root is not None
    place, inner = root.value["a"][1].value["ccc"]
    assert (str(place), place.width) == ("x.yaml:3:3", 3)
    assert str(inner.value[1].place) == "x.yaml:3:12"
    assert inner.value[1].place.width == 2


def test_a_key_that_is_there_twice_is_a_problem_at_the_second_one() -> None:
    root, problems = parse("a: 1\nb: 2\na: 3\n", "x.yaml")
    assert plain(root) == {"a": 1, "b": 2}
    assert [(problem.code, str(problem.place), problem.fix) for problem in problems] == [
        ("UPM-C004", "x.yaml:3:1", "first in line 1")
    ]


def test_aliases_are_followed() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1", "UPM-C002"),
        ("a: 1\n b: 2", "UPM-C002"),
        ("a:\t1\n\tb: 2", "UPM-C002"),
        ("a: 'x", "UPM-C002"),
        ("a: *nobody", "UPM-C002"),
        ("a: &a [*a]", "UPM-C002"),
        ("a: 1\n---\nb: 1", "UPM-C002"),
        ("[1, 2]: 3", "UPM-C002"),
        ("a: \x00", "UPM-C002"),
        ("a: \x1b[31m", "UPM-C002"),
        ("[" * 40 + "]" * 40, "UPM-C005"),
        ("[" * 500_000, "UPM-C005"),
        ("x" * (1 << 20) + "x", "UPM-C005"),
        (f"[{'a,' * MAX_NODES}a]", "UPM-C005"),
        ("a: !!python/object/apply:os.system [echo]", "UPM-C006"),
        ("a: !thing 1", "UPM-C006"),
        ("a: !!int '3'", "UPM-C006"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "UPM-C006"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_code(text: str, code: str) -> None:
    assert refusal(text) == code


def test_aliases_can_not_blow_a_small_file_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    started = time.process_time()
    assert refusal("\n".join(lines)) == "UPM-C005"
    assert time.process_time() - started < 1.0


def test_an_empty_file_has_no_tree() -> None:
    assert parse("", "x.yaml") == (None, [])
    assert parse("# nothing\n", "x.yaml") == (None, [])


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text("abc :#'\"-{}[]é\n", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefg-_", min_size=1, max_size=4), inner),
    max_leaves=20,
)


@given(trees)
def test_what_pyyaml_writes_is_read_back(tree: object) -> None:
    # PyYAML quotes by YAML 1.1; everything it leaves bare among these values means the same in 1.2.
    assert read(yaml.safe_dump(tree, allow_unicode=True)) == tree
