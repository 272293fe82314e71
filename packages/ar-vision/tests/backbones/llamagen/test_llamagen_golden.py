"""LlamaGen against what the published implementation computed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ar_core.io import read_header, read_tensors
from ar_core.sampling import llamagen_filter
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition
from ar_vision.backbones.llamagen.loading import from_published, to_published
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.llamagen.rotary import rotary_table, rotate
from ar_vision.decoding.raster import generate_raster, interval_guidance
from torch import Generator, Tensor

RUNS = {
    "greedy_cfg1": LlamaGenOptions(guidance=1.0, temperature=0.0),
    "greedy_cfg2": LlamaGenOptions(guidance=2.0, temperature=0.0),
    "greedy_cfg3_interval4": LlamaGenOptions(guidance=3.0, guidance_interval=4, temperature=0.0),
    "seed0_cfg2_t0.9_k20_p0.9": LlamaGenOptions(guidance=2.0, temperature=0.9, top_k=20, top_p=0.9),
}


@pytest.fixture(scope="module")
def recorded(golden_dir: Path) -> dict[str, Tensor]:
    return read_tensors(golden_dir / "vision_a" / "llamagen_gpt_c2i.safetensors")


@pytest.fixture(scope="module")
def settings(golden_dir: Path) -> dict[str, Any]:
    header = read_header(golden_dir / "vision_a" / "llamagen_gpt_c2i.safetensors")
    return {name: json.loads(text) for name, text in header["__metadata__"].items()}


@pytest.fixture(scope="module")
def model(recorded: dict[str, Tensor]) -> LlamaGen:
    weights = {name.removeprefix("w."): tensor for name, tensor in recorded.items() if name.startswith("w.")}
    return from_published(weights, grid=4, heads=3)


def test_config_is_what_made_the_weights(model: LlamaGen, settings: dict[str, Any]) -> None:
    config, published = model.config, settings["config"]
    assert (config.dim, config.layers, config.heads) == tuple(published[n] for n in ("dim", "n_layer", "n_head"))
    assert (config.vocab_size, config.codes) == (published["vocab_size"], published["block_size"])
    assert (config.num_classes, config.prefix) == (published["num_classes"], published["cls_token_num"])


def test_keys_are_the_published_ones(model: LlamaGen, golden_dir: Path) -> None:
    listed = json.loads((golden_dir / "vision_a" / "llamagen_gpt_c2i_keys.json").read_text())
    written = {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in to_published(model).items()}
    assert written == listed


def test_logits_and_loss(model: LlamaGen, recorded: dict[str, Tensor]) -> None:
    codes = recorded["z"].long()
    with torch.no_grad():
        logits = model.head(model.teacher_forced(model.condition(recorded["c"].long()), codes))
    assert (logits - recorded["train_logits"]).abs().max() <= 1e-4
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
    assert (loss - recorded["train_loss"]).abs() <= 1e-4


def test_rotary_tables(recorded: dict[str, Tensor]) -> None:
    assert (rotary_table(4, 16, 1) - recorded["freqs_cis"]).abs().max() <= 1e-6
    assert (rotary_table(4, 16, 3) - recorded["freqs_cis_t2i"]).abs().max() <= 1e-6


def test_rotated_heads(recorded: dict[str, Tensor]) -> None:
    turned = rotate(recorded["rope_in"].transpose(1, 2), rotary_table(4, 16, 1)).transpose(1, 2)
    assert (turned - recorded["rope_out"]).abs().max() <= 1e-6
    assert (turned[:, 0] == 0).all()


@pytest.mark.parametrize("name", RUNS)
def test_generation_with_the_recorded_codes_forced(
    name: str, model: LlamaGen, recorded: dict[str, Tensor], settings: dict[str, Any]
) -> None:
    options, published = RUNS[name], settings["runs"][name]
    assert (options.guidance, options.guidance_interval) == (published["cfg_scale"], published.get("cfg_interval"))
    stored, seen = recorded[f"{name}.tokens"].long(), []

    def force(place: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        seen.append(logits[:, 0])
        return stored[:, place : place + 1]

    generate_raster(
        model,
        class_condition(model, [3, 7]),
        force,
        guidance=interval_guidance(options.guidance, 16, options.guidance_interval),
        width=4,
    )
    logits = torch.stack(seen, dim=1)
    assert (logits - recorded[f"{name}.step_logits"]).abs().max() <= 2e-4
    # What was drawn lies in the filtered set; greedy runs drew its argmax.
    kept = options.sampler.filtered(logits).gather(-1, stored[..., None])
    assert kept.isfinite().all()
    if not published["sample_logits"]:
        assert torch.equal(logits.argmax(-1), stored)


def test_filters(golden_dir: Path) -> None:
    cases = read_tensors(golden_dir / "vision_a" / "llamagen_sampling_filter.safetensors")
    logits = cases.pop("logits")
    assert cases
    for name, expected in cases.items():
        k, p = name.removesuffix(".probs").split("_")
        kept = llamagen_filter(logits, int(k[1:]), float(p[1:])).softmax(-1)
        assert (kept - expected).abs().max() <= 1e-6, name
