"""Optimiser steps of Fast-dLLM v2 under any arm."""

from collections.abc import Mapping
from typing import get_args

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from ar_core.hf import use_backend
from ar_core.training import Prepared, TrainConfig, TrainStep
from ar_core.training.optimizers import build_turns
from ar_core.training.ranks import Ranks
from ar_core.training.step import OptimizerStep
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.fast_dllm_v2.objective import FastDLLMv2Objective
from torch import Tensor

from .arms import PUBLISHED, Arm, Views
from .squares import counting
from .subjects import Subject

__all__ = ["Step"]

UNMOVED = 1e-300
"""Learning rate, 0 in the arithmetic of the weights. The work of a step does not depend on it, and the weights stay what they
are: all arms, whenever they are measured, are compared at the same ones."""


class Step:
    """Whole steps on one fixed sample: forward, loss of the selected rows, backward, clipping, AdamW.

    Args:
        subject: what is trained.
        block: D, the diffusion block size.
        device: where.
        limits: largest difference of `loss`, and of `gradient`: the norm of the difference over the norm.

    Raises:
        DataError: a row is as long as a layer is wide, so that masks could not be told from weights.
    """

    what = "optimiser step"
    launches = True

    def __init__(self, subject: Subject, block: int, device: str, limits: Mapping[str, float]) -> None:
        self.limits = limits
        self.model = subject.model
        self.parameters = list(self.model.parameters())
        config = TrainConfig(lr=UNMOVED)
        models = {"model": self.model}
        self._objectives = {views: _objective(views, block, subject.mask_id) for views in get_args(Views)}
        turns = build_turns(self._objectives[PUBLISHED.views], models, config)
        self._steps = {
            views: OptimizerStep(TrainStep(objective, models), objective, turns, config, Ranks())
            for views, objective in self._objectives.items()
        }
        ids = subject.ids
        sample = {"index": 0, "ids": ids, "labels": ids.clone(), "document": torch.zeros_like(ids)}
        self._prepared: dict[Views, Prepared] = {
            views: objective.prepare([sample], SampleRng(seed=0)).to(torch.device(device))
            for views, objective in self._objectives.items()
        }
        widths = {size for parameter in self.parameters for size in parameter.shape}
        if clash := widths & {self._length(views) for views in self._prepared}:
            raise DataError(
                f"a row of {min(clash)} tokens is as long as a layer is wide, so that masks cannot be told from weights: "
                "choose another length"
            )
        # The optimiser makes its state in its first step, which would count as the memory of whichever arm takes it.
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        turns[0].optimizer.step()
        self.model.zero_grad()
        state = [x for held in turns[0].optimizer.state.values() for x in held.values() if isinstance(x, Tensor)]
        self.held_bytes = sum(tensor.numel() * tensor.element_size() for tensor in [*self.parameters, *state])
        """Of weights and optimiser state, the same under all arms."""
        self._reference: tuple[float, dict[str, int], list[Tensor]] | None = None

    def against(self, arm: Arm) -> Arm:
        """The published step."""
        return PUBLISHED

    def agreement(self, arm: Arm) -> tuple[dict[str, float], dict[str, int]]:
        """Loss and gradient against those of the published arm, and T x T tensors by arm.

        The gradient is that of all parameters, before clipping.
        """
        if self._reference is None:
            loss, squares = self._differentiate(PUBLISHED)
            # In the memory of the host, so that a device holds no second gradient.
            self._reference = loss, squares, [_gradient(p).to("cpu", copy=True) for p in self.parameters]
        expected, of_reference, gradients = self._reference
        loss, squares = self._differentiate(arm)
        difference = total = 0.0
        for parameter, wanted in zip(self.parameters, gradients, strict=True):
            wanted = wanted.to(parameter.device).float()
            difference += _square(_gradient(parameter).float() - wanted)
            total += _square(wanted)
        self.model.zero_grad()
        return {"loss": abs(loss - expected), "gradient": (difference / total) ** 0.5}, of_reference | squares

    def __call__(self, arm: Arm) -> None:
        """Take one step. Gradients are freed, so that each begins with the same memory."""
        use_backend(self.model, arm.backend)
        self._steps[arm.views]([self._prepared[arm.views]], 0)
        self.model.zero_grad()

    def _differentiate(self, arm: Arm) -> tuple[float, dict[str, int]]:
        """Leave the gradient in the parameters; the loss, and T x T tensors."""
        use_backend(self.model, arm.backend)
        prepared = self._prepared[arm.views]
        self.model.zero_grad()
        with counting(arm, self._length(arm.views)) as squares:
            ((name, total),) = self._objectives[arm.views].sums({"model": self.model}, prepared).items()
            loss = total / prepared.weights[name]
            loss.backward()
        return loss.item(), squares

    def _length(self, views: Views) -> int:
        """T, tokens of a row."""
        return self._prepared[views].tensors["ids"].shape[1]


def _objective(views: Views, block: int, mask_id: int) -> FastDLLMv2Objective:
    config = FastDLLMv2Config(
        diffusion_block_size=block, sub_block_size=1, views=views, document_mask=False, document_positions=False
    )
    return FastDLLMv2Objective(config, mask_id)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
