"""Measures of reconstructions, on a tokenizer that loses a known amount."""

import math
from types import SimpleNamespace

import pytest
import torch
from ar_core.errors import DataError
from ar_vision.evaluation.image_set import ImageSet
from ar_vision.evaluation.reconstruction import measure_tokenizer, ssim
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.training.lpips import Lpips
from torch import nn

FOUR = ScaleSchedule.square(4)


class Steps(nn.Module):
    """Adds ``loss`` to every pixel; its codes are 0 to 3 in turn, or bits."""

    vocab_size = 8

    def __init__(self, loss=0.0, bits=0):
        super().__init__()
        self.loss = nn.Parameter(torch.tensor(loss), requires_grad=False)
        self.bits = bits

    @property
    def named_codebooks(self):
        return {} if self.bits else {"": SimpleNamespace(weight=torch.zeros(self.vocab_size, 1))}

    def split(self, codes):
        return {"": codes}

    def encode(self, images):
        self.images = images
        return images

    def quantize(self, features, schedule):
        shape = (len(features), schedule.total)
        if self.bits:
            return [torch.arange(self.bits).expand(*shape, self.bits) % 2 == 1]
        return [(torch.arange(schedule.total) % 4).expand(shape)]

    def history(self, batch, schedule):
        return self

    def add(self, codes):
        pass

    @property
    def features(self):
        return self.images

    def decode(self, features):
        return features + self.loss


@pytest.fixture
def images(generator):
    pixels = torch.randint(60, 200, (30, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return ImageSet("images", 30, (16, 16), lambda start: iter(pixels[start:]))


def test_a_perfect_tokenizer(images):
    found = measure_tokenizer(Steps(), FOUR, images)
    assert found["psnr"] == math.inf
    assert found["ssim"] == pytest.approx(1, abs=1e-6)
    assert found["codes_used"] == 0.5
    assert found["perplexity"] == pytest.approx(4)


def test_psnr_of_a_known_error_in_whole_levels(images):
    # Nine levels of 255: what a file holds is measured, not the unrounded values.
    found = measure_tokenizer(Steps(9.2 / 127.5), FOUR, images, batch_size=7)
    assert found["psnr"] == pytest.approx(20 * math.log10(255 / 9), abs=1e-3)


def test_means_do_not_depend_on_batches(images):
    lpips = Lpips(31)
    one, other = (measure_tokenizer(Steps(0.3), FOUR, images, lpips=lpips, batch_size=size) for size in (4, 30))
    assert set(one) == {"psnr", "ssim", "lpips[alexnet]", "codes_used", "perplexity"}
    assert one == pytest.approx(other, rel=1e-4)


def test_bits_have_an_entropy(images):
    # Every bit is always the same.
    assert measure_tokenizer(Steps(bits=6), FOUR, images)["bit_entropy"] == 0


def test_ssim_of_constant_images_in_closed_form():
    a, b = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), -0.25)
    c1 = (0.01 * 2) ** 2
    expected = (2 * 0.5 * -0.25 + c1) / (0.25 + 0.0625 + c1)
    torch.testing.assert_close(ssim(a, b), torch.tensor([expected]), rtol=1e-4, atol=1e-6)


def test_ssim_is_one_number_an_image(generator):
    a = torch.rand(5, 3, 12, 20, generator=generator) * 2 - 1
    noise = torch.randn(a.shape, generator=generator)
    strength = torch.tensor([0, 0.1, 0.2, 0.4, 0.8]).view(5, 1, 1, 1)
    found = ssim((a + strength * noise).clamp(-1, 1), a)
    assert found.shape == (5,)
    assert (found.diff() < 0).all()


def test_small_images_are_refused():
    with pytest.raises(DataError, match="images of 8 x 16 pixels were given and SSIM needs 11"):
        ssim(torch.zeros(1, 3, 16, 8), torch.zeros(1, 3, 16, 8))


def test_the_distance_of_reconstructions_carries_the_name_of_its_features(resnet20, cifar10_test):
    pixels = cifar10_test[0][:100]
    images = ImageSet("cifar", 100, (32, 32), lambda start: iter(pixels[start:]))
    perfect, worse = (
        measure_tokenizer(Steps(loss), ScaleSchedule.square(8), images, extractor=resnet20) for loss in (0.0, 0.3)
    )
    name = "reconstruction_frechet[resnet20-cifar10]"
    assert perfect[name] == pytest.approx(0, abs=1e-6)
    assert worse[name] > 0.1


def test_too_few_images_for_the_distance_are_refused(resnet20, images):
    with pytest.raises(DataError, match="needs more than 64 reference images"):
        measure_tokenizer(Steps(), FOUR, images, extractor=resnet20)
