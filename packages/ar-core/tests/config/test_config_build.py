"""Dataclasses from plain data: types, paths in messages, round trips."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from ar_core.config import did_you_mean, from_dict, to_dict
from ar_core.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    name: str | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError(f"lr is {self.lr} and must be positive")


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Outer:
    steps: int
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    mode: Literal["constant", "cosine", 1] = "constant"
    sizes: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    many: list[Inner] = field(default_factory=list)
    rate: int | float | None = None
    limit: int | Literal["auto"] = "auto"
    path: Path | None = None
    flag: bool = False
    either: Inner | Text | None = None
    anything: Any = None


def test_everything_at_once_and_back() -> None:
    data = {
        "steps": 3,
        "inner": {"lr": 1, "betas": [0.5, 1], "name": "a"},
        "maybe": {"lr": 0.5},
        "mode": 1,
        "sizes": [1, 2],
        "names": ["x"],
        "table": {"k": 1},
        "many": [{}, {"lr": 2.0}],
        "rate": 0.5,
        "limit": 7,
        "path": "a/b",
        "flag": True,
        "either": {"text": "t"},
        "anything": {"free": [1, None]},
    }
    built = from_dict(Outer, data)
    assert built == Outer(
        steps=3,
        inner=Inner(1.0, (0.5, 1.0), "a"),
        maybe=Inner(0.5),
        mode=1,
        sizes=(1, 2),
        names=["x"],
        table={"k": 1},
        many=[Inner(), Inner(2.0)],
        rate=0.5,
        limit=7,
        path=Path("a/b"),
        flag=True,
        either=Text("t"),
        anything={"free": [1, None]},
    )
    assert isinstance(built.inner.lr, float)
    assert isinstance(built.sizes, tuple)
    assert from_dict(Outer, to_dict(built)) == built
    assert to_dict(built)["path"] == "a/b"
    assert to_dict(built)["inner"]["betas"] == [0.5, 1.0]


def test_defaults() -> None:
    assert from_dict(Outer, {"steps": 1}) == Outer(1)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"steps": 1, "stps": 2}, ["unknown key 'stps'", "did you mean 'steps'?"]),
        ({"steps": 1, "inner": {"lrr": 2}}, ["unknown key 'inner.lrr'", "did you mean 'lr'?"]),
        ({"steps": 1, "many": [{}, {"beta": [0, 0]}]}, ["unknown key 'many[1].beta'", "'betas'"]),
        ({"steps": 1, "maybe": {"zzz": 2}}, ["unknown key 'maybe.zzz'", "choose one of lr, betas, name"]),
        ({}, ["'steps' is missing", "give it an integer"]),
        ({"steps": "1"}, ["steps is '1' (str)", "an integer"]),
        ({"steps": True}, ["steps is True (bool)", "an integer"]),
        ({"steps": 1.0}, ["steps is 1.0 (float)", "an integer"]),
        ({"steps": None}, ["steps is None", "an integer"]),
        ({"steps": 1, "flag": 1}, ["flag is 1 (int)", "true or false"]),
        ({"steps": 1, "inner": {"lr": "1e-4"}}, ["inner.lr is '1e-4' (str)", "a number"]),
        ({"steps": 1, "inner": {"lr": True}}, ["inner.lr is True", "a number"]),
        ({"steps": 1, "inner": {"lr": -1}}, ["inner: lr is -1.0 and must be positive"]),
        ({"steps": 1, "inner": 3}, ["inner is 3 (int)", "a mapping of Inner settings"]),
        ({"steps": 1, "inner": {"betas": [1]}}, ["inner.betas is [1]", "a list of 2"]),
        ({"steps": 1, "inner": {"betas": 1}}, ["inner.betas is 1", "a list of 2"]),
        ({"steps": 1, "sizes": [1, "2"]}, ["sizes[1] is '2'", "an integer"]),
        ({"steps": 1, "sizes": "12"}, ["sizes is '12'", "a list"]),
        ({"steps": 1, "mode": "cosin"}, ["mode is 'cosin'", "'constant', 'cosine', 1", "did you mean 'cosine'?"]),
        ({"steps": 1, "mode": True}, ["mode is True", "choose one of"]),
        ({"steps": 1, "rate": "fast"}, ["rate is 'fast'", "an integer or a number or null"]),
        ({"steps": 1, "rate": True}, ["rate is True"]),
        ({"steps": 1, "table": {"k": "v"}}, ["table.k is 'v'", "an integer"]),
        ({"steps": 1, "table": [1]}, ["table is [1]", "a mapping"]),
        ({"steps": 1, "limit": "aut"}, ["limit is 'aut'", "an integer or one of 'auto'"]),
        ({"steps": 1, "either": {"nothing": 1}}, ["either is", "Inner settings or a mapping of Text settings"]),
    ],
)
def test_messages(data: dict, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, data)
    for part in parts:
        assert part in str(caught.value)


def test_where_is_put_in_front() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'run\.inner\.lrr'"):
        from_dict(Outer, {"steps": 1, "inner": {"lrr": 1}}, where="run")
    with pytest.raises(ConfigError, match=r"^run\.inner: lr is 0\.0"):
        from_dict(Outer, {"steps": 1, "inner": {"lr": 0}}, where="run")


def test_not_a_mapping() -> None:
    with pytest.raises(ConfigError, match="a mapping of Outer settings"):
        from_dict(Outer, [1])  # type: ignore[arg-type]


def test_did_you_mean() -> None:
    assert did_you_mean("stpes", ["steps", "lr"]) == "did you mean 'steps'?"
    assert did_you_mean("qqq", ["steps", "lr"]) == "choose one of steps, lr"
    assert did_you_mean("qqq", ["light", "blur, strong"]) == "choose one of light, 'blur, strong'"
    assert did_you_mean("qqq", []) == "there are none to choose from"


def test_only_configs_become_mappings() -> None:
    with pytest.raises(ConfigError, match="only a config object"):
        to_dict(Outer)
