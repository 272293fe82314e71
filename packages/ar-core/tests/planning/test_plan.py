"""Plans against arithmetic: bytes that are followed, operations, optimiser state, sharing among devices."""

import gc
from collections.abc import Sequence
from types import MappingProxyType

import pytest
import torch
from ar_core.errors import ConfigError, PlanError
from ar_core.planning import Hardware, named_hardware, timetable
from ar_core.planning.live_bytes import LiveBytes
from ar_core.planning.plan import plan_job
from ar_core.planning.traced import ReadOnHost, Traced, without_values
from ar_core.training import Job, Player, Prepared, TrainConfig
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

WIDTH, HIDDEN, BATCH = 32, 128, 16
PARAMETERS = 2 * WIDTH * HIDDEN + HIDDEN + WIDTH


class Squares:
    coefficients = MappingProxyType({"square": 1.0})

    def players(self) -> Sequence[Player]:
        return (Player(),)

    def prepare(self, batch, rng):
        x = torch.stack([sample["x"] for sample in batch])
        return Prepared({"x": x}, {"square": float(len(batch))}, {"tokens": len(batch)})

    def sums(self, models, prepared):
        return {"square": models["model"](prepared.tensors["x"]).square().sum()}


class Picked(Squares):
    """Its shapes depend on what the model computes."""

    def sums(self, models, prepared):
        out = models["model"](prepared.tensors["x"])
        return {"square": torch.masked_select(out, out > 0).square().sum()}


class Source:
    def open(self, start):
        index = start
        while True:
            yield {"index": index, "x": torch.ones(WIDTH)}
            index += 1

    def describe(self):
        return {}


def _job(objective=None):
    model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
    return Job(objective or Squares(), {"model": model}, Source())


def _plan(processes=1, **settings):
    return plan_job(_job(), TrainConfig(**{"steps": 3, "batch_size": BATCH} | settings), processes=processes)


def test_sharding_is_not_planned():
    with pytest.raises(ConfigError, match=r"sharding is 'fsdp2', .* plan with train\.sharding=none"):
        _plan(processes=2, sharding="fsdp2")


def test_storages_count_once_and_until_they_end():
    live = LiveBytes()
    whole = torch.zeros(10)
    live.note([whole, whole[:5], whole.view(2, 5)], "one")
    other = torch.zeros(3)
    live.note([other], "two")
    assert (live.held, live.peak, dict(live.by_kind)) == (52, 52, {"one": 40, "two": 12})
    live.rename([other], "one")
    assert live.by_kind["one"] == 52
    part = whole[2:]
    del whole
    gc.collect()
    assert live.held == 52
    del part
    gc.collect()
    assert (live.held, live.peak, live.by_kind["one"]) == (12, 52, 12)


def test_what_depends_on_inputs_alone_is_computed_and_what_depends_on_weights_is_not():
    model = nn.Linear(4, 3)
    weight = model.weight
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    without_values(model, fake)
    assert isinstance(weight, nn.Parameter)
    assert isinstance(weight, FakeTensor)
    with ReadOnHost(), Traced(fake, LiveBytes()) as traced:
        chosen = torch.tensor([True, False, True]).nonzero()
        assert chosen.tolist() == [[0], [2]]
        out = model(torch.ones(5, 4)[chosen[:, 0]])
        assert isinstance(out, FakeTensor)
        assert out.shape == (2, 3)
        assert out.sum().item() == 1.0
        assert out.tolist() == [[1.0] * 3] * 2
        # A mask with values picks as many as it has; one without, all.
        assert out[torch.tensor([True, False])].shape == (1, 3)
        assert not traced.guessed
        assert out[out > 0].shape == (6,)
        assert traced.guessed
    assert traced.flops == {torch.float32: 2 * 2 * 4 * 3}


def test_memory_and_operations_of_a_perceptron_are_those_of_arithmetic():
    plan = _plan(ema=0.9)
    assert (plan.trained, plan.frozen) == (PARAMETERS, 0)
    assert plan.memory["weights"] == plan.memory["average"] == 4 * PARAMETERS
    # Two moments, and a step count for each of four parameters.
    assert plan.memory["optimizer"] == 8 * PARAMETERS + 4 * 4
    assert plan.peak_bytes == sum(plan.memory.values())
    # Two layers forward; gradients of both weights and of the second layer's input.
    assert plan.flops_per_step == 2 * BATCH * WIDTH * HIDDEN * (2 + 2 + 1)
    assert plan.checkpoint_bytes == 4 * PARAMETERS + 8 * PARAMETERS + 16 + 4 * PARAMETERS
    assert plan.dtype == "float32"


def test_operations_do_not_depend_on_micro_batches_and_activations_do():
    whole, parts = _plan(), _plan(micro_batch_size=2)
    assert (whole.micro_batches, parts.micro_batches) == (1, 8)
    assert parts.flops_per_step == whole.flops_per_step
    assert parts.tokens_per_step == whole.tokens_per_step == BATCH
    assert parts.memory.get("activations", 0) < whole.memory["activations"]


def test_devices_share_samples_and_each_holds_all_weights():
    one, four = _plan(), _plan(processes=4)
    assert four.flops_per_step * 4 == one.flops_per_step
    assert four.memory["weights"] == one.memory["weights"]
    assert (one.gradient_bytes, four.gradient_bytes) == (0, 4 * PARAMETERS)
    assert four.tokens_per_step == BATCH
    with pytest.raises(ConfigError, match="batch_size is 16 and the run has 3 ranks"):
        _plan(processes=3)
    with pytest.raises(ConfigError, match="at least 1"):
        _plan(processes=0)


def test_a_step_whose_shapes_depend_on_the_model_is_refused_by_name():
    with pytest.raises(PlanError, match="masked_select"):
        plan_job(_job(Picked()), TrainConfig(steps=3, batch_size=4))


def test_times_are_operations_and_bytes_over_what_the_device_does():
    plan = _plan(processes=2)
    device = Hardware("made up", 1e9, {"float32": 1e6}, 1e5, 1e4, "here")
    times = timetable(plan, device, utilisation=0.5)
    assert times.product_seconds == pytest.approx(plan.flops_per_step / 5e5)
    # Weights and two moments read and written, gradients read.
    assert times.update_seconds == pytest.approx((28 * PARAMETERS + 2 * 16) / 1e5)
    # Half of the gradient twice, over one direction of the link.
    assert times.exchange_seconds == pytest.approx(4 * PARAMETERS / 5e3)
    assert times.run_seconds == pytest.approx(3 * times.step_seconds)
    assert times.fits
    with pytest.raises(ConfigError, match="utilisation is 0"):
        timetable(plan, device, utilisation=0)


def test_hardware_is_known_by_name():
    assert named_hardware("h100").memory_bytes == 80e9
    with pytest.raises(ConfigError, match="h100"):
        named_hardware("h10")
