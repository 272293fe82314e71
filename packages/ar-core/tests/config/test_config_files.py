"""YAML, overrides and paths."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ar_core.config import apply_overrides, expand_path, load_yaml, parse_yaml, text_fields
from ar_core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("1_000", 1000),
        ("-7", -7),
        ("0", 0),
        ("007", "007"),
        ("1:30", "1:30"),
        ("0x1f", "0x1f"),
        ("true", True),
        ("false", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("e5", "e5"),
        ("1e", "1e"),
        (".", "."),
        ("-", None),
        ("'1'", "1"),
        ("[1, 2.0, a]", [1, 2.0, "a"]),
        ("{a: 1e-2}", {"a": 0.01}),
    ],
)
def test_scalars(text: str, value: object) -> None:
    if text == "-":
        assert parse_yaml(text) == [None]
    else:
        assert parse_yaml(text) == value
        assert type(parse_yaml(text)) is type(value)


def test_duplicate_key_names_file_and_line(tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    with pytest.raises(ConfigError, match=r"run\.yaml, line 5: the key 'c' is written twice"):
        load_yaml(path)


def test_merge_keys_keep_working(tmp_path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("base: &base {a: 1}\nmore:\n  <<: *base\n  b: 2\n")
    assert load_yaml(path)["more"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "line 2: this is not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("1: a\n", "the key 1 is not text"),
        ("- a\n", "holds list, not a mapping"),
        ("", "holds NoneType, not a mapping"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_bad_files(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert message in str(caught.value)
    assert "run.yaml" in str(caught.value)


def test_absent_and_binary(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "binary.yaml")


def test_overrides() -> None:
    data = {"train": {"lr": 1.0, "betas": [1, 2]}, "model": None}
    changed = apply_overrides(
        data, ["train.lr=1e-4", "train.betas=[0.5, 0.9]", "model.path=a=b", "name=", "deep.er.key=null", "train.lr=2"]
    )
    assert changed == {
        "train": {"lr": 2, "betas": [0.5, 0.9]},
        "model": {"path": "a=b"},
        "name": "",
        "deep": {"er": {"key": None}},
    }
    assert data == {"train": {"lr": 1.0, "betas": [1, 2]}, "model": None}, "the caller's mapping is left alone"


def test_a_key_can_be_taken_out() -> None:
    data = {"train": {"lr": 1.0, "seed": 3}, "model": {"lora": {"rank": 4}}}
    assert apply_overrides(data, ["~train.seed", "train.lr=2", "~model.lora"]) == {"train": {"lr": 2}, "model": {}}
    assert data["train"] == {"lr": 1.0, "seed": 3}
    for absent in ("~train.momentum", "~other.key", "~train.lr.x", "~"):
        with pytest.raises(ConfigError, match=r"takes out a key that the config does not set"):
            apply_overrides(data, [absent])


@pytest.mark.parametrize("override", ["train.lr", "=1", ".lr=1", "train..lr=1", "--lr"])
def test_override_form(override: str) -> None:
    with pytest.raises(ConfigError, match="not of the form key=value"):
        apply_overrides({}, [override])


def test_override_through_a_value() -> None:
    with pytest.raises(ConfigError, match=r"leads through train\.lr, which is 1\.0"):
        apply_overrides({"train": {"lr": 1.0}}, ["train.lr.x=1"])


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("<image> and <image>: what differs?", "<image> and <image>: what differs?"),
        ("[1, 2]", "[1, 2]"),
        ("12", "12"),
        ("it's: {", "it's: {"),
        ("'quoted: text'", "quoted: text"),
        ("null", None),
        ("", ""),
    ],
)
def test_text_is_taken_as_it_is_written(given: str, read: str | None) -> None:
    """Of keys that are text alone: another key of the same value is YAML."""

    @dataclass
    class Options:
        prompt: str | None = None
        name: str = ""
        folder: Path = Path()
        sizes: tuple[int, ...] = ()

    assert text_fields(Options) == {"prompt", "name", "folder"}
    changed = apply_overrides({}, [f"prompt={given}", "sizes=[1, 2]"], texts=text_fields(Options))
    assert changed == {"prompt": read, "sizes": [1, 2]}


def test_override_bad_yaml_is_named() -> None:
    with pytest.raises(ConfigError, match=r"the override 'a=\[1'"):
        apply_overrides({}, ["a=[1"])


def test_paths(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SOME_DIR", str(tmp_path))
    monkeypatch.delenv("NOT_SET", raising=False)
    assert expand_path("$SOME_DIR/a") == tmp_path / "a"
    assert expand_path("${SOME_DIR}/a") == tmp_path / "a"
    assert "~" not in str(expand_path("~/a"))
    with pytest.raises(ConfigError, match="NOT_SET, which is not set"):
        expand_path("$NOT_SET/a")


def _modules_after(code: str) -> str:
    script = f"{code}\nimport sys\nprint(' '.join(m for m in ('torch', 'numpy', 'transformers') if m in sys.modules))"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_config_and_registry_import_no_torch() -> None:
    assert _modules_after("import ar_core.config, ar_core.registry; ar_core.registry.recipes()") == ""


def test_the_import_probe_can_fail() -> None:
    assert _modules_after("import numpy") == "numpy"
