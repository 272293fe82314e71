"""Shapes, receptive field and losses of the patch discriminator."""

import math

import pytest
import torch
from ar_core.errors import ConfigError
from ar_vision.tokenizers.training.discriminator import (
    DiscriminatorConfig,
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
)


def discriminator(**settings):
    network = PatchDiscriminator(DiscriminatorConfig(**{"channels": 8} | settings))
    network.initialize(torch.Generator().manual_seed(0))
    return network


@pytest.mark.parametrize(("layers", "size", "cells"), [(3, 256, 30), (3, 32, 2), (2, 32, 6), (1, 32, 14)])
def test_logits_of_patches(layers, size, cells):
    logits = discriminator(layers=layers)(torch.zeros(2, 3, size, size))
    assert logits.shape == (2, 1, cells, cells)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_as_many_pixels_as_documented(layers, field):
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = discriminator(layers=layers, norm="none")(image)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [field, field]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_smallest_image(layers):
    network = discriminator(layers=layers)
    smallest = network.config.smallest
    assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 3, smallest - 1, smallest - 1))


def test_group_norm_leaves_images_alone_and_batch_norm_does_not():
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for norm, alone in (("group", True), ("none", True), ("batch", False)):
        network = discriminator(norm=norm, layers=2)
        assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-6) == alone
        assert not list(network.buffers())


def test_fresh_weights_are_a_function_of_the_seed():
    torch.manual_seed(5)
    first = discriminator().state_dict()
    torch.manual_seed(6)
    second = discriminator().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    weights = torch.cat([v.flatten() for name, v in discriminator(channels=64).state_dict().items() if v.ndim == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)


def test_losses_by_hand():
    real, fake = torch.tensor([[2.0, 0.0], [-1.0, 0.5]]), torch.tensor([[-3.0, 0.0], [1.0, -0.5]])
    real, fake = real.view(2, 1, 1, 2), fake.view(2, 1, 1, 2)
    expected = [((0 + 1) / 2 + (0 + 1) / 2) / 2, ((2 + 0.5) / 2 + (2 + 0.5) / 2) / 2]
    assert discriminator_loss("hinge", real, fake).tolist() == pytest.approx(expected)
    assert generator_loss("hinge", fake).tolist() == pytest.approx([1.5, -0.25])
    zero = torch.zeros(1, 1, 2, 2)
    assert discriminator_loss("vanilla", zero, zero).item() == pytest.approx(math.log(2))
    assert generator_loss("vanilla", zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss("vanilla", real, fake)[0].item() == pytest.approx(
        (math.log1p(math.exp(-2)) + math.log(2) + math.log1p(math.exp(-3)) + math.log(2)) / 4
    )


def test_values_out_of_range():
    with pytest.raises(ConfigError, match="layers is 0, but must be at least 1"):
        DiscriminatorConfig(layers=0)
    with pytest.raises(ConfigError, match="groups 8 do not divide the 12 channels"):
        DiscriminatorConfig(channels=12)
