"""YAML that is larger, deeper or other than it looks."""

import pytest
from ar_core.config import parse_yaml
from ar_core.errors import ConfigError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh")
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}], y{name}: 1}}\n"
    for before, name in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "aliases written out this has more than 100000 values"),
        ("a: &a [*a]", "holds itself"),
        ("a: &a {b: *a}", "holds itself"),
        ("[" * 5000, "nested more than 100 levels deep|not valid YAML"),
        ("a: " + "[" * 150 + "]" * 150, "nested more than 100 levels deep"),
        ("a: 2001-99-99", "not what its form or tag says"),
        ("a: !!int x", "not what its form or tag says"),
        ("a: !!float ''", "not what its form or tag says"),
        ("a: !!bool maybe", "not what its form or tag says"),
        ("a: !!timestamp x", "not what its form or tag says"),
        (f"a: {'9' * 5000}", "not what its form or tag says"),
        ("a: !!python/object/apply:os.getpid []", "not valid YAML"),
        ("a: !!python/name:os.system", "not valid YAML"),
        ("a: \x08", "special characters are not allowed"),
    ],
)
def test_it_is_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_yaml(text, "a.yaml")


def test_aliases_and_merges_of_usual_size_stay():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a") == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}


def test_merges_of_merges_do_not_multiply():
    """Older releases of PyYAML keep every copy of a key; what they make of it is refused."""
    try:
        assert parse_yaml(MERGES)["i"] == {"x": 1, **{f"y{name}": 1 for name in "bcdefghi"}}
    except ConfigError as error:
        assert "merged mappings have more than 100000 keys" in str(error)  # noqa: PT017


@pytest.mark.parametrize("bracket", ["[", "{a: "])
def test_deep_brackets_are_refused_where_they_are_read(bracket):
    """Each token looks at all that are open: seconds went by on 3,000 of them before the end of the text was reached."""
    with pytest.raises(ConfigError, match=r"a\.yaml, line 3: this is nested more than 100 levels deep"):
        parse_yaml(f"a: {bracket * 99}\n{bracket}\n{bracket}\n{bracket * 3000}", "a.yaml")
