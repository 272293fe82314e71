"""The sampling protocol on a generator whose images are functions of label and seed."""

import json

import pytest
import torch
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError, DataError, ResumeError
from ar_core.sampling import row_generators, row_seed
from ar_core.training import StageConfig
from ar_vision.decoding.generated import GeneratedImages
from ar_vision.evaluation.generation import ImageGenerator
from ar_vision.evaluation.image_set import open_images
from ar_vision.evaluation.protocol import ProtocolConfig, draw


class Toy:
    """Noise around the label; counts its calls, and dies at the call it is told."""

    def __init__(self, dies_at=None):
        self.batches, self.dies_at = [], dies_at

    def __call__(self, labels, seeds, *, on_scale=None):
        if len(self.batches) == self.dies_at:
            raise KeyboardInterrupt
        self.batches.append(len(labels))
        noise = [torch.rand(3, 4, 4, generator=g) for g in row_generators(seeds, len(seeds))]
        images = torch.stack([0.1 * label + 0.5 * one for label, one in zip(labels, noise)]) - 0.9
        return GeneratedImages(images, [], DecodeStats())


def toy(sample=None, **facts):
    return ImageGenerator("toy", 3, sample or Toy(), {"checkpoint": "c", **facts}, lambda features: features)


CONFIG = ProtocolConfig(labels=(0, 1, 2), count=20, seed=7)


def images_of(directory, **stage):
    draw(stage.pop("generator", None) or toy(), CONFIG, StageConfig(str(directory), chunk_size=6), **stage)
    return torch.cat(list(open_images(str(directory)).batches(100)))


def test_labels_come_in_rounds_and_every_image_has_its_seed(tmp_path):
    found = images_of(tmp_path / "s")
    drawn = open_images(str(tmp_path / "s"))
    assert drawn.labels.tolist() == [number % 3 for number in range(20)]
    alone = Toy()([13 % 3], [row_seed(7, 13)]).images
    assert torch.equal(found[13], ((alone[0] + 1) * 127.5).round().to(torch.uint8))


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_batches_change_nothing(tmp_path, batch_size):
    assert torch.equal(images_of(tmp_path / "a", batch_size=batch_size), images_of(tmp_path / "b", batch_size=5))


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path):
    whole = images_of(tmp_path / "whole", batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        images_of(tmp_path / "cut", generator=toy(Toy(dies_at=4)), batch_size=2)
    with pytest.raises(DataError, match="not finished"):
        open_images(str(tmp_path / "cut"))
    again = Toy()
    assert torch.equal(images_of(tmp_path / "cut", generator=toy(again), batch_size=2), whole)
    # Four calls of the first run made one chunk of three calls whole; the other 14 images are drawn now.
    assert sum(again.batches) == 14
    for name in sorted(path.name for path in (tmp_path / "whole").glob("chunk-*")):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_shards_make_the_same_images(tmp_path):
    for shard in ("2/2", "1/2"):
        draw(toy(), CONFIG, StageConfig(str(tmp_path / "s"), shard=shard, chunk_size=6))
    assert torch.equal(torch.cat(list(open_images(str(tmp_path / "s")).batches(9))), images_of(tmp_path / "t"))


@pytest.mark.parametrize(
    ("config", "facts", "named"),
    [
        (ProtocolConfig((0, 1, 2), 20, seed=8), {}, "seed was 7"),
        (CONFIG, {"checkpoint": "d"}, "generator.checkpoint was c"),
        (ProtocolConfig((0, 1), 20, seed=7), {}, "labels was"),
    ],
)
def test_another_protocol_in_the_same_folder_is_refused(tmp_path, config, facts, named):
    images_of(tmp_path / "s")
    with pytest.raises(ResumeError, match=named):
        draw(toy(**facts), config, StageConfig(str(tmp_path / "s"), chunk_size=6))


def test_settings_are_recorded(tmp_path):
    images_of(tmp_path / "s")
    kept = json.loads((tmp_path / "s" / "stage.json").read_text())["identity"]
    assert (kept["seed"], kept["count"], kept["labels"], kept["device"]) == (7, 20, [0, 1, 2], "cpu")
    assert kept["generator"] == {"checkpoint": "c"}
    assert open_images(str(tmp_path / "s")).describe()["sampling"] == kept


def test_labels_that_are_no_class_are_refused_before_drawing(tmp_path):
    with pytest.raises(DataError, match="the label 4 was given: classes run from 0 to 2, and 3 stands for no class"):
        draw(toy(), ProtocolConfig((0, 4), 2), StageConfig(str(tmp_path / "s")))
    assert not (tmp_path / "s").exists()


def test_images_that_are_none_are_refused(tmp_path):
    def broken(labels, seeds, *, on_scale=None):
        return GeneratedImages(torch.full((len(labels), 3, 4, 4), torch.nan), [], DecodeStats())

    with pytest.raises(DataError, match="not numbers"):
        draw(toy(broken), CONFIG, StageConfig(str(tmp_path / "s")))


def test_values_out_of_range_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="labels is empty"):
        ProtocolConfig((), 3)
    with pytest.raises(ConfigError, match="0 images were asked for"):
        ProtocolConfig((1,), 0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        draw(toy(), CONFIG, StageConfig(str(tmp_path / "s")), batch_size=0)
