"""Next-token training on images and text."""

import torch
from ar_core.corruption import SampleRng
from dvlm.autoregressive.config import AutoregressiveVLConfig
from dvlm.autoregressive.objective import NEXT_TOKEN, AutoregressiveVLObjective
from dvlm.inputs import expand
from dvlm.qwen_vl import QwenVL
from tiny_vision_language import qwen2_5_vl

IMAGE_ID = 290


def test_loss_is_that_of_transformers(sample):
    """Two samples of different lengths with an image each: the loss per supervised token, three-part positions."""
    model = QwenVL(qwen2_5_vl())
    model.base_language.config.image_token_id = IMAGE_ID
    batch = [sample(model, 0, answer=9), sample(model, 1, answer=4, before=6)]
    objective = AutoregressiveVLObjective(AutoregressiveVLConfig(mrope=True))
    prepared = objective.prepare(batch, SampleRng(0))
    found = objective.sums({"model": model}, prepared)[NEXT_TOKEN]
    expected = torch.zeros(())
    for one in batch:
        layout = one["images"][0].layout
        expanded = expand(one["tokens"], one["labels"], [layout])
        is_image = expanded.image_rows >= 0
        loss = model.base_language(
            input_ids=expanded.ids.masked_fill(is_image, IMAGE_ID)[None],
            pixel_values=one["images"][0].pixels,
            image_grid_thw=torch.tensor([[1, *layout.patches]]),
            mm_token_type_ids=is_image.int()[None],
            labels=expanded.labels[None],
            use_cache=False,
        ).loss
        expected = expected + loss.detach() * int((expanded.labels != -100).sum())
    assert prepared.weights[NEXT_TOKEN] == 13
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5)


def test_samples_of_text_alone_need_no_image(sample):
    model = QwenVL(qwen2_5_vl())
    objective = AutoregressiveVLObjective(AutoregressiveVLConfig())
    prepared = objective.prepare([sample(model, 0, pictures=0), sample(model, 1, pictures=0, answer=3)], SampleRng(0))
    assert "pixels" not in prepared.tensors
    assert torch.isfinite(objective.sums({"model": model}, prepared)[NEXT_TOKEN])
