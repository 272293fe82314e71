"""The commands on a tiny LlamaGen with its tokenizer, from checkpoints to files and reports."""

import json

import numpy as np
import pytest
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ConfigError, DataError
from ar_core.json_document import document, undocumented
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.evaluation import EVAL_IMAGE, EVAL_TOKENIZER, IMAGE
from ar_vision.evaluation.image_set import open_images
from PIL import Image


def run(command, **settings):
    """As ``ar-decode`` runs an announced command, whose document holds what its help says."""
    result = registry.resolve(command.run)(from_dict(registry.resolve(command.options), settings))
    assert not undocumented(json.loads(document(result.data)), command.fields)
    return result


def test_commands_are_announced():
    assert {"image", "eval-image", "eval-tokenizer"} <= registry.commands().keys()


def test_an_archive_is_that_of_any_batch_size_and_remembers_its_settings(models, tmp_path):
    line = run(IMAGE, **models, count=7, guidance=2.0, top_k=5, seed=3, output=str(tmp_path / "a.npz"))
    assert line == f"7 images of 3 classes by llamagen written to {tmp_path / 'a.npz'}"
    assert (line.data["count"], line.data["labels"], line.pictures) == (7, [0, 1, 2], None)
    run(
        IMAGE,
        **models,
        count=7,
        guidance=2.0,
        top_k=5,
        seed=3,
        batch_size=2,
        chunk_size=3,
        output=str(tmp_path / "b.npz"),
    )
    a, b = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    # Codes are equal; a convolution may round otherwise in a batch of another size, and a pixel be the next level.
    apart = np.abs(a["arr_0"].astype(int) - b["arr_0"])
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    assert a["arr_0"].shape == (7, 32, 32, 3)
    assert a["labels"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    record = json.loads((tmp_path / "a.npz.json").read_text())
    assert record["sampling"]["generator"]["decoding"] == {"guidance": 2.0, "top_k": 5}
    assert record["sampling"]["generator"]["tokenizer"] == fingerprint(
        registry.resolve("ar_vision.checkpoint:load_checkpoint")(models["tokenizer"]).model
    )
    assert {"date", "versions", "device", "command"} <= record["environment"].keys()
    assert not (tmp_path / "a.npz.chunks").exists()


def test_a_grid_is_a_grid_whatever_the_case_of_its_name(models, tmp_path):
    assert run(IMAGE, **models, output=str(tmp_path / "a.PNG")).pictures is not None
    with Image.open(tmp_path / "a.PNG") as sheet:
        assert sheet.format == "PNG"


def test_chunks_of_an_archive_are_kept_until_its_record_is_written(models, tmp_path, monkeypatch):
    def fail(*_):
        raise DataError("no more")

    monkeypatch.setattr("ar_vision.evaluation.image_command.write_report", fail)
    with pytest.raises(DataError, match="no more"):
        run(IMAGE, **models, output=str(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz.chunks").exists()


@pytest.mark.parametrize("kind", ["var", "flexvar"])
def test_scale_wise_generators(scale_models, tmp_path, kind):
    models = scale_models(kind)
    for name, batch_size in (("a.npz", 16), ("b.npz", 2)):
        out = str(tmp_path / name)
        run(IMAGE, **models, count=5, guidance=2.0, top_k=9, batch_size=batch_size, output=out)
    a, b = (np.load(tmp_path / name)["arr_0"] for name in ("a.npz", "b.npz"))
    assert a.shape == (5, 32, 32, 3)
    # Products of other shapes may be rounded otherwise, by a level at most where no draw is decided by it.
    assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


def test_scales_are_shown_from_the_first_to_the_last(scale_models, tmp_path):
    models = scale_models("var")
    shown = run(IMAGE, **models, labels=[1, 2], scales=True, output=str(tmp_path / "steps.png")).pictures
    assert shown.captions == [f"{label} {step}/4" for label in (1, 2) for step in (1, 2, 3, 4)]
    assert (shown.columns, {picture.size for picture in shown.pictures}) == (4, {(32, 32)})
    run(IMAGE, **models, labels=[1, 2], output=str(tmp_path / "whole.npz"))
    sheet = np.asarray(Image.open(tmp_path / "steps.png"))
    assert sheet.shape[1] == 4 * (96 + 4) + 4
    above = (sheet.shape[0] - 4) // 2 - 96 - 4
    row = [sheet[4 + above : 4 + above + 96 : 3, 4 + k * 100 : 100 + k * 100 : 3] for k in range(4)]
    np.testing.assert_array_equal(row[3], np.load(tmp_path / "whole.npz")["arr_0"][0])
    assert (row[0] != row[3]).any()


def test_seed_guidance_and_label_reach_the_images(models, tmp_path):
    images = {}
    for name, settings in {
        "plain": {},
        "seed": {"seed": 1},
        "guided": {"guidance": 4.0},
        "greedy": {"temperature": 0},
    }.items():
        run(IMAGE, **models, labels=[1, 1], output=str(tmp_path / f"{name}.npz"), **settings)
        images[name] = np.load(tmp_path / f"{name}.npz")["arr_0"]
    for name in ("seed", "guided", "greedy"):
        assert (images[name] != images["plain"]).any(), name
    assert (images["plain"][0] != images["plain"][1]).any()
    np.testing.assert_array_equal(images["greedy"][0], images["greedy"][1])


def test_a_folder_and_a_grid(models, tmp_path):
    run(IMAGE, **models, labels=[2, 0], count=4, output=str(tmp_path / "folder"))
    assert sorted(path.parent.name for path in (tmp_path / "folder").rglob("*.png")) == ["0000", "0000", "0002", "0002"]
    run(
        IMAGE,
        **models,
        labels=[2, 0],
        count=4,
        columns=2,
        class_names=["a", "b", "c"],
        output=str(tmp_path / "grid.png"),
    )
    sheet = Image.open(tmp_path / "grid.png")
    assert sheet.width == 2 * (96 + 4) + 4
    drawn = open_images(str(tmp_path / "folder"))
    first = next(drawn.batches(4))[2]
    # The first image drawn has class 2, and stands in the upper left corner below its caption.
    above = (sheet.height - 4) // 2 - 96 - 4
    cell = np.asarray(sheet)[4 + above : 4 + above + 96 : 3, 4:100:3]
    np.testing.assert_array_equal(cell, first.permute(1, 2, 0).numpy())


def test_weights_of_16_bits_are_computed_in_32_on_a_cpu(scale_models, tmp_path):
    for kind in ("var", "flexvar"):
        models = scale_models(kind)
        stored = {name: load_checkpoint(models[name]) for name in ("checkpoint", "tokenizer")}
        halves, pair = {}, fingerprint(stored["tokenizer"].model.half())
        for name, loaded in stored.items():
            halves[name] = str(tmp_path / f"half_{kind}_{name}")
            save_checkpoint(halves[name], loaded.model.half(), tokenizer=pair if name == "checkpoint" else None)
            # The same numbers, in a file of 32 bits.
            save_checkpoint(
                f"{halves[name]}_32", loaded.model.float(), tokenizer=pair if name == "checkpoint" else None
            )
        for name, folder, settings in (
            ("half", "", {}),
            ("same", "_32", {}),
            ("stored", "", {"dtype": "stored"}),
            ("rounded", "_32", {"dtype": "float16"}),
            ("bfloat", "", {"dtype": "bfloat16"}),
        ):
            given = {key: folder_of + folder for key, folder_of in halves.items()}
            run(IMAGE, **given, device="cpu", labels=[1, 2], output=str(tmp_path / f"{kind}_{name}.npz"), **settings)
        found = {
            name: np.load(tmp_path / f"{kind}_{name}.npz")["arr_0"]
            for name in ("half", "same", "stored", "rounded", "bfloat")
        }
        np.testing.assert_array_equal(found["half"], found["same"])
        np.testing.assert_array_equal(found["stored"], found["rounded"])
        assert (found["half"] != found["stored"]).any()
        for name, dtype in (("half", "float32"), ("stored", "float16"), ("bfloat", "bfloat16")):
            record = json.loads((tmp_path / f"{kind}_{name}.npz.json").read_text())
            assert record["sampling"]["generator"]["dtype"] == {"checkpoint": dtype, "tokenizer": dtype}


def test_shards_finish_together(models, tmp_path):
    settings = {**models, "count": 9, "chunk_size": 2}
    with pytest.raises(DataError, match="lacks 3 of 5 chunks"):
        run(IMAGE, **settings, shard="2/2", output=str(tmp_path / "s.npz"))
    run(IMAGE, **settings, shard="1/2", output=str(tmp_path / "s.npz"))
    run(IMAGE, **models, count=9, output=str(tmp_path / "w.npz"))
    np.testing.assert_array_equal(np.load(tmp_path / "s.npz")["arr_0"], np.load(tmp_path / "w.npz")["arr_0"])


def test_a_folder_of_something_else_in_the_place_of_the_chunks_stays(models, tmp_path):
    chunks = tmp_path / "s.npz.chunks"
    chunks.mkdir()
    (chunks / ".tmp-stage.json-1-2").touch()
    run(IMAGE, **models, count=2, output=str(tmp_path / "s.npz"))
    assert not chunks.exists()
    chunks = tmp_path / "t.npz.chunks"
    chunks.mkdir()
    (chunks / "only.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(
        ConfigError, match=r"t.npz.chunks' holds no chunks of images, and would be removed: give another"
    ):
        run(IMAGE, **models, count=2, output=str(tmp_path / "t.npz"))
    assert (chunks / "only.jpg").read_bytes() == b"irreplaceable"


def test_samples_from_a_checkpoint_are_measured(models, features, data_dir, tmp_path):
    pytest.importorskip("pyarrow")
    reference = {
        "data": {"path": str(data_dir / "images" / "cifar10_test.parquet"), "size": 32, "count": 90, "cache": False}
    }
    settings = {
        "reference": reference,
        "features": features,
        "metrics": ["frechet", "precision_recall", "class_score", "class_accuracy"],
        "output": str(tmp_path / "r.json"),
    }
    said = run(EVAL_IMAGE, **models, per_class=25, **settings)
    report = json.loads((tmp_path / "r.json").read_text())
    assert f"frechet[resnet20-cifar10]: {report['metrics']['frechet[resnet20-cifar10]']:.4g}" in said.splitlines()
    assert report["metrics"]["frechet[resnet20-cifar10]"] > 1
    assert report["samples"]["images"] == 75
    assert report["samples"]["sampling"]["labels"] == [0, 1, 2]
    assert report["reference"]["images"] == 90
    assert report["features"]["name"] == "resnet20-cifar10"
    assert report["settings"]["neighbours"] == 3
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()
    # The images that were drawn can be measured again by name.
    again = run(EVAL_IMAGE, samples=str(tmp_path / "r.samples"), device="cpu", force=True, **settings)
    assert json.loads((tmp_path / "r.json").read_text())["metrics"] == report["metrics"]
    assert again == said


def test_a_tokenizer_is_measured(models, features, data_dir, tmp_path):
    pytest.importorskip("pyarrow")
    images = {
        "data": {"path": str(data_dir / "images" / "cifar10_test.parquet"), "size": 32, "count": 70, "cache": False}
    }
    said = run(
        EVAL_TOKENIZER,
        tokenizer=models["tokenizer"],
        images=images,
        features=features,
        lpips=str(data_dir / "models" / "lpips_alex" / "model.safetensors"),
        lpips_minimum_size=32,
        device="cpu",
        output=str(tmp_path / "t.json"),
    )
    report = json.loads((tmp_path / "t.json").read_text())
    assert set(report["metrics"]) == {
        "psnr",
        "ssim",
        "lpips[alexnet]",
        "reconstruction_frechet[resnet20-cifar10]",
        "codes_used",
        "perplexity",
    }
    assert 0 < report["metrics"]["psnr"] < 20
    assert report["settings"] == {"scales": "8", "dtype": "float32", "lpips_minimum_size": 32}
    assert said.splitlines()[-1].startswith("70 images, report in")
