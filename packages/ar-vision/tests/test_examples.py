"""What must hold of the shipped models, which are trained: what is drawn greedily on the cache is what one masked pass finds."""

from pathlib import Path

import pytest
import torch
from ar_vision.backbones.flexvar.decode import FlexVarDecoding
from ar_vision.backbones.flexvar.decode import generate as generate_flexvar
from ar_vision.backbones.infinity.decode import InfinityOptions
from ar_vision.backbones.infinity.decode import generate as generate_infinity
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate_images
from ar_vision.backbones.var.decode import VarDecoding
from ar_vision.backbones.var.decode import generate as generate_var
from ar_vision.checkpoint import load_checkpoint, require_pair
from ar_vision.scales import ScaleSchedule
from ar_vision.text.encoder import build_text_encoder
from ar_vision.tokenizers.scale_history import teacher_inputs

EXAMPLES = Path(__file__).parents[1] / "examples"
LABELS = [1, 8, 7]
CAPTIONS = ["a red bus on a street", "grass"]
# Logits within rounding of the largest may win on either side.
ROUNDING = 1e-3


def opened(generator, tokenizer):
    loaded, pair = load_checkpoint(EXAMPLES / generator), load_checkpoint(EXAMPLES / tokenizer)
    require_pair(loaded, pair)
    return loaded.model.float().eval(), pair.model.float().eval()


def chosen_falls_short(logits, codes):
    """By how much the logits [B, L, V] of codes [B, L] are below the largest ones."""
    return float((logits.amax(-1) - logits.gather(-1, codes[..., None]).squeeze(-1)).max())


@pytest.mark.parametrize(
    ("name", "coder", "generate", "options"),
    [
        ("var", "var_tokenizer", generate_var, VarDecoding(guidance=1, temperature=0)),
        ("flexvar", "vq_tokenizer", generate_flexvar, FlexVarDecoding(guidance=1, temperature=0)),
    ],
)
@torch.no_grad()
def test_scales_are_drawn_greedily_as_one_masked_pass_finds_them(name, coder, generate, options):
    model, tokenizer = opened(name, coder)
    drawn, schedule = generate(model, tokenizer, LABELS, options), ScaleSchedule.square(*model.config.scales)
    condition = model.condition(torch.tensor(LABELS))
    inputs = teacher_inputs(tokenizer.history(len(LABELS), schedule), drawn.codes)
    logits = model.head(model.teacher_forced(condition, inputs, schedule), condition)
    assert logits.std() > 1
    assert chosen_falls_short(logits, torch.cat(drawn.codes, dim=1)) <= ROUNDING
    alone = generate(model, tokenizer, LABELS[1:2], options)
    torch.testing.assert_close(alone.images[0], drawn.images[1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_llamagen_draws_greedily_what_one_masked_pass_finds():
    model, tokenizer = opened("llamagen", "vq_tokenizer")
    condition = class_condition(model, LABELS)
    drawn = generate_images(model, tokenizer, condition, LlamaGenOptions(guidance=1, temperature=0))
    logits = model.head(model.teacher_forced(condition.given, drawn.codes[0], condition.valid))
    assert logits.std() > 1
    assert chosen_falls_short(logits, drawn.codes[0]) <= ROUNDING
    alone = generate_images(
        model, tokenizer, class_condition(model, LABELS[1:2]), LlamaGenOptions(guidance=1, temperature=0)
    )
    torch.testing.assert_close(alone.images[0], drawn.images[1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_infinity_draws_greedily_what_one_masked_pass_finds():
    model, tokenizer = opened("infinity", "bsq_tokenizer")
    text = build_text_encoder(model.config.texts).encode(CAPTIONS)
    (schedule,) = map(ScaleSchedule.of, model.config.schedules)
    drawn = generate_infinity(model, tokenizer, text, schedule, InfinityOptions(guidance=(1.0,), temperature=(0.0,)))
    inputs = teacher_inputs(tokenizer.history(len(CAPTIONS), schedule), drawn.codes)
    logits = model(inputs, text, schedule).unflatten(-1, (-1, 2))
    assert logits.std() > 0.5
    assert chosen_falls_short(logits, torch.cat(drawn.codes, dim=1).long()) <= ROUNDING


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_every_example_has_a_card_and_half_precision(name):
    loaded = load_checkpoint(EXAMPLES / name)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float16}
    assert (EXAMPLES / name / "README.md").read_text(encoding="utf-8").startswith("---\nlicense: ")
