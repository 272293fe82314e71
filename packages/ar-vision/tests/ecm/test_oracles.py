"""Points 1 to 5, 8, 11 and 12 of the method's exact oracles, and the same of the baselines where they hold."""

import pytest
import torch
from ar_core.errors import ConfigError
from ar_vision.decoding.scalewise import ScalePasses
from ar_vision.ecm.config import EcmConfig, EncoderConfig
from ar_vision.ecm.controlled import ControlledVar
from ar_vision.ecm.model import Ecm
from ar_vision.ecm.several import EcmSum
from ar_vision.scales import ScaleSchedule

VARIANTS = [
    {},
    {"context": False},
    {"share_ffn": False, "adaln": "own"},
    {"adaln": "none", "gate": "scalar", "inject": "delta"},
    {"gate": "tanh", "positions": (0, 1, 3), "init_from_base": True},
    {"encoder": EncoderConfig(kind="conv", channels=(4, 6, 8))},
    {"encoder": EncoderConfig(kind="pixels", resize="bilinear")},
]
NAMES = [", ".join(one) or "defaults" for one in VARIANTS]


def double(*modules):
    return [module.double() for module in modules]


def cached(base, controlled, inputs, labels):
    """Logits of every scale in a pass of its own."""
    condition = base.condition(labels)
    passes = ScalePasses(controlled, condition, None, base.schedule, [1.0] * base.schedule.count)
    found = []
    for k in range(base.schedule.count):
        passes.open(k)
        found.append(passes.logits(k, inputs[k]))
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("settings", VARIANTS, ids=NAMES)
@torch.no_grad()
def test_oracle_1_with_shut_gates_the_base_is_what_it_was_bit_for_bit(
    base, make_controller, maps, teacher, logits, settings
):
    ecm = make_controller(fresh=True, **settings)
    plain = logits(None, None)
    for maps_given in (maps, maps.flip(0) * 3):
        features = ecm.features(maps_given)
        assert features.abs().max() > 0
        assert torch.equal(logits(ecm, features), plain)
        labels = torch.tensor([0, 3, 5])
        controlled, free = ControlledVar(base, ecm, features), base
        assert torch.equal(cached(base, controlled, teacher[1], labels), cached(base, free, teacher[1], labels))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_oracle_1_fresh_baselines_begin_as_the_base_and_car_does_not(make_controller, maps, logits, kind):
    controller = make_controller(kind, fresh=True)
    assert torch.equal(logits(controller, controller.features(maps)), logits(None, None))
    car = make_controller("car", fresh=True)
    assert not torch.allclose(logits(car, car.features(maps)), logits(None, None), atol=1e-2)


@pytest.mark.parametrize("kind", ["ecm", "lora", "full", "car"])
def test_oracle_2_a_prefix_of_the_scales_has_the_logits_of_the_whole(
    base, make_controller, maps, teacher, logits, kind
):
    controller = make_controller(kind)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        model, own = base.to(dtype), controller.to(dtype)
        inputs = [None, *(one.to(dtype) for one in teacher[1][1:])]
        features = own.features(maps.to(dtype))
        whole = logits(own, features, inputs=inputs, on=model)
        assert whole.std() > 0.1
        for scales in range(1, 5):
            own_features = own.features(maps.to(dtype), scales=scales)
            part = logits(own, own_features, scales, inputs=inputs, on=model)
            largest = float(whole.detach().abs().max())
            torch.testing.assert_close(part, whole[:, : part.shape[1]], atol=tolerance * largest, rtol=0)


@pytest.mark.parametrize(
    ("kind", "settings"), [*(("ecm", one) for one in VARIANTS), ("lora", {}), ("full", {}), ("car", {})]
)
@torch.no_grad()
def test_oracle_3_scales_on_the_cache_are_those_of_the_masked_pass(
    base, make_controller, maps, teacher, logits, kind, settings
):
    controller = make_controller(kind, **settings)
    double(base, controller)
    inputs = [None, *(one.double() for one in teacher[1][1:])]
    features = controller.features(maps.double())
    controlled = ControlledVar(base, controller, features)
    whole = logits(controller, features, inputs=inputs)
    transformer = controller.transformer(base)
    found = cached(transformer, controlled, inputs, torch.tensor([0, 3, 5]))
    torch.testing.assert_close(found, whole, atol=1e-12 * float(whole.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", ["ecm", "car"])
def test_oracle_4_the_control_of_later_scales_and_later_tokens_change_nothing_before(
    base, make_controller, maps, teacher, logits, kind
):
    controller = make_controller(kind)
    features = controller.features(maps)
    plain = logits(controller, features)
    for k, part in enumerate(base.schedule.slices[1:]):
        changed = features.clone()
        changed[:, part.start :] += 1
        after = logits(controller, changed)
        assert torch.equal(after[:, : part.start], plain[:, : part.start])
        assert not torch.allclose(after[:, part], plain[:, part], atol=1e-3)
        inputs = list(teacher[1])
        inputs[k + 1] = inputs[k + 1] + 1
        after = logits(controller, features, inputs=inputs)
        assert torch.equal(after[:, : part.start], plain[:, : part.start])
        assert not torch.allclose(after[:, part], plain[:, part], atol=1e-3)


def test_oracle_5_at_first_only_the_gates_are_moved(base, make_controller, maps, logits):
    for settings in ({}, {"share_ffn": False, "adaln": "own", "gate": "tanh"}):
        ecm = make_controller(fresh=True, **settings)
        logits(ecm, ecm.features(maps)).square().mean().backward()
        for name, parameter in ecm.named_parameters():
            moved = parameter.grad is not None and bool(parameter.grad.any())
            assert moved == name.endswith("inject_gate"), name
        assert all(parameter.grad is None for parameter in base.parameters())
        # Once they are open, all is moved but the null control, which no sample had.
        ecm.zero_grad()
        with torch.no_grad():
            for adapter in ecm.adapters:
                adapter.inject_gate.fill_(0.1)
        logits(ecm, ecm.features(maps)).square().mean().backward()
        idle = {
            name for name, parameter in ecm.named_parameters() if parameter.grad is None or not parameter.grad.any()
        }
        assert idle <= {"null_control"}


def test_oracle_8_adapters_share_one_feed_forward_layer_and_its_gradients_add_up(base, make_controller, maps, logits):
    ecm = make_controller()
    assert ecm.ffn_of(0) is ecm.ffn_of(1)
    apart = make_controller(share_ffn=False)
    assert apart.ffn_of(0) is not apart.ffn_of(1)
    one = sum(parameter.numel() for parameter in ecm.ffn_of(0).parameters())
    count = [sum(parameter.numel() for parameter in one.parameters()) for one in (ecm, apart)]
    assert count[1] - count[0] == one
    # With equal weights in both layers, the shared one's gradient is the sum of theirs.
    state = {name.replace("ffns.0", "ffns.1"): value for name, value in ecm.state_dict().items()} | ecm.state_dict()
    apart.load_state_dict(state)
    double(base, ecm, apart)
    grads = []
    for model in (ecm, apart):
        fed = [None, *(one.double() for one in logits_inputs(base))]
        logits(model, model.features(maps.double()), inputs=fed).square().mean().backward()
        grads.append([ffn.fc1.weight.grad for ffn in model.ffns])
    torch.testing.assert_close(grads[0][0], grads[1][0] + grads[1][1], atol=1e-10, rtol=0)
    assert all(grad.abs().max() > 1e-8 for grad in grads[1])


def logits_inputs(base):
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(3, 8, h, w, generator=generator) for h, w in base.schedule.sizes[1:]]


@torch.no_grad()
def test_oracle_11_strength_0_is_the_base_and_one_adapter_injects_in_proportion(
    base, make_controller, maps, teacher, logits
):
    ecm = make_controller(n_adapters=1)
    features = ecm.features(maps)
    assert torch.equal(logits(ecm, features, strength=0.0), logits(None, None))
    x = torch.randn(3, 30, 32)
    inject = [ecm.injections(base.condition(torch.tensor([0, 3, 5])), features, strength=s) for s in (0.25, 0.5, 1.0)]
    quarter, half, one = (part(0, x, None) for part in inject)
    assert torch.equal(half, one * 0.5)
    assert torch.equal(quarter, one * 0.25)
    assert one.abs().max() > 0.1
    labels = torch.tensor([0, 3, 5])
    off = ControlledVar(base, ecm, features, strength=0.0)
    assert torch.equal(cached(base, off, teacher[1], labels), cached(base, base, teacher[1], labels))


@torch.no_grad()
def test_control_is_switched_off_behind_the_active_scales_and_before_them(base, make_controller, maps, teacher):
    ecm, labels = make_controller(), torch.tensor([0, 3, 5])
    features = ecm.features(maps)
    free = cached(base, base, teacher[1], labels)
    whole = cached(base, ControlledVar(base, ecm, features), teacher[1], labels)
    early = cached(base, ControlledVar(base, ecm, features, active=(0, 1)), teacher[1], labels)
    late = cached(base, ControlledVar(base, ecm, features, active=(2, 3)), teacher[1], labels)
    assert torch.equal(early[:, :5], whole[:, :5])
    assert not torch.allclose(early[:, 5:], whole[:, 5:], atol=1e-2)
    assert torch.equal(late[:, :5], free[:, :5])
    assert not torch.allclose(late[:, 5:], free[:, 5:], atol=1e-2)


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
def test_oracle_12_a_constant_map_has_constant_features_at_every_scale(base, mode):
    config = EcmConfig(encoder=EncoderConfig(kind="pixels", resize=mode), n_adapters=1)
    ecm = Ecm(config, base.config, 16)
    ecm.initialize(torch.Generator().manual_seed(0), base)
    with torch.no_grad():
        ecm.encoder.scale_embed.normal_()
    grey = torch.full((1, 3, 16, 16), 0.3)
    for part in base.schedule.split(ecm.features(grey)):
        torch.testing.assert_close(part, part[:, :1].expand_as(part), atol=1e-6, rtol=0)
    striped = grey.clone()
    striped[..., ::2] = -1
    striped[..., :8] = 1
    assert ecm.features(striped)[0, -16:].std(0).max() > 0.1


@torch.no_grad()
def test_maps_reach_scales_by_area_as_the_base_forms_its_inputs(base):
    ecm = Ecm(EcmConfig(encoder=EncoderConfig(kind="pixels"), n_adapters=1), base.config, 16)
    ecm.initialize(torch.Generator().manual_seed(0), base)
    maps = torch.rand(1, 3, 16, 16)
    parts = ScaleSchedule.square(1, 2, 3, 4).split(ecm.features(maps))
    for part, side in ((parts[1], 2), (parts[3], 4)):
        pooled = maps.unflatten(3, (side, -1)).unflatten(2, (side, -1)).mean((3, 5))
        torch.testing.assert_close(part, ecm.encoder.proj(pooled.flatten(2).transpose(1, 2)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_sum_of_controls_knows_no_order_and_of_one_it_is_that_one(base, make_controller, maps, teacher, logits):
    first, second = make_controller(), make_controller(positions=(1, 2, 3))
    other = maps.flip(3)
    both, turned = EcmSum([first, second], [1.0, 0.5]), EcmSum([second, first], [0.5, 1.0])
    one = logits(both, both.features(torch.cat([maps, other], 1)))
    two = logits(turned, turned.features(torch.cat([other, maps], 1)))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)
    alone = EcmSum([first, second], [1.0, 0.0])
    features = first.features(maps)
    torch.testing.assert_close(
        logits(alone, alone.features(torch.cat([maps, other], 1))), logits(first, features), atol=1e-4, rtol=0
    )
    assert not torch.allclose(one, logits(first, features), atol=1e-2)
    # On the cache adapters of all parts keep keys and values of their own.
    labels = torch.tensor([0, 3, 5])
    stepwise = cached(base, ControlledVar(base, both, both.features(torch.cat([maps, other], 1))), teacher[1], labels)
    torch.testing.assert_close(stepwise, one, atol=1e-3, rtol=1e-4)
    for parts, strengths, said in (
        ([], None, "at least one"),
        ([first], [1, 1], "of each"),
        ([first], [2.0], "in .0, 1."),
    ):
        with pytest.raises(ConfigError, match=said):
            EcmSum(parts, strengths)
