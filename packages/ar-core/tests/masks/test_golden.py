"""Masks recorded from the published implementations."""

import re

import pytest
import torch
from ar_core.masks import (
    Mask,
    Tokens,
    block_causal,
    block_diffusion,
    noise_aware_causal,
    scale_causal,
    scale_strict_plus_self,
)
from safetensors.torch import load_file

pytestmark = pytest.mark.golden


def two_streams(length: int, block: int) -> Tokens:
    index = torch.arange(length)
    streams = [Tokens(stream=torch.full((length,), s), block=index // block) for s in (1, 0)]
    return Tokens.cat(streams)


def recorded(folder, name: str, pattern: str) -> list[tuple[re.Match, torch.Tensor]]:
    tensors = load_file(folder / name)
    found = [(match, tensors[key].bool()) for key in sorted(tensors) if (match := re.fullmatch(pattern, key))]
    assert found
    return found


def same(mask: Mask, expected: torch.Tensor) -> bool:
    if not torch.equal(mask.dense()[0, 0], expected):
        return False
    covered = torch.zeros_like(expected)
    for segment in mask.segments(8):
        columns = torch.cat([torch.arange(*span) for span in segment.keys])
        rows = torch.arange(*segment.rows)
        covered[rows[:, None], columns] = True if segment.tile is None else segment.tile
    return torch.equal(covered, expected)


def test_fast_dllm_v2_training(golden_dir):
    for match, expected in recorded(golden_dir, "text/fdv2_masks.safetensors", r"train_n(\d+)_b(\d+)"):
        length, block = map(int, match.groups())
        assert same(Mask.self_attention(block_diffusion(), two_streams(length, block)), expected), match[0]


def test_fast_dllm_v2_decoding(golden_dir):
    for match, expected in recorded(golden_dir, "text/fdv2_masks.safetensors", r"eval_s(\d+)_b(\d+)_c(\d+)"):
        new, block, cached = map(int, match.groups())
        keys = Tokens(block=torch.arange(cached + new) // block)
        assert same(Mask(block_causal(), keys.slice(cached, cached + new), keys), expected), match[0]


def test_diffusion_vl_training(golden_dir):
    for match, expected in recorded(golden_dir, "dvlm/train_mask.safetensors", r"mask_n(\d+)_b(\d+)"):
        length, block = map(int, match.groups())
        assert same(Mask.self_attention(block_diffusion(), two_streams(length, block)), expected), match[0]


@pytest.mark.parametrize("variant", ["clean_context", "noisy_context", "noisy_in_window"])
def test_jacobi_forcing(golden_dir, variant):
    file = "jacobi/masks_positions.safetensors"
    pattern = rf"mask\.{variant}\.P(\d+)\.T(\d+)\.N(\d+)(?:\.w(\d+))?"
    positions = load_file(golden_dir / file)
    for match, expected in recorded(golden_dir, file, pattern):
        prompt, blocks, size = (int(match[i]) for i in (1, 2, 3))
        window = {"clean_context": 1, "noisy_context": None}.get(variant, match[4] and int(match[4]))

        start = torch.arange(prompt)
        parts = [Tokens(stream=torch.zeros_like(start), block=torch.full_like(start, -1), position=start)]
        for stream in (1, 0):
            block = torch.arange(blocks).repeat_interleave(size)
            position = prompt + torch.arange(blocks * size)
            parts.append(Tokens(stream=torch.full_like(block, stream), block=block, position=position))
        grouped = Tokens.cat(parts)

        # [prompt | noisy 0 | clean 0 | noisy 1 | clean 1 | ...] as indices into [prompt | all noisy | all clean].
        body = torch.arange(2 * blocks * size).view(2, blocks, size).transpose(0, 1).flatten()
        published = torch.cat([start, prompt + body])
        assert torch.equal(grouped["position"][published], positions[f"position_ids.P{prompt}.T{blocks}.N{size}"])

        rule = noise_aware_causal(window)
        assert same(Mask.self_attention(rule, grouped.permute(published)), expected), match[0]
        back = torch.argsort(published)
        assert same(Mask.self_attention(rule, grouped), expected[back][:, back]), match[0]


def test_distilled_decoding_bias(golden_dir):
    bias = load_file(golden_dir / "vision_a/dd_var_d2.safetensors")["attn_bias"][0, 0]
    sides = (1, 2, 3, 4)
    scale = torch.tensor([0] + [level for level, side in enumerate(sides, start=1) for _ in range(side * side)])
    tokens = Tokens(scale=scale, position=torch.arange(len(scale)))
    assert same(Mask.self_attention(scale_strict_plus_self(), tokens), bias == 0)


def test_var_bias(golden_dir):
    tensors = load_file(golden_dir / "vision_a/var_transformer_d2.safetensors")
    tokens = Tokens(scale=tensors["w.lvl_1L"][0])
    assert same(Mask.self_attention(scale_causal(), tokens), tensors["w.attn_bias_for_masking"][0, 0] == 0)
