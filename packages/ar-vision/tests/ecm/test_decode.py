"""Generation under control: point 9 and 15 of the oracles, guidance, the shipped VAR."""

from pathlib import Path

import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_core.sampling import guide
from ar_vision.backbones.var.decode import VarDecoding
from ar_vision.backbones.var.decode import generate as generate_var
from ar_vision.checkpoint import load_checkpoint
from ar_vision.decoding.image_sampler import ImageSampler
from ar_vision.decoding.scalewise import ScalePasses
from ar_vision.ecm.config import EcmConfig, EncoderConfig
from ar_vision.ecm.controlled import ControlledVar, ControlPasses
from ar_vision.ecm.decode import ControlDecoding, generate
from ar_vision.ecm.model import Ecm

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = [0, 3, 5]
PLAIN = {"guidance": 2.0, "top_k": 20, "top_p": 0.9}


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.codes, other.codes, strict=True))


@pytest.mark.parametrize("off", [{"strength": 0.0}, {}])
def test_oracle_9_without_control_and_at_temperature_1_it_samples_as_var_seed_for_seed(
    base, make_controller, var_tokenizer, maps, off
):
    """With every gate shut, or at strength 0 of a trained one."""
    ecm = make_controller(fresh=not off)
    drawn = generate(
        base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(late_temperature=1.0, **PLAIN, **off), seed=4
    )
    free = generate_var(base, var_tokenizer, LABELS, VarDecoding(**PLAIN), seed=4)
    assert same(drawn, free)
    assert torch.equal(drawn.images, free.images)
    controlled = generate(
        base, make_controller(), var_tokenizer, maps, LABELS, ControlDecoding(late_temperature=1.0, **PLAIN), seed=4
    )
    assert not same(controlled, free)


def test_oracle_9_temperature_commutes_with_guidance_and_0_is_greedy(base, make_controller, var_tokenizer, maps):
    logits = torch.randn(2, 3, 24, dtype=torch.float64)
    one, other = logits
    torch.testing.assert_close(guide(one, other, 2.5) / 0.8, guide(one / 0.8, other / 0.8, 2.5), atol=1e-12, rtol=0)
    sampler = ImageSampler(temperature=0.8, top_k=3)
    torch.testing.assert_close(sampler.filtered(one), ImageSampler(top_k=3).filtered(one / 0.8), atol=1e-12, rtol=0)
    ecm = make_controller()
    greedy, cold = (
        generate(base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(temperature=t, late_temperature=t), seed=seed)
        for t, seed in ((0.0, 0), (1e-5, 1))
    )
    assert same(greedy, cold)


def test_late_scales_alone_are_drawn_at_the_late_temperature(base, make_controller, var_tokenizer, maps):
    ecm = make_controller()
    settings = {"temperature_shape": "step", "step_at": 2, "guidance": 1.0, "top_k": None, "top_p": None}
    warm, cold = (
        generate(base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(late_temperature=t, **settings), seed=2)
        for t in (1.0, 0.0)
    )
    assert all(torch.equal(a, b) for a, b in zip(warm.codes[:2], cold.codes[:2]))
    assert not torch.equal(warm.codes[2], cold.codes[2])


@pytest.mark.parametrize("kind", ["ecm", "lora", "full", "car"])
def test_oracle_15_images_do_not_depend_on_their_batch_mates(base, make_controller, var_tokenizer, maps, kind):
    controller, options = make_controller(kind), ControlDecoding(temperature=0.0, late_temperature=0.0, guidance=2.0)
    batch = generate(base, controller, var_tokenizer, maps, LABELS, options)
    for number, label in enumerate(LABELS):
        alone = generate(base, controller, var_tokenizer, maps[number : number + 1], [label], options)
        assert all(torch.equal(whole[number : number + 1], one) for whole, one in zip(batch.codes, alone.codes))
        torch.testing.assert_close(alone.images[0], batch.images[number], atol=1e-4, rtol=0)
    sampled = ControlDecoding(guidance=2.0)
    several = generate(base, controller, var_tokenizer, maps, LABELS, sampled, seed=[7, 8, 9])
    second = generate(base, controller, var_tokenizer, maps[1:2], LABELS[1:2], sampled, seed=[8])
    assert all(torch.equal(whole[1:2], one) for whole, one in zip(several.codes, second.codes))


@pytest.mark.parametrize("without", ["null", "base"])
@torch.no_grad()
def test_guidance_by_the_control_has_a_third_row_without_class_and_control(
    base, make_controller, maps, teacher, without
):
    """That row has the null control, which is trained, or is the base."""
    ecm, labels = make_controller(), torch.tensor(LABELS)
    features, null = ecm.features(maps), base.null_condition(3)
    dropped = ecm.features(maps, dropped=torch.ones(3, dtype=torch.bool)) if without == "null" else None

    def run(condition, r=None):
        """Logits of all scales of one branch alone."""
        backbone = base if r is None else ControlledVar(base, ecm, r)
        passes = ScalePasses(backbone, condition, None, base.schedule, [1.0] * 4)
        found = []
        for k in range(4):
            passes.open(k)
            found.append(passes.logits(k, teacher[1][k]))
        return found

    both, control, free = run(base.condition(labels), features), run(null, features), run(null, dropped)
    guidance = [1.0, 1.5, 2.0, 3.0]
    for w in (1.0, 1.7):
        controlled = ControlledVar(base, ecm, features, null=None if dropped is None else dropped[:1])
        passes = ControlPasses(controlled, base.condition(labels), null, guidance, w)
        assert passes.rows == 3 * (2 if w == 1 else 3)
        for k, g in enumerate(guidance):
            passes.open(k)
            wanted = free[k] + w * (control[k] - free[k]) + g * (both[k] - control[k])
            torch.testing.assert_close(passes.logits(k, teacher[1][k]), wanted, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"control_guidance": 2.0}, {"active_scales": (0, 1)}, {"guidance_schedule": "constant"}]
)
def test_settings_of_decoding_matter(base, make_controller, var_tokenizer, maps, settings):
    ecm = make_controller()
    one = generate(base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(**PLAIN), seed=1)
    other = generate(base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(**PLAIN, **settings), seed=1)
    assert not same(one, other)


@pytest.mark.parametrize("kind", ["ecm", "lora", "full", "car"])
def test_guidance_by_the_control_leads_away_from_the_null_control_or_from_the_base(
    base, make_controller, var_tokenizer, maps, kind
):
    controller = make_controller(kind)

    def drawn(**settings):
        return generate(
            base, controller, var_tokenizer, maps, LABELS, ControlDecoding(**PLAIN, control_guidance=2.0, **settings)
        )

    assert same(drawn(), drawn(without_control="null"))
    assert not same(drawn(), drawn(without_control="base"))


def test_no_label_is_the_null_class(base, make_controller, var_tokenizer, maps):
    ecm = make_controller()
    none = generate(base, ecm, var_tokenizer, maps, seed=1)
    assert same(none, generate(base, ecm, var_tokenizer, maps, [5, 5, 5], seed=1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strength": 1.5}, "strength is 1.5"),
        ({"late_temperature": -1.0}, "temperature is -1"),
        ({"temperature_shape": "round"}, "choose linear"),
        ({"step_at": 2}, "which has none: give temperature_shape=step"),
        ({"control_guidance": float("nan")}, "guidance is nan"),
        ({"without_control": "none", "control_guidance": 2.0}, "choose null, base"),
        ({"without_control": "base"}, "give control_guidance"),
    ],
)
def test_settings_that_are_none_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        ControlDecoding(**settings)


def test_what_does_not_fit_the_maps_is_refused(base, make_controller, var_tokenizer, maps):
    ecm = make_controller()
    for given, labels, said in (
        (maps, [0], "one label for each map"),
        (maps[..., :8], LABELS, "resize them"),
        (maps * float("nan"), LABELS, "not numbers"),
    ):
        with pytest.raises(DataError, match=said):
            generate(base, ecm, var_tokenizer, given, labels)
    with pytest.raises(ConfigError, match="active_scales are 2 to 9"):
        generate(base, ecm, var_tokenizer, maps, LABELS, ControlDecoding(active_scales=(2, 9)))


@torch.no_grad()
def test_the_shipped_var_is_what_it_was_under_a_fresh_adapter_and_under_one_that_is_off():
    """Point 1 of the oracles on trained weights: the codes and pixels of its own decoder."""
    base = load_checkpoint(EXAMPLES / "var").model.float().eval().requires_grad_(False)
    tokenizer = load_checkpoint(EXAMPLES / "var_tokenizer").model.float().eval()
    config = EcmConfig(
        n_adapters=2, ffn_ratio=1, adaln="base", encoder=EncoderConfig(patch=4, depth=1, width=32, heads=2)
    )
    ecm = Ecm(config, base.config, 32)
    ecm.initialize(torch.Generator().manual_seed(0), base)
    maps = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    options = {"guidance": 2.5, "top_k": 900, "top_p": 0.96}
    free = generate_var(base, tokenizer, [3, 8], VarDecoding(**options), seed=6)
    fresh = generate(
        base, ecm.eval(), tokenizer, maps, [3, 8], ControlDecoding(late_temperature=1.0, **options), seed=6
    )
    assert same(fresh, free)
    assert torch.equal(fresh.images, free.images)
    for adapter in ecm.adapters:
        adapter.inject_gate.fill_(0.5)
    on, off = (
        generate(
            base, ecm, tokenizer, maps, [3, 8], ControlDecoding(late_temperature=1.0, strength=s, **options), seed=6
        )
        for s in (1.0, 0.0)
    )
    assert same(off, free)
    assert not same(on, free)
