"""Pictures of different sizes in one batch: each place gets the features of its own picture, in decoding and in training."""

import numpy as np
import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.decoding import StopRule, autoregressive
from ar_core.sampling import Sampler
from dvlm.assembled import AssembledVL
from dvlm.autoregressive.config import AutoregressiveVLConfig
from dvlm.autoregressive.objective import NEXT_TOKEN, AutoregressiveVLObjective
from dvlm.decoding.backbone import VisionBackbone
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective
from dvlm.images.config import ImageConfig
from dvlm.images.inputs import ImageInput, join_pixels
from dvlm.inputs import expand
from dvlm.prompt import VisionPrompt
from dvlm.qwen_vl import QwenVL
from recomputed_decoding import recomputed
from tiny_vision_language import EOS, MASK, assembled, qwen2_5_vl, qwen3_vl

ROWS = ([3], [0, 2], [], [1], [2, 0, 3], [0])
"""Pictures of each row of a batch; some are in several rows, at other places."""
DECODING = DiffusionVLDecodeConfig(mask_id=MASK, diffusion_block_size=4, steps=4)


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl", "assembled", "newline"])
def model(request: pytest.FixtureRequest):
    if request.param in ("assembled", "newline"):
        return assembled(newline=request.param == "newline")
    return QwenVL(qwen2_5_vl() if request.param == "qwen2_5_vl" else qwen3_vl())


@pytest.fixture
def pictures(model) -> list[ImageInput]:
    """Four pictures with different numbers of patches or crops, and of tokens; two have as many patches and another ratio."""
    if isinstance(model, AssembledVL):
        fit, sizes = ImageConfig(fit="anyres", max_grid=2), ((64, 64), (32, 32), (32, 64), (60, 30))
    else:
        fit, sizes = (
            ImageConfig(fit="native", min_pixels=1, max_pixels=20000),
            ((64, 92), (64, 64), (130, 60), (40, 180)),
        )
    process = model.processor(fit)
    found = [
        process(np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8))
        for number, size in enumerate(sizes)
    ]
    assert len({one.layout.units for one in found}) >= 3
    assert len({one.layout.tokens for one in found}) >= 3
    return [ImageInput(one.pixels.double(), one.layout) for one in found]


def words(row: int, count: int) -> list[int]:
    return torch.randint(250, (count,), generator=torch.Generator().manual_seed(row)).tolist()


def prompts_of(pictures: list[ImageInput], mrope: bool) -> list[VisionPrompt]:
    found = []
    for row, chosen in enumerate(ROWS):
        said = words(row, 2 + row)
        images = [pictures[number] for number in chosen]
        ids = [said[0], *[-200] * len(images), *said[1:]]
        found.append(VisionPrompt(expand(ids, None, [one.layout for one in images], mrope=mrope), tuple(images)))
    assert len({len(prompt) for prompt in found}) == len(ROWS)
    return found


def test_features_of_a_batch_are_those_of_each_picture(model, pictures):
    """Backbone oracle 10, pictures of several grids, in two orders."""
    alone = [model.image_features(one.pixels, [one.layout]) for one in pictures]
    for order in ([0, 1, 2, 3], [2, 3, 0, 1]):
        together = model.image_features(
            join_pixels([pictures[number] for number in order]), [pictures[number].layout for number in order]
        )
        layers = zip((together.rows, *together.deepstack), *((one.rows, *one.deepstack) for one in alone), strict=True)
        for layer, *parts in layers:
            expected = torch.cat([parts[number] for number in order])
            torch.testing.assert_close(layer, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mrope", [False, True])
def test_a_batch_decodes_each_row_as_it_decodes_alone(model, pictures, mrope):
    """Oracles 11 and 15: without a cache, alone and in batches; rows that wait for a place come in beside longer ones."""
    prompts = prompts_of(pictures, mrope and model.takes_mrope)
    rule = StopRule(frozenset(), 10)
    expected = [recomputed(model, one, DECODING, 10)[0] for one in prompts]
    for size in (None, 2):
        seen = VisionBackbone(model, prompts)
        config = DiffusionVLDecodeConfig(mask_id=MASK, diffusion_block_size=4, steps=4, batch_size=size)
        assert generate(seen, seen.ids, config, stop=rule).tokens == expected
    plain = VisionBackbone(model, prompts)
    found = autoregressive(plain, plain.ids, stop=rule, sampler=Sampler()).tokens
    for row, one in enumerate(prompts):
        alone = VisionBackbone(model, [one])
        assert generate(alone, alone.ids, DECODING, stop=rule).tokens == [expected[row]]
        assert autoregressive(alone, alone.ids, stop=rule, sampler=Sampler()).tokens == [found[row]]


@pytest.mark.parametrize("mrope", [False, True])
@pytest.mark.parametrize("arm", ["diffusion", "autoregressive"])
def test_a_batch_trains_as_each_sample_alone(model, pictures, mrope, arm):
    """Oracle 9, with pictures of several sizes: loss and gradients."""
    mrope = mrope and model.takes_mrope
    if arm == "diffusion":
        config = DiffusionVLConfig(diffusion_block_size=4, mask_id=MASK, mrope=mrope)
        objective, term = DiffusionVLObjective(config, MASK, EOS), MASKED
    else:
        objective, term = AutoregressiveVLObjective(AutoregressiveVLConfig(mrope=mrope)), NEXT_TOKEN
    batch = []
    for row, chosen in enumerate(ROWS):
        before, said = words(row, 3), words(9 + row, 3 + 2 * row)
        prompt = [before[0], *[-200] * len(chosen), *before[1:]]
        labels = [-100] * len(prompt) + said
        images = [pictures[number] for number in chosen]
        batch.append({"index": row, "tokens": [*prompt, *said], "labels": labels, "images": images})

    def learnt(samples):
        model.zero_grad()
        prepared = objective.prepare(samples, SampleRng(0))
        loss = objective.sums({"model": model}, prepared)[term]
        loss.backward()
        return loss.detach(), {
            name: torch.zeros_like(one) if one.grad is None else one.grad.clone()
            for name, one in model.named_parameters()
        }

    together, found = learnt(batch)
    alone = [learnt([one]) for one in batch]
    torch.testing.assert_close(together, sum(loss for loss, _ in alone), rtol=1e-6, atol=1e-6)
    for name, gradient in found.items():
        expected = sum(part[name] for _, part in alone)
        # Models of transformers normalise in float32, whatever their dtype.
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5, msg=name)
