"""Upscaling images of the one size: prefill, draws, published quirks."""

from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.sampling import row_seed
from ar_vision.backbones.infinity.decode import InfinityPasses, pick_bits
from ar_vision.decoding.scalewise import generate_scales
from ar_vision.nsarm.decode import NsarmOptions, upscale
from ar_vision.text.text import Text
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer


def test_the_scales_of_the_map_take_one_pass_with_the_logits_of_eight(nsarm, tokenizer, low, text):
    """Oracle 6: logits of the scale behind M's within 1e-4 of passes for each; bits of the first scales are M's signs."""
    schedule, count = nsarm.config.schedule, nsarm.config.map.count
    options = NsarmOptions(temperature=(0.0,))
    found = upscale(nsarm, tokenizer, low, text, options)
    residuals = nsarm.residuals(tokenizer, low)
    for bits, residual in zip(found.codes, residuals):
        assert torch.equal(bits, (residual > 0).flatten(2).transpose(1, 2))
    seen, draw = [], pick_bits(options, schedule)

    def forced(scale, logits, generators):
        seen.append(logits)
        return found.codes[scale] if scale < count else draw(scale, logits, generators)

    passes = InfinityPasses(nsarm.transformer, text, schedule, [1.0] * schedule.count)
    apart, stats = generate_scales(passes, tokenizer.history(3, schedule), forced)
    assert all(torch.equal(one, other) for one, other in zip(apart, found.codes))
    behind = []

    def kept(scale, logits, generators):
        behind.append(logits)
        return draw(scale, logits, generators)

    passes = InfinityPasses(nsarm.transformer, text, schedule, [1.0] * schedule.count)
    generate_scales(passes, tokenizer.history(3, schedule), kept, given=found.codes[:count])
    torch.testing.assert_close(behind[0], seen[count], atol=1e-4, rtol=0)
    assert stats.nfe == schedule.count
    assert found.stats.nfe == schedule.count - count
    assert found.images.shape == (3, 3, 16, 16)
    assert {"map", "scale", "history", "pixels"} <= found.stats.seconds.keys()


def test_greedy_results_know_no_seed_and_sampled_ones_do(nsarm, tokenizer, low, text):
    """Oracle 8: without guidance the passes have B rows, and L tokens of each image go through the transformer."""
    for settings in ({"temperature": (0.0,)}, {"temperature": (1e-4,), "top_p": None}):
        greedy = [upscale(nsarm, tokenizer, low, text, NsarmOptions(**settings), seed=seed) for seed in (0, 1)]
        assert torch.equal(greedy[0].images, greedy[1].images)
    sampled = [upscale(nsarm, tokenizer, low, text, NsarmOptions(temperature=(1.0,)), seed=seed) for seed in (0, 1, 0)]
    assert not torch.equal(sampled[0].images, sampled[1].images)
    assert torch.equal(sampled[0].images, sampled[2].images)
    stats = greedy[0].stats
    assert stats.widths == {1 + 4 + 16: 1, 64: 1}
    assert sum(stats.widths) == nsarm.config.schedule.total
    assert stats.row_forwards["scale"] == 3 * len(stats.widths)


def test_an_image_depends_on_its_own_seed_and_text_alone(nsarm, tokenizer, low, text):
    options = NsarmOptions(temperature=(1.0,))
    whole = upscale(nsarm, tokenizer, low, text, options, seed=5)
    own = Text.of([text.features[1][text.valid[1]]])
    alone = upscale(nsarm, tokenizer, low[1:2], own, options, seed=[row_seed(5, 1)])
    torch.testing.assert_close(alone.images[0], whole.images[1], atol=1e-4, rtol=0)
    assert all(torch.equal(one[0], other[1]) for one, other in zip(alone.codes, whole.codes))


def test_inputs_by_area_are_the_published_decoders(nsarm, tokenizer, low, text):
    embed = nsarm.transformer.embed

    def run(model, named):
        """Inputs of all scales but the first, and what was found."""
        seen = []
        nsarm.transformer.embed = lambda scale, x, *rest: (seen.append(x), embed(scale, x, *rest))[1]
        nsarm.config = replace(nsarm.config, input_resize=model)
        return seen, upscale(nsarm, tokenizer, low, text, NsarmOptions(temperature=(0.0,), input_resize=named))

    fed, found = run("bilinear", "area")
    history = tokenizer.history(3, nsarm.config.schedule)
    history.add(found.codes[0])
    history.add(found.codes[1])
    torch.testing.assert_close(fed[2], torch.nn.functional.adaptive_avg_pool2d(history.features, 4))
    # Left open, it is the model's own, which converted weights have as published.
    assert torch.equal(run("area", None)[0][2], fed[2])
    trained = run("area", "bilinear")[0][2]
    assert torch.equal(run("bilinear", None)[0][2], trained)
    assert not torch.equal(trained, fed[2])


def test_spent_draws_shift_the_stream_and_change_no_law(nsarm, tokenizer, low, text):
    options = NsarmOptions(temperature=(1.0,), draw="multinomial", top_p=None)
    plain, spent = (
        upscale(nsarm, tokenizer, low, text, replace(options, spend_replaced_draws=on), seed=2) for on in (False, True)
    )
    assert all(torch.equal(one, other) for one, other in zip(plain.codes[:2], spent.codes[:2]))
    assert not torch.equal(plain.codes[2], spent.codes[2])
    # What the published decoder does: bits of all scales are drawn, in order, from one stream.
    schedule, draw = nsarm.config.schedule, pick_bits(options, nsarm.config.schedule)
    count = nsarm.config.map.count

    def published(scale, logits, generators):
        bits = draw(scale, logits, generators)
        return plain.codes[scale] if scale < count else bits

    passes = InfinityPasses(nsarm.transformer, text, schedule, [1.0] * schedule.count)
    bits, _ = generate_scales(passes, tokenizer.history(3, schedule), published, seed=2)
    assert all(torch.equal(one, other) for one, other in zip(bits, spent.codes))


def test_guidance_is_an_option_that_begins_behind_the_map(nsarm, tokenizer, low, text):
    guided = upscale(nsarm, tokenizer, low, text, NsarmOptions(temperature=(0.0,), guidance=(3.0,)))
    plain = upscale(nsarm, tokenizer, low, text, NsarmOptions(temperature=(0.0,)))
    assert all(torch.equal(one, other) for one, other in zip(plain.codes[:2], guided.codes[:2]))
    assert not torch.equal(plain.codes[3], guided.codes[3])
    assert guided.stats.row_forwards["scale"] == 2 * plain.stats.row_forwards["scale"]


def test_what_does_not_fit_is_refused(nsarm, tokenizer, low, text):
    with pytest.raises(DataError, match="2 images and 3 texts were given"):
        upscale(nsarm, tokenizer, low[:2], text, NsarmOptions())
    with pytest.raises(ConfigError, match="temperature has 2 values for 4 scales"):
        upscale(nsarm, tokenizer, low, text, NsarmOptions(temperature=(0.5, 0.5)))
    layout = AutoencoderConfig(4, (1, 1), 1, attention=False, latent_channels=4, norm_groups=2)
    other = BsqTokenizer(BsqTokenizerConfig(layout))
    with pytest.raises(CheckpointError, match="bits 8"):
        upscale(nsarm, other, low, text, NsarmOptions())
