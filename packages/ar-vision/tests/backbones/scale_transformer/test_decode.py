"""Generation with VAR and FlexVAR."""

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError, NumericsError
from ar_vision.backbones.flexvar import decode as flexvar
from ar_vision.backbones.flexvar.decode import FlexVarDecoding
from ar_vision.backbones.var import decode as var
from ar_vision.backbones.var.decode import VarDecoding
from ar_vision.backbones.var.more_smooth import smooth_weights
from ar_vision.scales import ScaleSchedule


@pytest.fixture(params=["var", "var, more smooth", "flexvar", "flexvar, another schedule"])
def generating(request, make_var, make_flexvar, var_tokenizer, vq_tokenizer):
    """From labels and a seed to images, with guidance."""
    if request.param.startswith("var"):
        options = VarDecoding(guidance=3, top_k=20, top_p=0.9, more_smooth="smooth" in request.param)
        model = make_var()
        return lambda labels, seed, **more: var.generate(model, var_tokenizer, labels, options, seed=seed, **more)
    scales = (1, 2, 5, 6) if "another" in request.param else None
    flexible, settings = make_flexvar(), FlexVarDecoding(guidance=3, top_k=20, top_p=0.9, scales=scales)
    return lambda labels, seed, **more: flexvar.generate(flexible, vq_tokenizer, labels, settings, seed=seed, **more)


def test_an_image_does_not_depend_on_its_batch_mates(generating):
    together = generating([3, 1, 5], [11, 12, 13])
    alone = generating([1], [12])
    moved = generating([0, 1], [14, 12])
    for found, row in ((alone, 0), (moved, 1)):
        for one, other in zip(found.codes, together.codes, strict=True):
            assert torch.equal(one[row], other[1])
        # Mixtures turn rounding of logits into vectors, up to two hundred times as large.
        torch.testing.assert_close(found.images[row], together.images[1], atol=1e-4, rtol=0)
    assert not torch.equal(together.codes[-1][0], together.codes[-1][1])


def test_equal_seeds_give_equal_images_and_others_do_not(generating):
    first, again, other = (generating([3, 1], seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.abs().max() <= 1
    assert first.images.dtype == torch.float32


def test_scales_are_streamed(generating):
    seen = []
    found = generating([3], 0, on_scale=lambda k, features: seen.append((k, features.clone())))
    assert [k for k, _ in seen] == list(range(len(found.codes)))
    assert not torch.equal(seen[-1][1], seen[0][1])
    assert found.stats.forwards == {"scale": len(found.codes)}
    assert found.stats.row_forwards == {"scale": 2 * len(found.codes)}
    assert found.stats.generated == [sum(codes.shape[1] for codes in found.codes)]
    assert set(found.stats.seconds) == {"scale", "history", "pixels"}


def test_guidance_costs_nothing_where_there_is_none(make_var, var_tokenizer):
    model = make_var()
    free = var.generate(model, var_tokenizer, [1, 2], VarDecoding(temperature=0))
    guided = var.generate(model, var_tokenizer, [1, 2], VarDecoding(temperature=0, guidance=3))
    assert free.stats.row_forwards == {"scale": 8}
    assert guided.stats.row_forwards == {"scale": 16}


def test_weights_that_overflow_are_refused_at_the_scale_where_they_do(
    make_var, make_flexvar, var_tokenizer, vq_tokenizer
):
    for room, model, tokenizer in ((var, make_var(), var_tokenizer), (flexvar, make_flexvar(), vq_tokenizer)):
        with torch.no_grad():
            model.word_embed.weight[0, 0] = torch.inf
        seen = []
        with pytest.raises(NumericsError, match="logits are not numbers"):
            room.generate(model, tokenizer, [1], on_scale=lambda k, features, seen=seen: seen.append(k))
        assert seen == [0]


def test_published_ramps():
    assert var.guidance_of(VarDecoding(guidance=4), 4) == pytest.approx((1, 2, 3, 4))
    assert var.guidance_of(VarDecoding(guidance=4, guidance_schedule="constant"), 2) == (4, 4)
    assert var.guidance_of(VarDecoding(guidance=4), 1) == (1,)
    few = ScaleSchedule.square(1, 2, 3)
    assert flexvar.guidance_of(FlexVarDecoding(guidance=3), few) == pytest.approx((1, 2, 3))
    many = ScaleSchedule.square(*range(1, 13), 14, 16)
    assert flexvar.guidance_of(FlexVarDecoding(guidance=10), many) == pytest.approx(tuple(range(1, 15)))
    large = ScaleSchedule.square(1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 23, 32)
    found = flexvar.guidance_of(FlexVarDecoding(guidance=10), large)
    assert found == pytest.approx((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10))
    assert flexvar.guidance_of(FlexVarDecoding(guidance=2, guidance_schedule="constant"), few) == (2, 2, 2)


def test_sides_on_which_published_code_is_greedy(make_flexvar, vq_tokenizer):
    model = make_flexvar()
    scales = (1, 2, 7, 9)

    def draws(**settings):
        options = FlexVarDecoding(scales=scales, **settings)
        return [flexvar.generate(model, vq_tokenizer, [1], options, seed=seed).codes for seed in range(4)]

    def logits_decide(found, k):
        """Whether rows with equal codes before scale k have equal codes there."""
        groups = {}
        for codes in found:
            groups.setdefault(str([c.tolist() for c in codes[:k]]), set()).add(str(codes[k].tolist()))
        return all(len(group) == 1 for group in groups.values())

    sampled, forced = draws(), draws(published_argmax=True)
    assert len({str(codes[3].tolist()) for codes in sampled}) == 4
    same_start = FlexVarDecoding(scales=(7, 9), published_argmax=True)
    fixed = [flexvar.generate(model, vq_tokenizer, [1], same_start, seed=seed).codes for seed in range(3)]
    assert logits_decide(fixed, 0)
    assert logits_decide(fixed, 1)
    assert not logits_decide(draws(max_side=1), 0)
    beyond = FlexVarDecoding(scales=(2, 3), max_side=1, published_argmax=True)
    above = [flexvar.generate(model, vq_tokenizer, [1], beyond, seed=seed).codes for seed in range(3)]
    assert logits_decide(above, 0)
    assert len({str(codes[0].tolist()) + str(codes[1].tolist()) for codes in forced}) > 1


def test_mixtures_sharpen_with_the_scales():
    scores, noise = torch.tensor([2.0, 1.0, -torch.inf]), torch.zeros(3)
    first, last = smooth_weights(scores, noise, 0.0), smooth_weights(scores, noise, 1.0)
    torch.testing.assert_close(first, torch.tensor([2.0, 1.0, -torch.inf]).div(0.27).softmax(-1))
    torch.testing.assert_close(last, torch.tensor([4.0, 2.0, -torch.inf]).div(0.27 * 0.05).softmax(-1))
    assert last[1] < first[1] < 0.5
    middle = smooth_weights(scores / 10, noise, 0.5)
    torch.testing.assert_close(middle, torch.tensor([0.3, 0.15, -torch.inf]).div(0.27 * 0.525).softmax(-1))
    torch.testing.assert_close(
        smooth_weights(scores / 100, noise, 1.0), torch.tensor([0.04, 0.02, -torch.inf]).div(0.0135).softmax(-1)
    )


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: VarDecoding(guidance=-1), "guidance is -1; it must be a number of at least 0"),
        (lambda: VarDecoding(guidance=float("nan")), "guidance is nan"),
        (lambda: VarDecoding(guidance_schedule="linear"), "choose ramp or constant"),
        (lambda: VarDecoding(top_k=0), "top_k is 0"),
        (lambda: VarDecoding(top_p=1.5), "top_p is 1.5"),
        (lambda: VarDecoding(more_smooth=True, temperature=0), "choose one of them"),
        (lambda: FlexVarDecoding(max_side=0), "max_side is 0, but must be at least 1"),
        (lambda: FlexVarDecoding(temperature=-1), "temperature is -1"),
    ],
)
def test_options_that_are_none(make, part):
    with pytest.raises(ConfigError, match=part):
        make()


def test_what_cannot_be_generated(make_var, make_flexvar, var_tokenizer, vq_tokenizer):
    model = make_var()
    with pytest.raises(DataError, match="the label 6 was given: classes run from 0 to 4"):
        var.generate(model, var_tokenizer, [6])
    with pytest.raises(DataError, match="give one whole number for each image"):
        var.generate(model, var_tokenizer, [])
    with pytest.raises(
        CheckpointError,
        match="is for codes with vocab_size 32, code_dim 8 and those of the VarTokenizer have vocab_size 24, code_dim 8",
    ):
        var.generate(make_var(vocab_size=32), var_tokenizer, [1])
    with pytest.raises(ConfigError, match="more_smooth mixes code vectors of VAR's tokenizer and a VqTokenizer"):
        var.generate(model, vq_tokenizer, [1], VarDecoding(more_smooth=True))
    with pytest.raises(ConfigError, match="scales run from coarse to fine"):
        flexvar.generate(make_flexvar(), vq_tokenizer, [1], FlexVarDecoding(scales=(2, 1)))
