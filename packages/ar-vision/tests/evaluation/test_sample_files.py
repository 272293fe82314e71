"""Samples to files and back."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_vision.data.config import ImageDataConfig
from ar_vision.evaluation.image_set import ImageSet, SplitConfig, open_images
from ar_vision.evaluation.npz_images import open_npz
from ar_vision.evaluation.picture_grid import picture_grid
from ar_vision.evaluation.sample_files import form_of, write_samples


@pytest.fixture
def images(generator):
    pixels = torch.randint(0, 256, (23, 3, 6, 8), generator=generator, dtype=torch.uint8)
    return ImageSet("memory", 23, (6, 8), lambda start: iter(pixels[start:]), torch.arange(23) % 5)


def whole(images):
    return torch.cat(list(images.batches(7)))


@pytest.mark.parametrize("name", ["samples.npz", "samples.NPZ", "samples"])
def test_what_was_written_is_read(images, tmp_path, name):
    write_samples(tmp_path / name, images)
    found = open_images(str(tmp_path / name))
    assert (found.count, found.size) == (23, (6, 8))
    order = torch.arange(23) if "." in name else (torch.arange(23) % 5).argsort(stable=True)
    assert torch.equal(whole(found), whole(images)[order])
    assert torch.equal(found.labels, images.labels[order])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.png", "grid"),
        ("a.PNG", "grid"),
        ("a.npz", "archive"),
        ("a.NpZ", "archive"),
        ("a", "folder"),
        ("run.v2", "folder"),
    ],
)
def test_names_say_as_what_images_are_written(name, form):
    assert form_of(Path("some.jpg") / name) == form


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp", "a.zip", "a.tar.gz", "a.npy"])
def test_names_of_other_files_are_refused(name):
    with pytest.raises(ConfigError, match=rf"output is '{name}', and images are written as a grid") as caught:
        form_of(Path(name))
    assert "\n" not in str(caught.value)


def test_the_archive_is_as_evaluators_read_it(images, tmp_path):
    write_samples(tmp_path / "a.npz", images)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive["arr_0"].dtype == np.uint8
        np.testing.assert_array_equal(archive["arr_0"], whole(images).permute(0, 2, 3, 1).numpy())
        np.testing.assert_array_equal(archive["labels"], images.labels.numpy())


def test_the_same_images_give_the_same_bytes(images, tmp_path):
    for name in ("a.npz", "b.npz"):
        write_samples(tmp_path / name, images)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_of_others_are_read(images, tmp_path, save):
    pixels = whole(images).permute(0, 2, 3, 1).numpy()
    save(tmp_path / "a.npz", pixels, images.labels.numpy(), mu=np.zeros(3), sigma=np.eye(3))
    found = open_images(str(tmp_path / "a.npz"))
    assert torch.equal(whole(found), whole(images))
    assert found.labels.tolist() == images.labels.tolist()
    assert found.statistics["sigma"].dtype == torch.float64
    assert next(iter(found.stream(20))).equal(whole(images)[20])


def test_batches_stop_where_asked(images):
    assert [len(batch) for batch in images.batches(5, stop=12)] == [5, 5, 2]
    assert [len(batch) for batch in images.batches(50)] == [23]


def test_class_folders_that_are_numbers_keep_their_numbers(images, tmp_path):
    few = ImageSet("few", 3, (6, 8), images.stream, torch.tensor([7, 2, 7]))
    write_samples(tmp_path / "s", few)
    assert open_images(str(tmp_path / "s")).labels.tolist() == [2, 7, 7]


def test_a_split_of_training_data(data_dir):
    pytest.importorskip("pyarrow")
    path = str(data_dir / "images" / "cifar10_test.parquet")
    data = ImageDataConfig(path=path, size=32, held_out=0.25, cache=False)
    held, train = (open_images(SplitConfig(data, split)) for split in ("held_out", "train"))
    assert held.count + train.count == 600
    assert 100 < held.count < 200
    assert held.labels.shape == (held.count,)
    assert next(held.batches(4)).shape == (4, 3, 32, 32)
    assert open_images(path).count == 600


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3)}, "has no array 'arr_0' or 'images' \\(it has other\\)"),
        ({"arr_0": np.zeros((2, 3, 4, 4), np.uint8)}, r"is uint8 \[2, 3, 4, 4\] and must be uint8 \[N, H, W, 3\]"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.float32)}, r"is float32 \[2, 4, 4, 3\] and must be"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.zeros(3, int)}, r"must be 2 integers"),
        ({"arr_0": np.array([{}], dtype=object)}, "no plain NumPy array|must be uint8"),
    ],
)
def test_wrong_archives_are_one_sentence(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_npz(tmp_path / "a.npz")


def test_damaged_archives_are_one_sentence(images, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_images(str(tmp_path / "none.npz"))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="no readable archive"):
        open_images(str(tmp_path / "text.npz"))
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive, archive.open("arr_0.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (9, 4, 4, 3)})
        file.write(bytes(100))
    with pytest.raises(DataError, match="ends within image 2 of 9"):
        whole(open_images(str(tmp_path / "short.npz")))


def test_images_of_two_sizes_are_refused(images):
    mixed = ImageSet("mixed", 2, (6, 8), lambda start: iter([torch.zeros(3, 6, 8), torch.zeros(3, 9, 9)]))
    with pytest.raises(DataError, match="holds images of 8 x 6 and of 9 x 9 pixels"):
        whole(mixed)


def test_a_grid_holds_every_image(images):
    pixels = list(whole(images)[:5])
    sheet = np.asarray(picture_grid(pixels, 3, enlarge=2))
    assert sheet.shape == (2 * (12 + 4) + 4, 3 * (16 + 4) + 4, 3)
    cell = sheet[20:32, 24:40]
    np.testing.assert_array_equal(cell[::2, ::2], pixels[4].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(cell[1::2, 1::2], pixels[4].permute(1, 2, 0).numpy())
    assert (sheet[20:32, 44:60] == 255).all()


def test_captions_stand_above_their_images(images):
    pixels = [torch.full((3, 96, 96), 200, dtype=torch.uint8)] * 2
    plain, named = picture_grid(pixels, 2), picture_grid(pixels, 2, ["cat", ""])
    above = named.height - plain.height
    assert above > 8
    dark = np.asarray(named)[4 : 4 + above].min(2) < 128
    assert dark[:, 4:100].any()
    assert not dark[:, 104:].any()


def test_an_empty_grid_is_refused():
    with pytest.raises(ConfigError, match="a grid of 0 images"):
        picture_grid([], 3)
