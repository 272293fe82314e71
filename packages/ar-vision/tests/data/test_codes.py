"""Codes made once are the tokenizer's codes, whoever made them and however often it was interrupted."""

import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_core.config import from_dict, to_dict
from ar_core.errors import CheckpointError, ConfigError, DataError, ResumeError
from ar_core.registry import configs, recipe
from ar_core.training import finished_chunks, run_recipe
from ar_core.training.recipe import read_run_config
from ar_vision.checkpoint import Loaded, fingerprint, save_checkpoint
from ar_vision.data.codes import RECIPE, stage
from ar_vision.data.codes.config import CodeDataConfig, ImageCodesConfig
from ar_vision.data.codes.layout import pack_captions, pack_codes, unpack_captions, unpack_codes
from ar_vision.data.codes.source import build_code_source
from ar_vision.data.codes.stage import ImageCodesRun
from ar_vision.data.codes.store import CodeStore, open_codes
from ar_vision.data.config import ImageDataConfig
from ar_vision.data.source import build_image_source
from ar_vision.families import family
from ar_vision.pixels import to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from torch import nn

COUNT, SCALES = 22, (1, 2, 4)
GRID = ScaleSchedule.square(4)


@pytest.fixture
def vq(tiny_autoencoder, generator, tmp_path) -> Path:
    """A checkpoint of a tokenizer of one scale, 4 pixels a code."""
    model = VqTokenizer(VqTokenizerConfig(tiny_autoencoder, vocab_size=64, code_dim=4))
    model.initialize(generator)
    save_checkpoint(tmp_path / "vq", model)
    return tmp_path / "vq"


@pytest.fixture
def var(tiny_autoencoder, generator, tmp_path) -> Path:
    """A checkpoint of a multi-scale tokenizer with more codes than 16 bits hold."""
    model = VarTokenizer(VarTokenizerConfig(tiny_autoencoder, vocab_size=40_000))
    model.initialize(generator)
    save_checkpoint(tmp_path / "var", model)
    return tmp_path / "var"


def run(tokenizer: Path, directory: Path, *, resume: str = "auto", **sections):
    """Make codes of drawn pictures of 16 x 16 pixels."""
    defaults = {
        "data": {"kind": "shapes", "count": COUNT, "size": 16},
        "method": {},
        "stage": {"directory": str(directory), "chunk_size": 5, "device": "cpu"},
    }
    merged = {name: {**defaults[name], **sections.get(name, {})} for name in defaults}
    return run_recipe(RECIPE, from_dict(ImageCodesRun, {"tokenizer": str(tokenizer), **merged}), resume=resume)


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def source(
    directory: Path, tokenizer: Path, schedule: ScaleSchedule = GRID, *, seed: int = 2, split: str = "train", **settings
):
    others = {name: settings.pop(name) for name in ("num_classes", "vocab_size") if name in settings}
    config = CodeDataConfig(str(directory), **settings)
    made_by = fingerprint(stage.load_checkpoint(tokenizer).model)
    return build_code_source(config, seed=seed, tokenizer=made_by, schedule=schedule, split=split, **others)


def test_codes_are_those_of_the_tokenizer(vq, tmp_path):
    result = run(vq, tmp_path / "codes")
    assert (result.made, dict(result.counts)) == (5, {"pictures": COUNT, "images": 2 * COUNT})
    model = stage.load_checkpoint(vq).model
    images = torch.stack(
        [s["image"] for s in build_image_source(ImageDataConfig(kind="shapes", count=COUNT, size=16), seed=0).once()]
    )
    store = open_codes(tmp_path / "codes")
    assert (len(store), store.views(0)) == (COUNT, 2)
    for view, seen in enumerate((images, images.flip(3))):
        (expected,) = model.quantize(model.encode(to_signed(seen)), GRID)
        found = torch.stack([store.codes(number, view) for number in range(COUNT)])
        assert found.dtype == torch.int64
        # Batches of other sizes may decide a near tie otherwise.
        assert (found == expected).float().mean() > 0.99
    assert store.labels.tolist() == [number % 4 for number in range(COUNT)]
    assert len(set(store.keys.tolist())) == COUNT
    assert store.captions(3)[0].startswith("a ")


def test_all_scales_lie_end_to_end_in_the_type_they_need(var, vq, tmp_path):
    run(var, tmp_path / "codes", method={"scales": SCALES, "views": "one"})
    schedule = ScaleSchedule.square(*SCALES)
    model = stage.load_checkpoint(var).model
    found = source(tmp_path / "codes", var, schedule)
    sample = next(found.once())
    image = next(build_image_source(ImageDataConfig(kind="shapes", count=COUNT, size=16), seed=0).once())["image"]
    expected = torch.cat(model.quantize(model.encode(to_signed(image[None])), schedule), 1)[0]
    assert (sample["codes"] == expected).sum() >= schedule.total - 1
    assert [len(part) for part in schedule.split(sample["codes"], 0)] == [1, 4, 16]
    assert CodeStore(tmp_path / "codes")._chunk(0).dtype == torch.int32
    run(vq, tmp_path / "small")
    assert CodeStore(tmp_path / "small")._chunk(0).dtype == torch.int16


def test_interrupted_and_shared_runs_leave_the_same_files(vq, tmp_path):
    run(vq, tmp_path / "whole")
    for shard in ("2/3", "1/3"):
        run(vq, tmp_path / "parts", stage={"shard": shard})
    with pytest.raises(DataError, match="lacks 1 of 5 chunks"):
        open_codes(tmp_path / "parts")
    run(vq, tmp_path / "parts", stage={"shard": "3/3"})
    assert content(tmp_path / "whole") == content(tmp_path / "parts")
    for chunk in (0, 3):
        (tmp_path / "parts" / f"chunk-{chunk:06d}.safetensors").unlink()
    result = run(vq, tmp_path / "parts", method={"batch_size": 10}, resume="must")
    assert (result.made, result.present) == (2, 3)
    assert content(tmp_path / "whole") == content(tmp_path / "parts")


def test_other_pictures_tokenizers_or_scales_do_not_mix(vq, var, tmp_path):
    run(vq, tmp_path / "codes")
    for section, change, named in (
        ("data", {"count": COUNT + 1}, "data.pictures|data.fingerprint"),
        ("method", {"views": "one"}, "method.views"),
        ("method", {"scales": SCALES}, "method.scales|schedule"),
    ):
        with pytest.raises(ResumeError, match=named):
            run(vq, tmp_path / "codes", **{section: change})
    with pytest.raises(ResumeError, match=r"tokenizer was .* and is"):
        run(var, tmp_path / "codes")


def test_ten_crops_of_two_sizes(vq, tmp_path, containers):
    settings = {"views": "ten_crop", "crop_scales": [1.1, 1.3]}
    data = {"kind": "auto", "path": str(containers["folder"]), "count": 3, "size": 8, "transform": "adm_centre"}
    run(vq, tmp_path / "codes", method=settings, data=data)
    store = open_codes(tmp_path / "codes")
    assert store.views(0) == 20
    assert not store.captioned
    views = torch.stack([store.codes(0, view) for view in range(20)])
    assert views.shape == (20, 4)
    assert len(torch.unique(views, dim=0)) > 2
    assert store.identity["classes"] == ["ant", "bee", "cat"]


class SignTokenizer(nn.Module):
    """Two bits a cell: whether red and green of 8 x 8 pixels are bright."""

    kind, config, downsampling, bits = "bsq", ImageCodesConfig(), 8, 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def encode(self, images):
        return nn.functional.avg_pool2d(images, 8)

    def quantize(self, features, schedule):
        scaled = [nn.functional.adaptive_avg_pool2d(features, size) for size in schedule.sizes]
        return [(part[:, :2] > 0).flatten(2).transpose(1, 2).long() for part in scaled]


def test_bits_are_packed_and_come_back(tmp_path, monkeypatch):
    model = SignTokenizer()
    loaded = Loaded(model, family("bsq"), None)
    monkeypatch.setattr(stage, "load_checkpoint", lambda path, role=None, dtype=None: loaded)
    run(tmp_path, tmp_path / "codes", method={"scales": [1, [1, 2], 2]})
    store = open_codes(tmp_path / "codes")
    assert store._chunk(0).shape == (5, 2, 2)  # 7 cells of 2 bits
    schedule = ScaleSchedule.of([(1, 1), (1, 2), (2, 2)])
    found = source(tmp_path / "codes", tmp_path, schedule)
    images = build_image_source(ImageDataConfig(kind="shapes", count=COUNT, size=16), seed=0).once()
    for sample, image in zip(found.once(), images, strict=True):
        expected = torch.cat(model.quantize(model.encode(to_signed(image["image"][None])), schedule), 1)[0]
        assert sample["codes"].dtype == torch.bool
        assert torch.equal(sample["codes"], expected.bool())


@pytest.mark.parametrize("vocab_size", [None, 2, 32768, 32769, 2**31 - 1])
def test_packing_loses_nothing(vocab_size, generator):
    top = 2 if vocab_size is None else vocab_size
    shape = (3, 5, 3) if vocab_size is None else (3, 5)
    scales = [torch.randint(top, shape, generator=generator), torch.full((3, 2, *shape[2:]), top - 1)]
    packed = pack_codes(scales, vocab_size)
    for row, expected in zip(packed, torch.cat(scales, 1)):
        found = unpack_codes(row, 7, 3 if vocab_size is None else None)
        assert torch.equal(found.long(), expected)


def test_captions_come_back():
    texts = [("ä", ""), (), ("b" * 300,)]
    assert unpack_captions(pack_captions(texts)) == texts
    assert unpack_captions(pack_captions([(), ()])) == [(), ()]


def test_samples_are_a_function_of_the_start(vq, tmp_path):
    run(vq, tmp_path / "codes")
    found = source(tmp_path / "codes", vq)
    samples = list(islice(found.open(0), 3 * COUNT))
    assert [sample["index"] for sample in samples] == list(range(3 * COUNT))
    assert set(samples[0]) == {"index", "codes", "label", "caption"}
    for again in (found, pickle.loads(pickle.dumps(found)), source(tmp_path / "codes", vq)):
        for left, right in zip(samples[25:], again.open(25)):
            assert torch.equal(left["codes"], right["codes"])
            assert left["label"] == right["label"]
            assert left["caption"] == right["caption"]
    assert len(pickle.dumps(found)) < 60_000


def test_training_sees_all_augmentations_and_evaluation_the_first(vq, tmp_path):
    run(vq, tmp_path / "codes")
    found = source(tmp_path / "codes", vq)
    store = found.stored
    different = [number for number in range(COUNT) if not torch.equal(store.codes(number, 0), store.codes(number, 1))]
    assert different
    taken = {number: set() for number in different}
    by_codes = {store.codes(number, view).numpy().tobytes(): (number, view) for number in different for view in (0, 1)}
    for sample in islice(found.open(0), 12 * COUNT):
        place = by_codes.get(sample["codes"].numpy().tobytes())
        if place:
            taken[place[0]].add(place[1])
    assert all(views == {0, 1} for views in taken.values())
    assert all(torch.equal(sample["codes"], store.codes(number, 0)) for number, sample in enumerate(found.once()))


def test_the_same_pictures_are_held_out_as_where_pictures_are_read(vq, tmp_path):
    run(vq, tmp_path / "codes")
    for split in ("train", "held_out"):
        pictures = build_image_source(
            ImageDataConfig(kind="shapes", count=COUNT, size=16, held_out=0.3), seed=0, split=split
        )
        codes = source(tmp_path / "codes", vq, split=split, held_out=0.3)
        assert codes.chosen.tolist() == pictures.chosen.tolist()
        assert 0 < len(codes) < COUNT
    assert len(source(tmp_path / "codes", vq, split="all", held_out=0.3)) == COUNT
    assert len(source(tmp_path / "codes", vq, count=7)) == 7


def test_codes_of_another_tokenizer_or_schedule_are_refused_by_name(vq, var, tmp_path):
    run(vq, tmp_path / "codes")
    known, other = (fingerprint(stage.load_checkpoint(path).model) for path in (vq, var))
    with pytest.raises(DataError, match=f"made by the tokenizer {known} and this run works with the tokenizer {other}"):
        source(tmp_path / "codes", var)
    with pytest.raises(DataError, match="have the scales 4 and the model has 1,2,4: encode"):
        source(tmp_path / "codes", vq, ScaleSchedule.square(1, 2, 4))
    with pytest.raises(DataError, match="has the label 2 and the model knows 0 to 1"):
        source(tmp_path / "codes", vq, num_classes=2)
    with pytest.raises(ConfigError, match="nothing is held out"):
        source(tmp_path / "codes", vq, split="held_out")


def test_folders_that_hold_no_codes_are_refused(vq, tmp_path):
    with pytest.raises(DataError, match="no folder that a data-making recipe wrote"):
        source(tmp_path, vq)
    run(vq, tmp_path / "codes")
    path = finished_chunks(tmp_path / "codes")[1][2]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="is truncated"):
        source(tmp_path / "codes", vq)


@pytest.mark.parametrize(
    ("sections", "match"),
    [
        ({"data": {"size": 18}}, "data.size is 18 x 18 and a code of the tokenizer stands for 4 x 4 pixels"),
        (
            {"method": {"scales": [1, 2]}},
            "method.scales ends with 2 x 2 and the tokenizer makes 4 x 4 codes of 16 x 16",
        ),
        ({"data": {"held_out": 0.1}}, "data.held_out is set"),
        ({"data": {"flip": True}}, "draw anew in every epoch"),
        ({"method": {"views": "ten_crop"}}, "cut from ADM's centre crop: set adm_centre"),
        ({"method": {"views": "one", "crop_scales": [1.2]}}, "only the views ten_crop use"),
        ({"method": {"crop_scales": [0.9]}}, "numbers of at least 1"),
        ({"method": {"batch_size": 0}}, "batch_size is 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(vq, tmp_path, sections, match):
    with pytest.raises(ConfigError, match=match):
        run(vq, tmp_path / "codes", **sections)
    assert not (tmp_path / "codes").exists()


@pytest.fixture
def published(tmp_path) -> tuple[Path, np.ndarray]:
    """Twelve pictures of 10 augmentations of 16 codes below 64, as LlamaGen lays them out."""
    codes = np.random.default_rng(1).integers(0, 64, (12, 10, 16))
    for name in ("imagenet64_codes", "imagenet64_labels"):
        (tmp_path / "llamagen" / name).mkdir(parents=True)
    for number in range(12):
        np.save(tmp_path / "llamagen" / "imagenet64_codes" / f"{number}.npy", codes[number : number + 1])
        np.save(tmp_path / "llamagen" / "imagenet64_labels" / f"{number}.npy", np.array([number % 5]))
    return tmp_path / "llamagen", codes


def test_the_published_layout_is_read(published, vq):
    root, codes = published
    found = source(root, vq, num_classes=5, vocab_size=64)
    assert [sample["label"].item() for sample in found.once()] == [number % 5 for number in range(12)]
    seen = {}
    for sample in islice(found.open(0), 600):
        number, view = np.argwhere((codes == sample["codes"].numpy()).all(-1))[0]
        assert sample["label"] == number % 5
        seen.setdefault(int(number), set()).add(int(view))
    assert all(views == set(range(10)) for views in seen.values())
    held = source(root, vq, split="held_out", held_out=0.4)
    assert 0 < len(held) < 12
    assert found.describe()["codes"] == {"published": "imagenet64_codes", "files": 12}


def test_damaged_published_files_are_named(published, vq):
    root, codes = published
    with pytest.raises(DataError, match="has 16 codes and the model expects 64"):
        next(source(root, vq, ScaleSchedule.square(8)).once())
    with pytest.raises(DataError, match="the model knows 0 to 31: they are another tokenizer's"):
        list(source(root, vq, vocab_size=32).once())
    file = root / "imagenet64_codes" / "3.npy"
    for array, match in (
        (np.array([{}], dtype=object), "cannot be read as a plain array"),
        (codes[3] / 2, "holds no integers"),
        (codes[3][0], r"has the shape \[16\]"),
    ):
        np.save(file, array)
        with pytest.raises(DataError, match=match) as caught:
            list(source(root, vq).once())
        assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(DataError, match=r"3.npy cannot be read .*No such file"):
        list(source(root, vq).once())
    np.save(root / "imagenet64_labels" / "2.npy", np.array([1, 2]))
    with pytest.raises(DataError, match="holds 2 classes"):
        source(root, vq)


def test_shipped_configs(vq, tmp_path, monkeypatch):
    monkeypatch.setenv("AR_CIFAR10_DIR", str(tmp_path))
    assert recipe("image_codes") == RECIPE
    assert set(configs(RECIPE)) == {"cifar10", "emoji", "imagenet_256", "tiny"}
    for name, path in configs(RECIPE).items():
        config = read_run_config(RECIPE, name)
        assert from_dict(ImageCodesRun, to_dict(config)) == config
        text = path.read_text()
        assert text.startswith("# ")
        assert f"--config {name}" in text
    small = [
        f"tokenizer={vq}",
        "data.count=6",
        "data.size=16",
        f"stage.directory={tmp_path / 'codes'}",
        "stage.chunk_size=3",
    ]
    result = run_recipe(RECIPE, read_run_config(RECIPE, "tiny", small))
    assert (result.made, result.counts["images"]) == (2, 12)
