"""The shipped models are as good as their results say, on staged images that none was trained on."""

import json
from pathlib import Path

import pytest
import torch
from ar_vision.backbones.llamagen.decode import class_condition
from ar_vision.checkpoint import load_checkpoint
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.source import build_image_source
from ar_vision.evaluation.image_set import SplitConfig, open_images
from ar_vision.pixels import to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.text.encoder import build_text_encoder
from ar_vision.tokenizers.scale_history import teacher_inputs
from ar_vision.tokenizers.training.reconstruction import psnr, reconstruct
from torch.nn.functional import cross_entropy

EXAMPLES = Path(__file__).parents[1] / "examples"
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
COUNT = 100


def opened(name):
    return load_checkpoint(EXAMPLES / name).model.float().eval()


def recorded(name):
    return json.loads((RESULTS / f"images_{name}_seed0.json").read_text())


@pytest.fixture(scope="module")
def cifar10(data_dir):
    """Test images of CIFAR-10 in [-1, 1] and their labels."""
    images = open_images(SplitConfig(ImageDataConfig(path=str(data_dir / "images" / "cifar10_test.parquet"), size=32)))
    return to_signed(next(images.batches(COUNT))), images.labels[:COUNT]


@pytest.fixture(scope="module")
def kodak(data_dir):
    data = ImageDataConfig(kind="folder", path=str(data_dir / "images" / "kodak256"), size=128, transform="infinity")
    return to_signed(next(open_images(SplitConfig(data)).batches(24)))


def nats(logits, codes):
    return float(cross_entropy(logits.flatten(0, -2).float(), codes.flatten().long()))


@pytest.mark.parametrize(("name", "sides"), [("var_tokenizer", (1, 2, 3, 4, 6, 8)), ("vq_tokenizer", (8,))])
def test_tokenizers_of_cifar10_give_images_back_as_well_as_recorded(name, sides, cifar10):
    again, _ = reconstruct(opened(name), cifar10[0], ScaleSchedule.of(sides))
    assert float(psnr(again, cifar10[0]).mean()) == pytest.approx(recorded(name)["rows"][0]["values"]["psnr"], abs=0.5)


def test_the_tokenizer_of_bits_gives_kodak_back_as_well_as_recorded(kodak):
    (sizes,) = opened("infinity").config.schedules
    again, _ = reconstruct(opened("bsq_tokenizer"), kodak, ScaleSchedule.of(sizes))
    found = recorded("bsq_tokenizer")["rows"][0]["values"]["psnr"]
    # The very images of the record; what differs is the rounding of the weights.
    assert float(psnr(again, kodak).mean()) == pytest.approx(found, abs=0.05)


@pytest.mark.parametrize(("name", "coder"), [("var", "var_tokenizer"), ("flexvar", "vq_tokenizer")])
@torch.no_grad()
def test_scale_models_are_as_likely_as_recorded(name, coder, cifar10):
    images, labels = cifar10
    model, tokenizer = opened(name), opened(coder)
    schedule = ScaleSchedule.square(*model.config.scales)
    _, codes = reconstruct(tokenizer, images, schedule)
    condition = model.condition(labels)
    inputs = teacher_inputs(tokenizer.history(COUNT, schedule), codes)
    logits = model.head(model.teacher_forced(condition, inputs, schedule), condition)
    expected = recorded(name)["chosen"]["evaluation"]["held_out_nll"]
    assert nats(logits, torch.cat(codes, dim=1)) == pytest.approx(expected, abs=0.1)


@torch.no_grad()
def test_llamagen_is_as_likely_as_recorded(cifar10):
    images, labels = cifar10
    model = opened("llamagen")
    _, (codes,) = reconstruct(opened("vq_tokenizer"), images, ScaleSchedule.of((8,)))
    condition = class_condition(model, labels.tolist())
    logits = model.head(model.teacher_forced(condition.given, codes, condition.valid))
    expected = recorded("llamagen")["chosen"]["evaluation"]["held_out_nll"]
    assert nats(logits, codes) == pytest.approx(expected, abs=0.1)


@torch.no_grad()
def test_infinity_is_as_likely_as_recorded(data_dir):
    place = data_dir / "image_text" / "coco_cc" / "metadata.jsonl"
    data = ImageDataConfig(kind="jsonl", path=str(place), size=128, transform="infinity", held_out=0.15)
    images = to_signed(next(open_images(SplitConfig(data, "held_out")).batches(10)))
    source = build_image_source(data, seed=0, split="held_out")
    captions = [source.pictures[int(number)].captions[0] for number in source.chosen]
    model, tokenizer = opened("infinity"), opened("bsq_tokenizer")
    (schedule,) = map(ScaleSchedule.of, model.config.schedules)
    _, codes = reconstruct(tokenizer, images, schedule)
    inputs = teacher_inputs(tokenizer.history(len(captions), schedule), codes)
    logits = model(inputs, build_text_encoder(model.config.texts).encode(captions), schedule).unflatten(-1, (-1, 2))
    expected = recorded("infinity")["chosen"]["evaluation"]["held_out_nll"]
    assert nats(logits, torch.cat(codes, dim=1)) == pytest.approx(expected, abs=0.02)
