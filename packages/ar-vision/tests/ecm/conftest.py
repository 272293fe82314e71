"""Controllers of VARs of a few blocks, with weights that matter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.ecm.base_pass import BasePass
from ar_vision.ecm.baselines.car import CarControl
from ar_vision.ecm.baselines.config import CarConfig, FullConfig, LoraConfig
from ar_vision.ecm.baselines.full import FullControl
from ar_vision.ecm.baselines.lora import LoraControl
from ar_vision.ecm.config import EcmConfig, EncoderConfig
from ar_vision.ecm.controller import Controller
from ar_vision.ecm.model import Ecm
from ar_vision.scales import ScaleSchedule
from torch import Tensor

SIDE = 16
ENCODER = EncoderConfig(patch=4, depth=1, width=16, heads=2)


def shake(controller: Controller, seed: int = 5, gates: bool = True) -> Controller:
    """Move every weight, so that all of them matter; without ``gates``, what lets the control in stays shut."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in controller.named_parameters():
            if gates or not name.endswith("inject_gate"):
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.2)
    return controller.eval()


@pytest.fixture
def base(make_var):
    """A frozen VAR of four blocks."""
    return make_var(depth=4).requires_grad_(False)


@pytest.fixture
def make_controller(base) -> Callable[..., Controller]:
    """From a kind and settings of its config to a controller of the base; ``fresh`` leaves it as it is before training."""

    def make(kind: str = "ecm", *, fresh: bool = False, num_kinds: int = 1, on: Any = None, **settings: Any):
        model = base if on is None else on
        if kind == "car":
            made = CarControl(CarConfig(channels=(4, 6, 8)), model.config, SIDE)
        else:
            config, build = {
                "ecm": (EcmConfig, Ecm),
                "lora": (LoraConfig, LoraControl),
                "full": (FullConfig, FullControl),
            }[kind]
            given = {"encoder": ENCODER, **({"n_adapters": 2, "ffn_ratio": 2} if kind == "ecm" else {}), **settings}
            if "positions" in given:
                given.pop("n_adapters", None)
            made = build(config(**given), model.config, SIDE, num_kinds)
        made.initialize(torch.Generator().manual_seed(1), model)
        return made.eval() if fresh else shake(made)

    return make


@pytest.fixture
def maps(generator) -> Tensor:
    """Three control maps, [3, 3, 16, 16]."""
    return torch.rand(3, 3, SIDE, SIDE, generator=generator) * 2 - 1


@pytest.fixture
def teacher(base, var_tokenizer, random_codes):
    """Codes of three images, and the base's inputs of all scales."""
    codes = random_codes(base.schedule, 3)
    history = var_tokenizer.history(3, base.schedule)
    inputs: list[Tensor | None] = [None]
    for scale in codes[:-1]:
        history.add(scale)
        inputs.append(history.next_input())
    return codes, inputs


@pytest.fixture
def logits(base, teacher):
    """From a controller and features r to logits [3, L', V] of the first scales in one masked pass, in the controller's dtype."""

    def run(controller: Controller | None, features: Tensor | None, scales: int = 4, inputs=None, on=None, **settings):
        model = base if on is None else on
        fed = teacher[1] if inputs is None else inputs
        transformer = model if controller is None else controller.transformer(model)
        condition = transformer.condition(torch.tensor([0, 3, 5]))
        x = torch.cat([transformer.embed(k, fed[k], condition, model.schedule) for k in range(scales)], dim=1)
        mask = scale_mask(ScaleSchedule(model.schedule.sizes[:scales]), x.device)
        if controller is None:
            hidden = model.hidden(x, condition, scale=None, schedule=model.schedule, mask=mask)
        else:
            r = features[:, : x.shape[1]]
            hidden = controller.hidden(BasePass(model, x, condition, scale=None, mask=mask), r, **settings)
        return transformer.head(hidden, condition)

    return run
