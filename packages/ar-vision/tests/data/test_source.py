"""The sample stream: a pure function of its start, whatever the container, cache, workers or ranks."""

import multiprocessing
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_core.config import from_dict, to_dict
from ar_core.errors import ConfigError, DataError
from ar_core.training import TrainConfig
from ar_core.training.batches import StepDataset, step_loader
from ar_core.training.job import Job
from ar_core.training.objective import Prepared
from ar_core.training.ranks import Ranks
from ar_vision.data import decoded
from ar_vision.data.collections import pictures as pictures_module
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.decoded import picture_key
from ar_vision.data.source import build_image_source

RANDOM = {"size": 8, "transform": "adm_random", "flip": True}


def source(path: Path, *, seed: int = 3, split: str = "train", num_classes: int | None = None, **settings):
    config = ImageDataConfig(path=str(path), **{**RANDOM, **settings})
    return build_image_source(config, seed=seed, split=split, num_classes=num_classes)


def shapes(count: int = 40, **settings):
    config = ImageDataConfig(kind="shapes", count=count, **{"size": 16, "flip": True, **settings})
    return build_image_source(config, seed=1)


def taken(stream, count: int) -> list[dict]:
    return [dict(sample) for sample in islice(stream, count)]


def equal(left: list[dict], right: list[dict], *names: str) -> bool:
    names = names or tuple(left[0])
    return all(
        torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name]
        for a, b in zip(left, right, strict=True)
        for name in names
    )


@pytest.mark.parametrize("module", ["config", "codes", "codes.config"])
def test_settings_import_no_torch(module):
    code = f"import sys, ar_vision.data.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_survive_as_plain_data():
    config = ImageDataConfig(path="x", size=(8, 16), caption_fields=("a", "b"), transform="infinity", count=3)
    assert from_dict(ImageDataConfig, to_dict(config)) == config


def test_samples_are_bytes_labels_and_captions():
    sample = next(shapes().open(7))
    assert set(sample) == {"index", "image", "label", "caption"}
    assert len(sample) == 4
    assert sample["index"] == 7
    assert (sample["image"].dtype, sample["image"].shape) == (torch.uint8, (3, 16, 16))
    assert (sample["label"].dtype, sample["label"].shape) == (torch.int64, ())
    assert shapes().classes[sample["label"]] in sample["caption"]
    assert "ids" not in sample
    with pytest.raises(KeyError):
        sample["ids"]


def test_opening_later_is_the_same_as_reading_on():
    for start in (0, 1, 39, 40, 41, 95):
        assert equal(taken(shapes().open(0), 130)[start:], taken(shapes().open(start), 130 - start))


def test_an_epoch_has_every_picture_once_in_an_order_of_its_own():
    samples = taken(shapes(flip=False).open(0), 80)
    first, second = ([sample["image"].numpy().tobytes() for sample in part] for part in (samples[:40], samples[40:]))
    assert len(set(first)) == 40
    assert sorted(first) == sorted(second)
    assert first != second
    others = build_image_source(ImageDataConfig(kind="shapes", count=40, size=16), seed=2)
    assert first != [sample["image"].numpy().tobytes() for sample in taken(others.open(0), 40)]


@pytest.mark.parametrize("cache", [True, False])
def test_all_containers_give_equal_samples(containers, cache):
    captions = {kind: {} if kind in ("npz", "folder") else {"caption": "random"} for kind in containers}
    found = {kind: source(path, cache=cache, **captions[kind]) for kind, path in containers.items()}
    samples = {kind: taken(one.open(4), 30) for kind, one in found.items()}
    evaluations = {kind: taken(one.once(), 7) for kind, one in found.items()}
    for kind in found:
        assert equal(samples["npz"], samples[kind], "index", "image", "label")
        assert equal(evaluations["npz"], evaluations[kind], "index", "image", "label")
    for kind in ("webdataset", "parquet"):
        assert equal(samples["jsonl"], samples[kind])
        assert equal(evaluations["jsonl"], evaluations[kind])
    assert len({sample["caption"] for sample in samples["jsonl"]}) > 7


def test_keeping_decoded_pictures_changes_no_sample(containers):
    kept, read = (source(containers["parquet"], cache=cache) for cache in (True, False))
    assert equal(taken(kept.open(0), 30), taken(read.open(0), 30))
    assert kept.describe() == read.describe()


def test_a_kept_picture_of_the_wrong_size_is_named_by_its_number_and_set(containers, own_cache):
    with pytest.raises(DataError, match=rf"picture 0 of {containers['folder']} is \d+ pixels wide"):
        dict(next(source(containers["folder"], cache=True, transform="none", size=5).once()))


def test_decoded_pictures_are_made_once_and_travel_to_workers(containers, own_cache, monkeypatch):
    first = taken(source(containers["folder"]).open(0), 10)
    monkeypatch.setattr(pictures_module, "read_picture", None)
    again = source(containers["folder"], cache=True)
    assert equal(first, taken(again.open(0), 10))
    assert len(pickle.dumps(again)) < 10_000
    assert equal(first, taken(pickle.loads(pickle.dumps(again)).open(0), 10))
    assert len(list((own_cache / "ar-vision" / "pictures").glob("[0-9a-f]*"))) == 1


def test_changed_pictures_are_decoded_anew(containers, own_cache, png, pixels):
    source(containers["folder"])
    (containers["folder"] / "ant" / "0.png").write_bytes(png(pixels[6]))
    changed = build_image_source(ImageDataConfig(path=str(containers["folder"]), size=(12, 10)), seed=1)
    assert np.array_equal(next(changed.once())["image"].permute(1, 2, 0).numpy(), pixels[6])
    assert len(list((own_cache / "ar-vision" / "pictures").glob("[0-9a-f]*"))) == 2


def test_a_damaged_or_forbidden_cache_is_named(containers, tmp_path):
    source(containers["folder"], cache_dir=str(tmp_path / "kept"))
    (folder,) = (tmp_path / "kept").glob("[0-9a-f]*")
    with (folder / "pixels.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"are damaged \(pixels.bin has \d+ bytes\): delete the folder"):
        source(containers["folder"], cache_dir=str(tmp_path / "kept"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be kept .*set data.cache_dir, or data.cache to false"):
        source(containers["folder"], cache_dir=str(tmp_path / "file" / "x"))


def test_a_bad_picture_is_named_and_leaves_nothing_behind(containers, own_cache):
    file = containers["folder"] / "bee" / "4.png"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bee/4.png is truncated or damaged"):
        source(containers["folder"], cache=True)
    assert [path.name for path in (own_cache / "ar-vision" / "pictures").iterdir()] == [".lock"]


def _open_in_a_process(path: str, queue) -> None:
    queue.put([sample["image"].sum().item() for sample in islice(source(Path(path)).open(0), 7)])


def test_processes_that_start_together_make_one_set(containers, own_cache):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_open_in_a_process, args=(str(containers["folder"]), queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert all(one == found[0] for one in found)
    assert len(list((own_cache / "ar-vision" / "pictures").glob("[0-9a-f]*"))) == 1


def test_large_sets_are_read_from_their_files(containers, own_cache, monkeypatch):
    monkeypatch.setattr(decoded, "KEPT_BYTES", 7 * 12 * 10 * 3 - 1)
    source(containers["folder"])
    assert not own_cache.exists()
    monkeypatch.setattr(decoded, "KEPT_BYTES", 7 * 12 * 10 * 3)
    source(containers["folder"])
    assert own_cache.exists()


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_held_out_depends_on_the_pixels_alone(containers, cache):
    rest = {}
    for kind, path in containers.items():
        settings = {"size": (12, 10), "transform": "none", "flip": False, "held_out": 0.4, "cache": cache}
        parts = [source(path, split=split, **settings) for split in ("train", "held_out", "all")]
        train, held, both = ({sample["image"].numpy().tobytes() for sample in part.once()} for part in parts)
        assert train | held == both
        assert not train & held
        assert held
        assert len(train) + len(held) == 7
        rest[kind] = held
    assert all(held == rest["npz"] for held in rest.values())


def test_copies_of_a_picture_are_held_out_together(tmp_path, pixels):
    copies = np.concatenate([pixels] * 9)
    np.savez(tmp_path / "a.npz", images=copies)
    found = source(tmp_path / "a.npz", held_out=0.3, split="held_out")
    assert len(found) % 9 == 0
    assert 0 < len(found) < 63


def test_the_share_held_out_is_about_the_share_asked_for(tmp_path):
    many = np.random.default_rng(0).integers(0, 256, (3000, 2, 2, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=many)
    assert 240 < len(source(tmp_path / "a.npz", held_out=0.1, split="held_out")) < 360
    with pytest.raises(ConfigError, match="nothing is held out"):
        source(tmp_path / "a.npz", split="held_out")
    with pytest.raises(DataError, match=r"the held_out split of the 3 pictures .* is empty"):
        source(tmp_path / "a.npz", split="held_out", held_out=1e-9, count=3)


def test_a_key_tells_shape_and_pixels_apart():
    flat = np.zeros((2, 6, 3), dtype=np.uint8)
    assert picture_key(flat) != picture_key(flat.reshape(3, 4, 3))
    assert picture_key(flat) == picture_key(np.asfortranarray(flat))


def test_labels_that_the_model_does_not_know_are_refused(containers, tmp_path, pixels):
    assert len(source(containers["npz"], num_classes=3)) == 7
    with pytest.raises(DataError, match=r"picture 5 of .*set.npz has the label 2 and the model knows 0 to 1"):
        source(containers["npz"], num_classes=2)
    assert len(source(containers["npz"], num_classes=2, count=5)) == 5
    np.savez(tmp_path / "b.npz", images=pixels)
    with pytest.raises(DataError, match="have no labels and the model needs them"):
        source(tmp_path / "b.npz", num_classes=2)


def test_a_missing_caption_is_named(tmp_path, pixels, png, tar):
    tar(tmp_path / "a.tar", [("a.png", png(pixels[0])), ("a.txt", b"a"), ("b.png", png(pixels[1]))])
    stream = source(tmp_path / "a.tar", cache=False).once()
    assert next(stream)["caption"] == "a"
    with pytest.raises(DataError, match=r"a.tar, b has no caption"):
        next(stream)["caption"]
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").write_bytes(png(pixels[0]))
    with pytest.raises(ConfigError, match=r"data\.caption is 'random' and the pictures of .*flat have no captions"):
        source(tmp_path / "flat", caption="random")


def test_describe_knows_the_content_and_not_the_place(containers, tmp_path):
    before = source(containers["npz"]).describe()
    moved = containers["npz"].rename(tmp_path / "elsewhere").rename(tmp_path / "set.npz")
    assert source(moved).describe() == before
    assert source(moved, flip=False).describe() != before
    assert source(moved, seed=4).describe() != before
    assert source(moved, count=5).describe()["pictures"] == 5


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"kind": "shapes", "path": None}, "count is None and must be how many pictures are drawn"),
        ({"kind": "shapes", "count": 3}, "path is 'x' and must be null"),
        ({"path": None}, "path is None and must be a file, folder or pattern"),
        ({"size": 0}, "size is 0"),
        ({"size": (8, 0)}, r"size is \(8, 0\)"),
        ({"size": (8, 9), "transform": "var"}, "one side for the transform var"),
        ({"shortest_crop": 0.5}, "shortest_crop is 0.5 and must be left out"),
        ({"transform": "adm_random", "shortest_crop": 1.5}, r"must be in \(0, 1\]"),
        ({"background": (0, 0, 256)}, "three numbers of 0 to 255"),
        ({"count": 0}, "count is 0"),
        ({"held_out": 1.0}, r"held_out is 1.0 and must be in \[0, 1\)"),
        ({"cache": False, "cache_dir": "x"}, "null where cache is false"),
    ],
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        ImageDataConfig(**{"path": "x", **settings})


class Stacking:
    """Hands images on; an objective in what the loader asks of one."""

    coefficients = {"x": 1.0}  # noqa: RUF012

    def players(self):
        return ()

    def prepare(self, samples, rng):
        return Prepared({"image": torch.stack([sample["image"] for sample in samples])}, {"x": 1.0})


def steps(found, **settings) -> list[torch.Tensor]:
    ranks = settings.pop("ranks", Ranks(0, 1))
    job = Job(Stacking(), {}, found)
    config = TrainConfig(**{"steps": 5, "batch_size": 8, "lr": 1.0, "checkpoint_dir": None, **settings})
    return [
        torch.cat([micro.tensors["image"] for micro in step]) for step in step_loader(StepDataset(job, config, ranks))
    ]


def test_workers_ranks_and_micro_batches_see_the_same_images(containers, monkeypatch):
    found = source(containers["webdataset"], cache=False)
    whole = steps(found)
    for settings in ({"num_workers": 2}, {"micro_batch_size": 3}):
        assert all(torch.equal(a, b) for a, b in zip(whole, steps(found, **settings), strict=True))
    halves = [steps(found, ranks=Ranks(rank, 2)) for rank in (0, 1)]
    assert all(torch.equal(a, torch.cat(parts)) for a, parts in zip(whole, zip(*halves), strict=True))

    decoding = []
    monkeypatch.setattr(
        pictures_module,
        "read_picture",
        lambda data, place, background: decoding.append(place) or np.zeros((9, 9, 3), np.uint8),
    )
    steps(found, ranks=Ranks(1, 2))
    assert len(decoding) == 5 * 4, "a rank decodes its own share alone"
