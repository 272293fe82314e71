"""The 8x8 drawing in every docstring is what the rule computes."""

import inspect
import re

import ar_core.masks as masks
import pytest
import torch

FACTORIES = [
    "bidirectional",
    "block_causal",
    "block_diffusion",
    "causal",
    "document",
    "noise_aware_causal",
    "padding",
    "prefix",
    "scale_causal",
    "scale_strict_plus_self",
    "sliding_window",
    "tree",
]
DRAWING = re.compile(r"::\n\n((?: *\S.*\n?)+)")


def drawings(name: str) -> list[tuple[str, dict[str, list[int]], list[str]]]:
    found = []
    for block in DRAWING.findall(inspect.getdoc(getattr(masks, name))):
        expression, *lines = [line.split() for line in block.splitlines()]
        ids = {line[0]: [int(number) for number in line[1:]] for line in lines if line[0] not in ("#", ".")}
        picture = ["".join(line) for line in lines if line[0] in ("#", ".")]
        found.append((" ".join(expression), ids, picture))
    return found


@pytest.mark.parametrize("name", FACTORIES)
def test_drawing(name):
    found = drawings(name)
    assert found, f"{name} draws nothing"
    for expression, ids, picture in found:
        rule = eval(expression, vars(masks))
        assert name in expression
        assert set(ids) >= rule.needs
        tokens = masks.Tokens(**{key: torch.tensor(values) for key, values in ids.items()})
        dense = masks.Mask.self_attention(rule, tokens).dense()[0, 0]
        assert ["".join(".#"[cell] for cell in row) for row in dense.int().tolist()] == picture, expression


def test_every_rule_is_drawn():
    rules = {
        name
        for name in masks.__all__
        if inspect.isfunction(getattr(masks, name))
        and inspect.signature(getattr(masks, name)).return_annotation is masks.Rule
    }
    assert rules == set(FACTORIES)


def test_number_of_drawings():
    assert {name: len(drawings(name)) for name in ("block_diffusion", "noise_aware_causal")} == {
        "block_diffusion": 4,
        "noise_aware_causal": 2,
    }
