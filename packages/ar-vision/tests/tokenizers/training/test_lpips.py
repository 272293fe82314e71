"""LPIPS against its definition, written out, and against a published value; small images; gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.io import read_tensors, write_tensors
from ar_vision.pixels import to_signed
from ar_vision.tokenizers.training.lpips import Lpips, load_lpips
from PIL import Image


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def fresh():
    network = Lpips(minimum_size=32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * (1 if "lin" in name else 0.1) - 0.02)
    return network


def by_hand(weights, x, y):
    """One pair of [3, H, W], cell by cell in float64."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]).double(), torch.tensor([0.458, 0.448, 0.450]).double()
    strides, pads = {"0": 4}, {"0": 2, "3": 2}
    total = 0.0
    x, y = ((image.double() - shift[:, None, None]) / scale[:, None, None] for image in (x, y))
    for layer, name in enumerate(("0", "3", "6", "8", "10")):
        if name in ("3", "6"):
            x, y = (image.unfold(1, 3, 2).unfold(2, 3, 2).amax((3, 4)) for image in (x, y))
        weight, bias = (weights[f"features.{name}.{part}"].double() for part in ("weight", "bias"))
        x, y = (
            F.conv2d(image[None], weight, bias, stride=strides.get(name, 1), padding=pads.get(name, 1))[0].clamp(min=0)
            for image in (x, y)
        )
        head = weights[f"lin{layer}.weight"].double().flatten()
        cells = []
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                a, b = (image[:, row, column] / (image[:, row, column].norm() + 1e-10) for image in (x, y))
                cells.append(float((head * (a - b) ** 2).sum()))
        total += float(np.mean(cells))
    return total


@pytest.mark.parametrize("size", [(32, 32), (45, 38)])
def test_is_the_definition_written_out(fresh, size):
    x, y = images(2, 3, *size), images(2, 3, *size, seed=5)
    expected = [by_hand(fresh.state_dict(), *pair) for pair in zip(x, y)]
    assert fresh(x, y).tolist() == pytest.approx(expected, rel=1e-4)
    assert min(expected) > 1e-3


def test_small_images_are_enlarged_bilinearly_in_proportion():
    small, large = Lpips(minimum_size=64), Lpips(minimum_size=31)
    large.load_state_dict(small.state_dict())
    x, y = images(1, 3, 32, 48), images(1, 3, 32, 48, seed=2)
    enlarged = [F.interpolate(image, size=(64, 96), mode="bilinear", align_corners=False) for image in (x, y)]
    torch.testing.assert_close(small(x, y), large(*enlarged))
    torch.testing.assert_close(small(*enlarged), large(*enlarged))
    assert not torch.allclose(small(x, y), large(x, y), rtol=0.01)


def test_equal_images_have_distance_and_gradient_zero(fresh):
    """Also where no unit of a cell is active, whose length has no derivative at 0."""
    with torch.no_grad():
        fresh.features["10"].bias.fill_(-1e6)
    x = images(1, 3, 32, 32).requires_grad_()
    assert fresh.activations(x)[-1].max() == 0, "the deepest layer is dead"
    distance = fresh(x, x.detach())
    distance.sum().backward()
    assert distance.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_gradient_is_the_finite_difference_and_reaches_images_only(fresh):
    fresh = fresh.double()
    x, y = images(1, 3, 32, 32).double().requires_grad_(), images(1, 3, 32, 32, seed=2).double().requires_grad_()
    direction = images(1, 3, 32, 32, seed=3).double()

    # The distance itself is float32 by contract: its activations are compared in double here.
    def distance(image):
        total = 0
        for index, (a, b) in enumerate(zip(fresh.activations(image), fresh.activations(y))):
            head = fresh.get_submodule(f"lin{index}").weight
            total = total + (head * (F.normalize(a, dim=1) - F.normalize(b, dim=1)) ** 2).sum(1).mean()
        return total

    fresh.float()(x.float(), y.float()).sum().backward()
    fresh.double()
    step = 1e-5
    with torch.no_grad():
        slope = (distance(x + step * direction) - distance(x - step * direction)) / (2 * step)
    assert (x.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-3)
    assert y.grad is None
    assert all(parameter.grad is None for parameter in fresh.parameters())


def test_autocast_changes_nothing(fresh):
    x, y = images(2, 3, 32, 32), images(2, 3, 32, 32, seed=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fresh(x.bfloat16().float(), y), fresh(x.bfloat16(), y))
        found = fresh(x, y)
    assert torch.equal(found, fresh(x, y))


def test_bad_input_is_one_sentence(fresh, tmp_path):
    with pytest.raises(ConfigError, match="minimum_size is 30; AlexNet needs images of at least 31 pixels"):
        Lpips(minimum_size=30)
    with pytest.raises(DataError, match="LPIPS compares images of one shape, resize one of them"):
        fresh(images(1, 3, 32, 32), images(1, 3, 32, 33))
    with pytest.raises(CheckpointError, match=r"absent\.safetensors cannot be read"):
        load_lpips(tmp_path / "absent.safetensors")
    write_tensors(tmp_path / "part.safetensors", {"lin0.weight": torch.zeros(1, 64, 1, 1)})
    with pytest.raises(CheckpointError, match=r"does not fit the Lpips: it lacks .*features\.\{0,3,6,8,10\}\.weight"):
        load_lpips(tmp_path / "part.safetensors")


def test_is_frozen_and_loads_half_precision(fresh, tmp_path):
    write_tensors(tmp_path / "half.safetensors", {name: value.half() for name, value in fresh.state_dict().items()})
    loaded = load_lpips(tmp_path / "half.safetensors", 32)
    assert not loaded.training
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in loaded.parameters())
    x, y = images(1, 3, 40, 40), images(1, 3, 40, 40, seed=2)
    assert loaded(x, y).item() == pytest.approx(fresh(x, y).item(), rel=2e-3)


@pytest.mark.data
@pytest.mark.slow
def test_published_value_of_a_published_autoencoder(data_dir):
    """TAEF2 on the Kodak photographs: LPIPS 0.037 at 28.58 dB, measured with the reference implementation."""
    lpips = load_lpips(data_dir / "models" / "lpips_alex" / "model.safetensors")
    files = sorted((data_dir / "images" / "kodak256").glob("*.png"))
    assert len(files) == 24
    weights = {
        side: {k: v.float() for k, v in read_tensors(data_dir / "models" / "taef2" / f"{side}.safetensors").items()}
        for side in ("encoder", "decoder")
    }
    distances, ratios = [], []
    for file in files:
        image = to_signed(torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()).permute(2, 0, 1))[None]
        with torch.no_grad():
            again = taef2(weights["decoder"], taef2(weights["encoder"], (image + 1) / 2, ENCODER), DECODER)
            again = again.clamp(0, 1) * 2 - 1
            distances.append(lpips(again, image).item())
            ratios.append(10 * torch.log10(4 / (again - image).square().mean()).item())
    assert np.mean(ratios) == pytest.approx(28.58, abs=0.02)
    assert np.mean(distances) == pytest.approx(0.037, abs=0.001)


# Kinds of the layers that the staged description of TAEF2 lists: c convolution, s stride 2, b block, p pool block, u nearest x2,
# r relu, t the soft clamp of latents.
ENCODER, DECODER = "cbsbbbsbbbspppc", "tcrpppucbbbucbbbucbc"


def taef2(weights, x, kinds):
    def convolution(x, name, stride=1):
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, weights.get(f"{name}.bias"), stride=stride, padding=weight.shape[-1] // 2)

    for place, kind in enumerate(kinds):
        if kind in "cs":
            x = convolution(x, f"{place}", 2 if kind == "s" else 1)
        elif kind in "bp":
            if kind == "p":
                y = convolution(x, f"{place}.pool.0")
                y = F.group_norm(y, 4, weights[f"{place}.pool.1.weight"], weights[f"{place}.pool.1.bias"])
                x = x + convolution(y.relu(), f"{place}.pool.3")
            y = convolution(convolution(x, f"{place}.conv.0").relu(), f"{place}.conv.2").relu()
            x = (x + convolution(y, f"{place}.conv.4")).relu()
        elif kind == "u":
            x = F.interpolate(x, scale_factor=2.0)
        else:
            x = x.relu() if kind == "r" else 3 * torch.tanh(x / 3)
    return x
