"""Generation: the same as one masked pass, guidance, texts of different lengths, draws of bits."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_vision.backbones.infinity.bit_sampler import BitSampler
from ar_vision.backbones.infinity.decode import InfinityOptions, InfinityPasses, generate, pick_bits
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.backbones.infinity.self_correction import bit_targets
from ar_vision.decoding.scalewise import generate_scales
from ar_vision.scales import ScaleSchedule
from ar_vision.text.text import Text
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.bit_history import BitHistory
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from ar_vision.tokenizers.scale_history import teacher_inputs


@pytest.fixture
def tokenizer():
    layout = AutoencoderConfig(4, (1, 1), 1, attention=False, latent_channels=8, norm_groups=2)
    model = BsqTokenizer(BsqTokenizerConfig(layout))
    model.initialize(torch.Generator().manual_seed(5))
    return model.eval()


def _run(model, text, schedule, guidance=1.0, layers=(0,), negative=None, seed=0, forced=None):
    """Logits and bits of every scale; ``forced`` takes the place of what is drawn."""
    options = InfinityOptions(temperature=(1.0,), top_p=None)
    draw, seen = pick_bits(options, schedule), []

    def pick(scale, logits, generators):
        seen.append(logits)
        return draw(scale, logits, generators) if forced is None else forced[scale]

    passes = InfinityPasses(model, text, schedule, [guidance] * schedule.count, layers, negative)
    bits, stats = generate_scales(passes, BitHistory(text.rows, schedule, 8), pick, seed=seed)
    return seen, bits, stats


def _masked(model, text, schedule, bits):
    inputs = teacher_inputs(BitHistory(text.rows, schedule, 8), bits)
    with torch.no_grad():
        return schedule.split(model(inputs, text, schedule))


def test_decoding_on_the_cache_equals_one_masked_pass(tiny, text, schedule):
    seen, bits, _ = _run(tiny, text, schedule)
    for decoded, whole in zip(seen, _masked(tiny, text, schedule, bits)):
        torch.testing.assert_close(decoded, whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_scales_behind_given_ones_are_as_if_each_had_had_its_pass(tiny, text, schedule, guidance):
    """Prefill: one pass under the scale-causal mask in place of three on the cache; guidance begins behind what is given."""
    begin = 2
    schedules = [1.0] * begin + [guidance] * (schedule.count - begin)
    bits = [torch.rand(text.rows, n, 8, generator=torch.Generator().manual_seed(n)) < 0.5 for n in schedule.lengths]
    found = []
    for given in ([], bits[:begin]):
        seen = []

        def pick(scale, logits, generators, seen=seen):
            seen.append(logits)
            return bits[scale]

        layers = (0, -1) if guidance != 1 else (0,)
        passes = InfinityPasses(tiny, text, schedule, schedules, layers)
        _, stats = generate_scales(passes, BitHistory(text.rows, schedule, 8), pick, given=given)
        found.append((seen[-2:], stats.nfe))
    (apart, many), (joined, few) = found
    assert (many, few) == (schedule.count, schedule.count - begin)
    for one, other in zip(apart, joined):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_training_feeds_what_decoding_feeds(tiny, text, schedule):
    features = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(3))
    flips = [torch.rand(2, n, 8, generator=torch.Generator().manual_seed(n)) < 0.3 for n in schedule.lengths]
    targets = bit_targets(features, BitHistory(2, schedule, 8), flips)
    guessed = [label ^ flip for label, flip in zip(targets.labels, flips)]
    seen = []
    embed = tiny.embed
    tiny.embed = lambda scale, fed, *rest: (seen.append(fed), embed(scale, fed, *rest))[1]
    _run(tiny, text, schedule, forced=guessed)
    for fed, given in zip(targets.inputs, seen[1:]):
        torch.testing.assert_close(fed, given, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_a_scale_sees_itself_and_coarser_ones_alone(tiny, text, schedule, scale):
    _, bits, _ = _run(tiny, text, schedule)
    changed = [b.clone() for b in bits]
    changed[scale] = ~changed[scale]
    before, after = _masked(tiny, text, schedule, bits), _masked(tiny, text, schedule, changed)
    for k in range(schedule.count):
        difference = (before[k] - after[k]).abs().max().item()
        # The codes of scale k enter as the input of the scale behind it.
        assert difference == 0 if k <= scale else difference > 1e-3


def test_tail_behind_the_last_scale_changes_nothing(tiny, text, schedule):
    """A tail, such as padding to a multiple of 128, is one more block: real tokens do not see it."""
    longer = ScaleSchedule((*schedule.sizes, (5, 5)))
    padded = Infinity(replace(tiny.config, schedules=((*schedule.sizes, (5, 5)),)))
    padded.load_state_dict(tiny.state_dict())
    short = Infinity(replace(tiny.config, schedules=((*schedule.sizes, (5, 5)),)))
    short.load_state_dict(tiny.state_dict())
    inputs = [torch.randn(2, 8, h, w, generator=torch.Generator().manual_seed(h)) for h, w in longer.sizes[1:]]
    with torch.no_grad():
        real = short(inputs[:-1], text, schedule)
        tailed = padded([*inputs[:-1], torch.full_like(inputs[-1], 1e3)], text, longer)
    torch.testing.assert_close(tailed[:, : schedule.total], real, atol=1e-5, rtol=0)


def test_texts_of_different_lengths_are_as_alone(tiny, text, schedule):
    seen, bits, _ = _run(tiny, text, schedule, guidance=2.0)
    for row, length in enumerate((5, 3)):
        alone = Text.of([text.features[row, :length]])
        single, _, _ = _run(tiny, alone, schedule, guidance=2.0, forced=[b[row : row + 1] for b in bits])
        for one, many in zip(single, seen):
            torch.testing.assert_close(one[0], many[row], atol=1e-4, rtol=0)


def test_a_row_draws_the_same_in_any_batch(tiny, text, schedule):
    _, together, _ = _run(tiny, text, schedule, seed=[7, 9])
    _, alone, _ = _run(tiny, Text.of([text.features[1, :3]]), schedule, seed=[9])
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone, together))


def test_guidance_of_1_never_runs_the_null_half(tiny, text, schedule):
    plain, bits, _ = _run(tiny, text, schedule, guidance=1.0)
    passes = InfinityPasses(tiny, text, schedule, [1.0, 1.0, 1.0, 1.0])
    assert passes.rows == 2
    # Doubled all the way, because the last scale is guided; the others are not, and have the logits of the single pass.
    doubled = InfinityPasses(tiny, text, schedule, [1.0, 1.0, 1.0, 2.0])
    assert doubled.rows == 4
    seen = []
    generate_scales(doubled, BitHistory(2, schedule, 8), lambda k, logits, g: (seen.append(logits), bits[k])[1])
    for k in range(3):
        torch.testing.assert_close(seen[k], plain[k], atol=1e-5, rtol=0)
    assert (seen[3] - plain[3]).abs().max() > 1e-3


def test_the_null_half_leaves_behind_the_last_guided_scale(tiny, text, schedule):
    guided, bits, _ = _run(tiny, text, schedule, guidance=2.0)
    passes = InfinityPasses(tiny, text, schedule, [2.0, 2.0, 1.0, 1.0])
    rows, seen = [], []

    def pick(k, logits, generators):
        rows.append(passes.rows)
        seen.append(logits)
        return bits[k]

    generate_scales(passes, BitHistory(2, schedule, 8), pick)
    assert rows == [4, 4, 2, 2]
    for k in range(2):
        torch.testing.assert_close(seen[k], guided[k], atol=1e-5, rtol=0)
    plain, _, _ = _run(tiny, text, schedule, forced=bits)
    for k in range(2, 4):
        torch.testing.assert_close(seen[k], plain[k], atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [(0,), (-1,), (-2,), (0, -3)])
def test_guidance_away_from_the_same_text_changes_nothing(tiny, text, schedule, layers):
    plain, bits, _ = _run(tiny, text, schedule)
    for guidance in (0.0, 4.0):
        guided, _, _ = _run(tiny, text, schedule, guidance, layers, negative=text, forced=bits)
        for a, b in zip(guided, plain):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        null_led, _, _ = _run(tiny, text, schedule, guidance, layers, forced=bits)
        assert (null_led[1] - plain[1]).abs().max() > 1e-3


def test_negative_texts_have_lengths_of_their_own(tiny, text, schedule):
    negative = Text.of([torch.randn(n, 24, generator=torch.Generator().manual_seed(n)) for n in (2, 6)])
    guided, bits, _ = _run(tiny, text, schedule, guidance=3.0, negative=negative)
    conditional, _, _ = _run(tiny, text, schedule, forced=bits)
    away, _, _ = _run(tiny, negative, schedule, forced=bits)
    for g, c, u in zip(guided, conditional, away):
        torch.testing.assert_close(g, 3.0 * c + (1 - 3.0) * u, atol=1e-4, rtol=1e-4)


def test_guidance_on_logits_is_the_published_formula(tiny, text, schedule):
    guided, bits, _ = _run(tiny, text, schedule, guidance=3.0)
    conditional, _, _ = _run(tiny, text, schedule, forced=bits)
    null, _, _ = _run(tiny, text.null(tiny.null_text.detach()), schedule, forced=bits)
    for g, c, u in zip(guided, conditional, null):
        torch.testing.assert_close(g, 3.0 * c + (1 - 3.0) * u, atol=1e-4, rtol=1e-4)


def test_guidance_on_the_last_layer_guides_what_the_head_reads(tiny, text, schedule):
    inside, _, _ = _run(tiny, text, schedule, 3.0, (-1,))
    cond, null = tiny.condition(text), tiny.condition(text.null(tiny.null_text))
    both = [tiny.hidden(tiny.embed(0, None, c.pooled, schedule), c, scale=0, schedule=schedule) for c in (cond, null)]
    guided = 3.0 * both[0] - 2.0 * both[1]
    torch.testing.assert_close(inside[0], tiny.head(guided, cond.pooled).detach(), atol=1e-4, rtol=1e-4)


def test_the_unconditional_text_is_as_long_as_the_text(tiny, text):
    null = text.null(tiny.null_text)
    assert torch.equal(null.valid, text.valid)
    assert torch.equal(null.features[0, :5], tiny.null_text[:5])


def test_keys_and_values_of_the_text_are_computed_once(tiny, text, schedule, monkeypatch):
    calls = []
    for layer, block in enumerate(tiny.blocks):
        original = block.cross.keys_values
        monkeypatch.setattr(
            block.cross, "keys_values", lambda memory, o=original, n=layer: (calls.append(n), o(memory))[1]
        )
    _run(tiny, text, schedule, guidance=2.0)
    assert calls == [0, 1, 2]


def test_images_and_bits_of_a_generation(tiny, tokenizer, text, schedule):
    shown = []
    options = InfinityOptions(guidance=(3.0, 2.0, 1.0, 1.0), temperature=(1.0,))
    made = generate(tiny, tokenizer, text, schedule, options, seed=1, on_scale=lambda k, f: shown.append(f))
    assert made.images.shape == (2, 3, 8, 8)
    assert made.images.abs().max() <= 1
    assert made.stats.seconds["pixels"] > 0
    assert [tuple(b.shape) for b in made.codes] == [(2, n, 8) for n in schedule.lengths]
    history = tokenizer.history(2, schedule)
    for bits, seen in zip(made.codes, shown):
        history.add(bits)
        assert torch.equal(history.features, seen)
    again = generate(tiny, tokenizer, text, schedule, options, seed=1)
    assert torch.equal(again.images, made.images)
    other = generate(tiny, tokenizer, text, schedule, options, seed=2)
    assert not torch.equal(other.images, made.images)


def test_what_cannot_be_generated_is_refused(tiny, tokenizer, text, schedule):
    options = InfinityOptions()
    with pytest.raises(ConfigError, match="a model trained on 1,2,3,4"):
        generate(tiny, tokenizer, text, ScaleSchedule.square(1, 2, 4), options)
    with pytest.raises(ConfigError, match=r"guidance has 2 values for 4 scales \(1,2,3,4\)"):
        generate(tiny, tokenizer, text, schedule, InfinityOptions(guidance=(1.0, 2.0)))
    with pytest.raises(ConfigError, match="guidance_layers names -4 and the model has 3 layers"):
        generate(tiny, tokenizer, text, schedule, InfinityOptions(guidance_layers=(-4,)))
    with pytest.raises(ConfigError, match="1 negative texts were given for 2"):
        generate(tiny, tokenizer, text, schedule, options, negative=Text.of([torch.zeros(2, 24)]))
    with pytest.raises(DataError, match="a text of 7 tokens was given and the model takes 6"):
        generate(tiny, tokenizer, Text.of([torch.zeros(7, 24)]), schedule, options)
    with pytest.raises(DataError, match="width 23 were given and the model takes 24"):
        generate(tiny, tokenizer, Text.of([torch.zeros(3, 23)]), schedule, options)
    for wrong in (torch.zeros(3, 23), torch.zeros(7, 24)):
        with pytest.raises(DataError, match=r"(were|was) given and the model takes"):
            generate(tiny, tokenizer, text, schedule, options, negative=Text.of([wrong, wrong]))
    with pytest.raises(DataError, match="at least one token"):
        Text.of([torch.zeros(0, 24)])
    other = BsqTokenizer(replace(tokenizer.config, patchify=True))
    with pytest.raises(CheckpointError, match=r"codes with bits 8, patchify .* have bits 32"):
        generate(tiny, other, text, schedule, options)


def _logits(difference):
    return torch.stack([torch.zeros_like(difference), difference], dim=-1).flatten(-2)


def test_top_p_forces_a_bit_whose_rarer_value_is_rare():
    edge = math.log(0.97 / 0.03)
    difference = torch.tensor([-edge - 1e-3, -edge + 1e-3, 0.0, edge - 1e-3, edge + 1e-3], dtype=torch.float64)
    ones = BitSampler(1.0, None, 0.97).probabilities(_logits(difference))
    assert ones[0] == 0
    assert ones[4] == 1
    torch.testing.assert_close(ones[1:4], torch.sigmoid(difference[1:4]))
    halved = BitSampler(0.5, None, 0.97).probabilities(_logits(difference / 2))
    torch.testing.assert_close(halved, ones)


def test_top_k_of_2_or_more_is_no_limit():
    difference = torch.linspace(-5, 5, 11)
    free = BitSampler(1.0).probabilities(_logits(difference))
    assert torch.equal(BitSampler(1.0, 2).probabilities(_logits(difference)), free)
    assert torch.equal(BitSampler(1.0, 900).probabilities(_logits(difference)), free)
    assert torch.equal(BitSampler(1.0, 1).probabilities(_logits(difference)), (difference > 0).float())
    torch.testing.assert_close(free, _logits(difference).view(-1, 2).softmax(-1)[:, 1])


@pytest.mark.parametrize("draw", ["uniform", "multinomial"])
def test_draws_have_the_law_of_the_softmax(draw):
    difference = torch.tensor([-2.0, -0.5, 0.0, 1.0, 3.0])
    logits = _logits(difference).expand(1, 20_000, -1)
    bits = BitSampler(0.8, draw=draw).pick(logits, [torch.Generator().manual_seed(0)])
    share, law = bits[0].float().mean(0), torch.sigmoid(difference / 0.8)
    assert ((share - law).abs() < 4 * (law * (1 - law) / 20_000).sqrt()).all()


@pytest.mark.parametrize("draw", ["uniform", "multinomial"])
def test_a_stream_is_a_function_of_how_many_bits_were_drawn(draw):
    strong, weak = (torch.full((1, 3, 4), value) for value in (50.0, 0.0))
    states = []
    for logits in (strong, weak):
        generator = torch.Generator().manual_seed(0)
        BitSampler(1.0, None, 0.97, draw).pick(logits, [generator])
        states.append(generator.get_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("values", "part"),
    [({"temperature": (-1.0,)}, "temperature is -1"), ({"top_p": 0.0}, "top_p is 0"), ({"guidance": ()}, "guidance is empty"),
     ({"guidance": (1.0, math.nan)}, "guidance is nan"),
     ({"guidance": (1.0, -2.0)}, "guidance is -2.0; it must be a number of at least 0"), ({"draw": "gumbel"}, "choose uniform or multinomial"),
     ({"guidance_layers": (1,)}, "give 0 for the logits"), ({"top_k": 0}, "top_k is 0")],
)  # fmt: skip
def test_options_out_of_range(values, part):
    with pytest.raises(ConfigError, match=part):
        InfinityOptions(**values)


def test_weights_of_16_bits_give_logits_of_32(tiny, text, schedule):
    exact, bits, _ = _run(tiny, text, schedule, guidance=2.0)
    halved, _, _ = _run(tiny.bfloat16(), text, schedule, guidance=2.0, forced=bits)
    assert {logits.dtype for logits in halved} == {torch.float32}
    # Rounded logits would be their own bfloat16; those of a head in float32 are not.
    assert not any(torch.equal(logits, logits.bfloat16().float()) for logits in halved)
    for a, b in zip(halved, exact):
        assert (a - b).norm() < 0.1 * b.norm()


def test_generation_under_autocast(tiny, tokenizer, text, schedule):
    with torch.autocast("cpu", torch.bfloat16):
        made = generate(tiny, tokenizer, text, schedule, InfinityOptions(temperature=(0.0,)))
    assert made.images.dtype == torch.float32
    assert made.images.isfinite().all()
