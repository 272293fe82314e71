import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import KeyMap

MAP = KeyMap(
    (
        ("encoder.layers.{i}.attention.{part}.weight", "model.layers.{i}.self_attn.{part}_proj.weight"),
        ("encoder.{rest*}", "model.{rest*}"),
        ("diffusion_head.weight", "lm_head.weight"),
    )
)
KEYS = {
    "encoder.layers.0.attention.q.weight": "model.layers.0.self_attn.q_proj.weight",
    "encoder.layers.11.attention.k.weight": "model.layers.11.self_attn.k_proj.weight",
    "encoder.layers.11.mlp.up.weight": "model.layers.11.mlp.up.weight",
    "encoder.norm.weight": "model.norm.weight",
    "diffusion_head.weight": "lm_head.weight",
}


def test_both_directions_are_lossless():
    published = {key: torch.tensor(float(number)) for number, key in enumerate(KEYS)}
    ours = MAP.to_ours(published)
    assert list(ours) == list(KEYS.values())
    back = MAP.to_published(ours)
    assert list(back) == list(published)
    assert all(torch.equal(back[key], published[key]) for key in published)


def test_the_first_rule_wins_and_dots_are_literal():
    rules = KeyMap((("a.b", "x"), ("{key*}", "{key*}")))
    assert list(rules.to_ours({"a.b": torch.zeros(1), "aXb": torch.zeros(1)})) == ["x", "aXb"]


def test_unknown_keys_are_all_named():
    with pytest.raises(CheckpointError, match=r"'head', 'other\.weight' are not of the expected layout"):
        MAP.to_ours({"head": torch.zeros(1), "encoder.norm.weight": torch.zeros(1), "other.weight": torch.zeros(1)})


def test_two_keys_that_become_one_are_refused():
    rules = KeyMap((("a.{i}", "x.{i}"), ("b.{i}", "x.{i}")))
    with pytest.raises(CheckpointError, match=r"'b.1' becomes 'x.1'"):
        rules.to_ours({"a.1": torch.zeros(1), "b.1": torch.zeros(1)})


def test_rules_must_use_the_same_names():
    for rule in (("a.{i}", "b"), ("a", "b.{i}"), ("a.{i}", "b.{j}"), ("{i}.{i}", "{i}.{i}"), ("{i*}", "{i}")):
        with pytest.raises(ValueError, match="must use the same names"):
            KeyMap((rule,))
