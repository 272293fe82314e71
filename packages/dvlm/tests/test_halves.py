"""What the noised and the clean half of a training sequence see, by the states that a model computes of them."""

from dataclasses import replace

import pytest
import torch
from ar_core.block_diffusion import block_grid
from ar_core.corruption import SampleRng
from ar_core.corruption.position_dependent import MaskDraw
from ar_core.masks import Mask, Tokens, block_causal, causal
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.diffusionvl.objective import MASKED, DiffusionVLObjective
from tiny_vision_language import EOS, MASK, assembled
from torch import Tensor

CONFIG = DiffusionVLConfig(diffusion_block_size=4, mask_id=MASK)


class Everything:
    """Every token is masked, at level 1."""

    def draw(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> MaskDraw:
        return MaskDraw(torch.ones_like(maskable), torch.ones(len(maskable)))


def _states(model, objective, batch, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Hidden states [T, C] of a batch of one, and its tensors."""
    caught = []
    backbone = model.backbone
    handle = backbone.decoder.register_forward_hook(lambda m, i, output: caught.append(output.last_hidden_state))
    prepared = objective.prepare(batch, SampleRng(seed))
    objective.sums({"model": model}, prepared)
    handle.remove()
    return caught[0][0].detach(), {name: value[0] for name, value in prepared.tensors.items() if value.ndim > 1}


@pytest.mark.parametrize("pictures", [0, 1])
def test_blocks_as_long_as_the_row_are_one_bidirectional_pass(model, sample, pictures):
    """Oracle 3: beside a clean half that none of it sees, and with the same loss where that half is left out."""
    one = sample(model, 0, pictures=pictures, before=5, answer=6)
    config = replace(CONFIG, diffusion_block_size=64, align_eos=False)
    objective = DiffusionVLObjective(replace(config, prune=False), MASK, EOS)
    found, tensors = _states(model, objective, [one], 1)
    length = len(found) // 2
    assert tensors["stream"].tolist() == [1] * length + [0] * length
    assert 0 < (tensors["ids"][:length] == MASK).sum() < 6
    layouts = [image.layout for image in one["images"]]
    features = model.image_features(one["images"][0].pixels, layouts) if layouts else None
    embeds, more = model.embed(tensors["ids"][None, :length], tensors["image_rows"][None, :length], features)
    states = model.backbone.hidden(None, embeds=embeds, positions=torch.arange(length)[None], mask=None, more=more)
    torch.testing.assert_close(found[:length], states[0], rtol=1e-6, atol=1e-6)
    prepared = objective.prepare([one], SampleRng(1))
    logits = model.backbone.head(states)[0, prepared.tensors["rows"]]
    losses = torch.nn.functional.cross_entropy(logits, prepared.tensors["labels"], reduction="none")
    expected = (losses * prepared.tensors["weights"].double()).sum()
    for each in (objective, DiffusionVLObjective(config, MASK, EOS)):
        loss = each.sums({"model": model}, each.prepare([one], SampleRng(1)))[MASKED]
        torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)


def test_the_clean_half_is_a_block_causal_pass_of_its_own(model, sample):
    """Oracle 4: whatever the noise; images included."""
    objective = DiffusionVLObjective(replace(CONFIG, prune=False), MASK, EOS)
    batch = [sample(model, 0)]
    found, tensors = _states(model, objective, batch, 0)
    other, _ = _states(model, objective, batch, 1)
    length = len(found) // 2
    assert not torch.equal(found[:length], other[:length])
    torch.testing.assert_close(found[length:], other[length:], rtol=0, atol=0)
    one = batch[0]
    features = model.image_features(one["images"][0].pixels, [one["images"][0].layout])
    ids, rows = tensors["ids"][length:][None], tensors["image_rows"][length:][None]
    embeds, more = model.embed(ids, rows, features)
    tokens = Tokens(block=block_grid(length, 4).blocks, position=torch.arange(length))
    alone = model.backbone.hidden(
        None,
        embeds=embeds,
        positions=torch.arange(length)[None],
        mask=Mask.self_attention(block_causal(), tokens),
        more=more,
    )
    torch.testing.assert_close(found[length:], alone[0], rtol=1e-6, atol=1e-6)


def test_a_token_causal_clean_half_is_a_causal_pass_of_its_own():
    model = assembled()
    tokens, places = list(range(16)), torch.arange(16)
    objective = DiffusionVLObjective(replace(CONFIG, prune=False, clean="token"), MASK, EOS)
    found, _ = _states(model, objective, [{"index": 0, "tokens": tokens, "labels": tokens, "images": []}], 0)
    mask = Mask.self_attention(causal(), Tokens(position=places))
    alone = model.backbone.hidden(torch.tensor([tokens]), positions=places[None], mask=mask)
    torch.testing.assert_close(found[16:], alone[0], rtol=1e-6, atol=1e-6)


def test_noised_blocks_do_not_see_their_own_clean_tokens():
    """Oracle 5: other clean tokens in block n leave the noised states of blocks up to n as they were."""
    model = assembled()
    objective = DiffusionVLObjective(replace(CONFIG, prune=False), MASK, EOS)
    tokens = list(range(16))
    batch = [{"index": 0, "tokens": tokens, "labels": tokens, "images": []}]
    objective.noise = Everything()  # type: ignore[assignment]
    before, _ = _states(model, objective, batch, 0)
    changed = [*tokens[:8], 99, 98, 97, 96, *tokens[12:]]
    after, _ = _states(model, objective, [{"index": 0, "tokens": changed, "labels": changed, "images": []}], 0)
    assert torch.equal(before[:12], after[:12])
    assert not torch.allclose(before[12:16], after[12:16])
