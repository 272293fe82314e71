import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import load_strict
from torch import nn


class Tied(nn.Module):
    def __init__(self, layers: int = 5) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(layers))
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def filled(module: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.full_like(value, float(number), dtype=torch.float64)
        for number, (name, value) in enumerate(module.state_dict().items())
        if name != "head.weight"
    }


def test_values_arrive_in_the_dtype_of_the_module_and_ties_stay():
    module = Tied().to(torch.bfloat16)
    tensors = filled(module)
    load_strict(module, tensors)
    for name, value in module.state_dict().items():
        assert value.dtype == torch.bfloat16
        assert value.double().eq(tensors.get(name, tensors["embed.weight"])).all(), name
    assert module.head.weight is module.embed.weight


@pytest.mark.parametrize("names", [["embed.weight"], ["head.weight"], ["embed.weight", "head.weight"]])
def test_a_tied_weight_may_come_under_either_name_or_both(names):
    module = Tied()
    tensors = filled(module)
    value = torch.full_like(tensors.pop("embed.weight"), 3)
    load_strict(module, tensors | dict.fromkeys(names, value))
    assert module.embed.weight.eq(3).all()


def test_every_fault_is_named_at_once_and_nothing_is_loaded():
    module = Tied()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tensors = filled(module)
    for name in ("layers.0.bias", "layers.1.bias", "layers.3.bias", "embed.weight"):
        del tensors[name]
    tensors["layers.2.weight"] = torch.zeros(3, 4)
    tensors["rotary.inv_freq"] = torch.zeros(2)
    tensors["scratch"] = torch.zeros(2)
    with pytest.raises(CheckpointError) as caught:
        load_strict(module, tensors, source="w.safetensors")
    text = str(caught.value)
    assert text.startswith("w.safetensors does not fit the Tied")
    assert "it lacks embed.weight, layers.{0-1,3}.bias;" in text
    assert "it has rotary.inv_freq, scratch, which the model does not know" in text
    assert "its shapes differ: layers.2.weight [3, 4] instead of [3, 3]" in text
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_tied_names_with_different_values_are_refused():
    module = Tied()
    tensors = filled(module)
    tensors["head.weight"] = tensors["embed.weight"] + 1
    with pytest.raises(CheckpointError, match=r"different values for tied weights: embed\.weight and head\.weight"):
        load_strict(module, tensors)


def apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Another layout: the weight of a packed layer in two halves."""
    first, second = tensors["weight"].chunk(2)
    return {"a.kernel": first, "b.kernel": second, "shift": tensors["bias"]}


def test_another_layout_may_hold_parts_of_a_tensor():
    module = nn.Linear(3, 4)
    tensors = {"a.kernel": torch.ones(2, 3), "b.kernel": torch.full((2, 3), 2.0), "shift": torch.arange(4.0)}
    load_strict(module, tensors, layout=apart)
    assert module.weight.tolist() == [[1.0] * 3] * 2 + [[2.0] * 3] * 2
    assert module.bias.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert module.weight.requires_grad


def test_errors_go_by_the_names_of_the_other_layout():
    module = nn.Linear(3, 4)
    before = module.weight.detach().clone()
    with pytest.raises(
        CheckpointError, match=r"lacks b\.kernel; it has weight, which .*a\.kernel \[3, 3\] instead of \[2, 3\]"
    ):
        load_strict(
            module,
            {"a.kernel": torch.ones(3, 3), "weight": torch.ones(4, 3), "shift": torch.ones(4)},
            layout=apart,
        )
    assert torch.equal(module.weight, before)


def test_integers_are_not_taken_for_weights():
    module = Tied()
    tensors = filled(module)
    tensors["layers.1.weight"] = tensors["layers.1.weight"].to(torch.int8)
    with pytest.raises(CheckpointError, match=r"numbers with a fraction: layers\.1\.weight \(int8\)"):
        load_strict(module, tensors)
    assert not module.layers[0].weight.eq(tensors["layers.0.weight"]).any()
