"""Training on one scale a step, drawn: what FlexVAR does with several latent resolutions."""

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.training import train
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.training.discriminator import DiscriminatorConfig
from ar_vision.tokenizers.training.objective import TokenizerObjective
from ar_vision.tokenizers.training.usage import CodebookUsage, UsageConfig
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from torch.nn.functional import interpolate


@pytest.fixture
def job(small):
    """A job of a vq tokenizer of 16 x 16 images on grids of 2, 3 and 4."""
    config = small.settings(
        scales=(2, 3, 4),
        schedules="one_scale",
        discriminator=DiscriminatorConfig(channels=8, layers=1),
        usage=UsageConfig(window=3),
    )
    shape = AutoencoderConfig(
        channels=4, channel_multipliers=(1, 1, 2), blocks_per_level=1, attention=False, latent_channels=4, norm_groups=2
    )

    def make():
        made = small.job(config)
        tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=shape, vocab_size=12, code_dim=4))
        tokenizer.initialize(SampleRng(1).row(0, "tokenizer"))
        made.models.update(
            tokenizer=tokenizer, usage=CodebookUsage(12, 4, config.usage, batch_size=small.batch, seed=0)
        )
        return made

    return make


def prepared(job, small, step):
    samples = job.source.open(step * small.batch)
    return job.objective.prepare([next(samples) for _ in range(small.batch)], SampleRng(0))


def test_steps_draw_all_scales_and_codes_move_in_steps_of_the_finest(job, small):
    made = job()
    sizes = [prepared(made, small, step).meta["schedule"].sizes for step in range(60)]
    assert set(sizes) == {((2, 2),), ((3, 3),), ((4, 4),)}
    assert set(sizes[2::3]) == {((4, 4),)}
    one = prepared(made, small, 0)
    assert one.meta["tokens"] == small.batch * one.meta["schedule"].total
    again = TokenizerObjective(made.objective.config, batch_size=small.batch)
    parts = [next(made.source.open(number)) for number in range(6, 12)]
    assert {again.prepare([part], SampleRng(0)).meta["schedule"] for part in parts} == {
        prepared(made, small, 1).meta["schedule"]
    }


def test_reconstructions_are_compared_with_images_of_their_size(job, small):
    made = job()
    step = next(n for n in range(60) if prepared(made, small, n).meta["schedule"].sizes == ((2, 2),))
    batch = prepared(made, small, step)
    sums = made.objective.sums(made.models, batch)
    tokenizer = made.models["tokenizer"]
    with torch.no_grad():
        output = tokenizer.train_forward(batch.tensors["image"], batch.meta["schedule"])
    assert output.reconstruction.shape == (small.batch, 3, 8, 8)
    # Area resizing to half is the mean of squares of four pixels.
    targets = batch.tensors["image"].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(targets, interpolate(batch.tensors["image"], size=8, mode="area"))
    expected = (output.reconstruction - targets).square().flatten(1).mean(1).sum()
    torch.testing.assert_close(sums["pixel"], expected)
    torch.testing.assert_close(sums["perceptual"], made.models["lpips"](output.reconstruction, targets).sum())
    logits = made.models["discriminator"](targets).flatten(1).mean(1).sum()
    torch.testing.assert_close(sums["logits_real"], logits)


def test_any_split_and_a_resumed_run_take_the_same_steps(job, small, tmp_path):
    whole = train(job(), small.train_config(tmp_path / "whole", steps=5, checkpoint_every_steps=2))
    split = train(job(), small.train_config(steps=5, micro_batch_size=2))
    assert split.losses == pytest.approx(whole.losses, rel=1e-4)
    part = tmp_path / "part"
    part.mkdir()
    (tmp_path / "whole" / "step-00000004").rename(part / "step-00000004")
    resumed = train(job(), small.train_config(part, steps=5, checkpoint_every_steps=2))
    assert (resumed.resumed_from, resumed.losses) == (4, whole.losses[4:])
