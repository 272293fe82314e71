"""The image benchmark: parts that are valid runs, and tiny models through measuring, tables, pictures and export."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from ar_core.config import from_dict
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from PIL import Image

PARTS = (
    "var_tokenizer", "vq_tokenizer", "var_codes", "side_codes", "grid_codes", "var", "flexvar", "llamagen", "bsq_tokenizer",
    "infinity", "emoji_tokenizer", "emoji_codes", "emoji_llamagen",
)  # fmt: skip
SIDES = (1, 2, 3, 4, 6, 8, 12, 16)
FRECHET, ACCURACY = "frechet[resnet20-cifar10]", "class_accuracy[resnet20-cifar10]"


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"images.{name}")


@pytest.fixture
def folders(module, tmp_path):
    return module("parts").Folders(tmp_path / "runs", tmp_path / "cifar10", tmp_path / "staged")


def config_of(part, folders):
    method = recipe(part.recipe)
    where = "train.checkpoint_dir" if method.makes == "model" else "stage.directory"
    return read_run_config(method, part.config, [f"{where}={folders.of(part.name)}", *part.overrides(folders)])


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_valid_runs_on_what_comes_before(module, folders, name):
    parts = module("parts")
    assert set(parts.PARTS) == set(PARTS)
    part = parts.part(name)
    written = str(config_of(part, folders))
    places = [*part.needs, *([part.tokenizer] if part.tokenizer else [])]
    assert all(str(folders.of(needed)) in written for needed in places if not needed.endswith("_codes")), written
    data = {"cifar10": folders.cifar10 / "train.parquet", "photographs": folders.captioned, "emoji": folders.emoji}[
        part.data
    ]
    assert str(data) in written or any(str(folders.of(needed)) in written for needed in part.needs)


def test_photographs_are_measured_as_they_are_trained(module, folders):
    measuring, parts = module("measuring"), module("parts")
    tokenizer, generator = (config_of(parts.part(name), folders) for name in ("bsq_tokenizer", "infinity"))
    assert tokenizer.data.held_out == generator.data.held_out
    assert tokenizer.method.schedule.sizes == generator.model.schedules[0]
    assert measuring.schedule_of("bsq_tokenizer").sizes == tuple((side, side) for side in SIDES)
    assert tokenizer.model.settings["autoencoder"]["latent_channels"] == generator.model.bits
    assert generator.train.best_by == "held_out_nll"
    assert measuring.schedule_of("vq_tokenizer").sizes == ((8, 8),)


def test_an_unknown_part_is_named(module):
    with pytest.raises(DataError, match="there is no part 'vars': give one of var_tokenizer"):
        module("parts").part("vars")


@pytest.fixture
def environment():
    return {
        "command": "c",
        "date": "2026-01-01",
        "commit": "0",
        "device": {"type": "cpu", "name": "a CPU", "threads": 1},
        "versions": {},
    }


@pytest.fixture
def written(tmp_path, environment):
    """A folder of results of all kinds, as measuring writes them."""
    near = {"samples": {"median": 30.0}, "held_out": {"median": 31.0}, "below": 0.0625}
    common = {
        "kind": "images",
        "seed": 0,
        "parameters": 1000,
        "steps": 2000,
        "training_minutes": 3.6,
        "environment": environment,
    }

    def row(guidance, frechet):
        values = {FRECHET: frechet, ACCURACY: 0.5, "nearest_training[pixels]": near}
        values |= {f"{name}[resnet20-cifar10]": 0.25 for name in ("precision", "recall")}
        return {"name": f"{guidance:g}", "guidance": guidance, "images": 4, "date": "2026-01-01", "values": values}

    fidelity = {"psnr": 21.5, "ssim": 0.75, "lpips[alexnet]": 0.125}
    chosen = {"step": 7, "evaluation": {"held_out_nll": 0.5, "held_out_accuracy": 0.75}}
    codes = {"reconstruction_frechet[resnet20-cifar10]": 3.0, "codes_used": 1.0, "perplexity": 400.0}
    prompted = [
        {
            "name": f"{g:g}",
            "guidance": g,
            "images": 10,
            "date": "2026-01-01",
            "values": {"nearest_training[pixels]": near},
        }
        for g in (4.0, 1.0)
    ]
    content = {
        "var": {"chosen": chosen, "rows": [row(1.0, 9.0), row(2.0, 6.0), row(4.0, 8.0)]},
        "var_tokenizer": {"chosen": {"step": 9, "evaluation": {}}, "rows": [{"date": "d", "values": {**fidelity, **codes}}]},
        "bsq_tokenizer": {
            "chosen": {"step": 9, "evaluation": {}},
            "rows": [{"date": "d", "values": {**fidelity, "bit_entropy": 0.875}}],
        },
        "infinity": {"chosen": chosen, "held_out": 2, "train": 8, "rows": prompted},
    }  # fmt: skip
    for name, one in content.items():
        (tmp_path / f"images_{name}_seed0.json").write_text(json.dumps({**common, "part": name, **one}))
    return tmp_path


def test_tables_are_of_results_of_their_kind(module, written):
    tables = module("plotting").tables(written)
    assert set(tables) == {
        "images_generators", "images_tokenizers", "images_var_seed0", "images_bsq_tokenizer_seed0", "images_infinity_seed0",
    }  # fmt: skip
    cells = {name: [line.strip("| ").split(" | ") for line in table.splitlines()] for name, table in tables.items()}
    assert [row[0] for row in cells["images_generators"][2:]] == ["VAR"]
    assert cells["images_generators"][2][1:8] == ["1,000", "2,000, 4", "0.500", "9.00", "6.00", "2", "50.0 %"]
    assert cells["images_generators"][2][-3:] == ["30.0", "31.0", "6.2 %"]
    assert cells["images_var_seed0"][2] == ["1", "9.00", "50.0 %", "0.250", "0.250", "30.0", "6.2 %"]
    assert [row[0] for row in cells["images_tokenizers"][2:]] == ["var_tokenizer"]
    assert cells["images_bsq_tokenizer_seed0"][2] == ["1,000", "2,000, 4", "21.50", "0.750", "0.125", "0.875"]
    assert cells["images_infinity_seed0"][2] == ["1,000", "2,000, 4", "0.5000", "75.00 %", "1", "30.0", "31.0"]
    assert cells["images_infinity_seed0"][3][-3:] == ["4", "30.0", "31.0"]
    for rows in cells.values():
        assert len({len(row) for row in rows[::2]}) == 1


def test_the_figure_has_a_line_for_each_model_with_a_frechet_distance(module, written):
    plotting = module("plotting")
    plotting.plot(written)
    drawn = (written / plotting.FIGURE).read_text()
    assert "VAR" in drawn
    assert "Infinity" not in drawn


@pytest.fixture
def trained(folders, data_dir):
    """Runs of tiny models of photographs with random weights."""
    folders = dataclasses.replace(folders, staged=data_dir)
    generator = torch.Generator().manual_seed(0)
    shape = {
        "channels": 8,
        "channel_multipliers": [1, 1, 1, 1],
        "blocks_per_level": 1,
        "latent_channels": 4,
        "norm_groups": 4,
    }
    tokenizer = BsqTokenizer(from_dict(BsqTokenizerConfig, {"autoencoder": {**shape, "attention": False}}))
    tokenizer.initialize(generator)
    config = {
        "depth": 1, "width": 16, "heads": 2, "hidden": 16, "bits": 4, "text_width": 8, "text_length": 12, "pool_heads": 1,
        "text_encoder": "hashed", "schedules": [[(side, side) for side in SIDES]],
    }  # fmt: skip
    model = Infinity(from_dict(InfinityConfig, config))
    model.initialize(generator)
    evaluation = {"held_out_nll": 0.625, "held_out_accuracy": 0.6}
    record = {"step": 5, "evaluation": evaluation}
    save_checkpoint(folders.of("bsq_tokenizer") / "final", tokenizer, provenance={"scales": "1,2,3,4,6,8,12,16"})
    save_checkpoint(folders.of("infinity") / "best", model, tokenizer=fingerprint(tokenizer))
    (folders.of("infinity") / "best" / "best.json").write_text(json.dumps(record))
    for name, values in {"bsq_tokenizer": {"psnr": 9.0}, "infinity": evaluation}.items():
        lines = [{"step": 1, "loss": 1.0, "steps_per_s": 2.0}, {"step": 5, "evaluation": values}]
        (folders.of(name) / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folders


def test_tiny_models_of_photographs_are_measured_drawn_and_exported(module, trained, tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    measuring, pictures = module("measuring"), module("pictures")
    results, docs, shipped = (tmp_path / name for name in ("results", "docs", "shipped"))
    results.mkdir()
    every = measuring.captions("infinity", trained)
    first = tuple(every[:: len(every) // 10])
    assert len(every) == 50
    assert len(set(first)) == 10
    for file in (measuring, pictures):
        monkeypatch.setattr(file, "captions", lambda name, folders: first)
    monkeypatch.setattr(pictures, "DOCS", docs)

    (row,) = measuring.measure_reconstruction("bsq_tokenizer", trained, results)
    assert set(row["values"]) == {"psnr", "ssim", "lpips[alexnet]", "bit_entropy"}
    rows = measuring.measure_prompts("infinity", trained, results, guidance=(1.0, 3.0))
    assert [row["guidance"] for row in rows] == [1, 3]
    assert rows[0]["values"]["nearest_training[pixels]"] != rows[1]["values"]["nearest_training[pixels]"]
    one = json.loads((results / "images_infinity_seed0.json").read_text())
    assert one["chosen"]["evaluation"]["held_out_nll"] == 0.625
    assert (one["held_out"], one["train"]) == (10, 66)
    assert "0.6250" in module("plotting").tables(results)["images_infinity_seed0"]

    pictures.pictures(trained, results)
    with Image.open(docs / "infinity.jpg") as sheet:
        assert sheet.size == (6 * 132 + 4, 2 * 132 + 4)
    with Image.open(docs / "bsq_tokenizer.jpg") as sheet:
        assert sheet.size == (6 * 132 + 4, 4 * 132 + 4)

    module("exporting").export(trained, results, shipped)
    tokenizer, generator = (load_checkpoint(shipped / name) for name in ("bsq_tokenizer", "infinity"))
    require_pair(generator, tokenizer)
    assert generator.tokenizer == fingerprint(tokenizer.model)
    assert tokenizer.model.encoder.conv_in.weight.dtype == torch.float16
    assert tokenizer.provenance["scales"] == "1,2,3,4,6,8,12,16"
    card = (shipped / "infinity" / "README.md").read_text()
    assert "held-out NLL 0.6250 nats a bit on 10 photographs" in card
    assert "CIFAR" not in card
    assert not re.search(r"[{}]", card)
    assert str(tmp_path) not in card


def test_a_tiny_model_of_emoji_is_measured_drawn_and_exported(module, emoji_models, tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    measuring, pictures = module("measuring"), module("pictures")
    results, docs, shipped = (tmp_path / name for name in ("results", "docs", "shipped"))
    results.mkdir()
    every = module("captioned").captions("emoji_llamagen", emoji_models)
    assert 150 < len(every) < 230
    for file in (measuring, pictures):
        monkeypatch.setattr(file, "captions", lambda name, folders: every[:12])
    monkeypatch.setattr(pictures, "DOCS", docs)
    for name, values in {"emoji_tokenizer": {"psnr": 9.0}, "emoji_llamagen": {"held_out_nll": 2.5}}.items():
        lines = [{"step": 1, "loss": 1.0, "steps_per_s": 2.0}, {"step": 5, "evaluation": values}]
        (emoji_models.of(name) / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (row,) = measuring.measure_reconstruction("emoji_tokenizer", emoji_models, results)
    assert set(row["values"]) == {"psnr", "ssim", "lpips[alexnet]", "codes_used", "perplexity"}
    measuring.measure_prompts("emoji_llamagen", emoji_models, results, guidance=(1.0, 3.0))
    one = json.loads((results / "images_emoji_llamagen_seed0.json").read_text())
    assert one["held_out"] == len(every)
    assert one["held_out"] + one["train"] == 1906
    tables = module("plotting").tables(results)
    assert "nats a code" in tables["images_emoji_llamagen_seed0"]
    assert "| 2.5000 | 1 |" in tables["images_emoji_llamagen_seed0"]
    assert "perplexity" in tables["images_emoji_tokenizer_seed0"]
    one["held_out"] = 12
    (results / "images_emoji_llamagen_seed0.json").write_text(json.dumps(one))
    pictures.pictures(emoji_models, results)
    with Image.open(docs / "emoji_llamagen.png") as sheet:
        assert sheet.size == (10 * 68 + 4, 2 * 68 + 4)
    module("exporting").export(emoji_models, results, shipped)
    card = (shipped / "emoji_llamagen" / "README.md").read_text()
    assert "held-out NLL 2.500 nats a code on 12 emoji" in card
    assert "Twemoji" in card
    assert "CIFAR" not in card
    assert not re.search(r"[{}]", card)


def test_emoji_are_held_out_alike_for_all_parts(module, folders):
    tokenizer, codes, generator = (
        config_of(module("parts").part(name), folders) for name in ("emoji_tokenizer", "emoji_codes", "emoji_llamagen")
    )
    assert tokenizer.data.held_out == generator.data.codes.held_out > 0
    assert (tokenizer.data.size, tokenizer.data.transform) == (codes.data.size, codes.data.transform)
    assert tokenizer.model.settings["vocab_size"] == generator.model.vocab_size
    assert module("measuring").schedule_of("emoji_tokenizer").sizes == ((generator.model.grid,) * 2,)
    pairs = read_run_config(recipe("noise_code_pairs"), "emoji_llamagen")
    assert pairs.texts.captions.held_out == generator.data.codes.held_out


def test_a_generator_is_not_exported_without_its_tokenizer(module, trained, tmp_path, environment):
    results = tmp_path / "results"
    results.mkdir()
    one = {"part": "infinity", "seed": 0, "rows": [], "environment": environment}
    (results / "images_infinity_seed0.json").write_text(json.dumps(one))
    with pytest.raises(DataError, match="bsq_tokenizer was not: measure it first"):
        module("exporting").export(trained, results, tmp_path / "shipped")


def test_cards_of_shipped_models_are_of_the_results(module, folders):
    exporting, plotting = module("exporting"), module("plotting")
    results = plotting.read(Path(__file__).parents[1] / "benchmarks" / "results")
    shipped = sorted(folder.name for folder in exporting.SHIPPED.iterdir())
    assert set(shipped) <= {one["part"] for one in results.values() if one["seed"] == 0}
    for name in shipped:
        one = results[f"{name}_seed0"]
        card = (exporting.SHIPPED / name / "README.md").read_text(encoding="utf-8")
        assert card == exporting._card(module("parts").part(name), one, folders), name
        loaded = load_checkpoint(exporting.SHIPPED / name)
        assert sum(parameter.numel() for parameter in loaded.model.parameters()) == one["parameters"], name
    sizes = [exporting._bytes(folder) for folder in exporting.SHIPPED.iterdir()]
    assert max(sizes) <= 10e6
    assert sum(sizes) <= 24e6


def test_a_shipped_model_is_taken_with_its_tokenizer_and_training_leaves_both_alone(module, folders):
    training, study = module("training"), module("study")
    training.take("var", folders)
    training.take("var", folders)
    shipped = Path(__file__).parents[1] / "packages" / "ar-vision" / "examples"
    for name in ("var", "var_tokenizer"):
        assert fingerprint(load_checkpoint(folders.model(name)).model) == fingerprint(
            load_checkpoint(shipped / name).model
        )
    # No data are there, so that a run would be refused.
    assert training.train("var_tokenizer", folders)
    assert study.Study("cca", "var", folders).model("base") == folders.model("var")


def test_what_is_taken_is_shipped_and_takes_no_runs_place(module, folders):
    training = module("training")
    training.take("llamagen", folders)
    with pytest.raises(DataError, match="holds no run of 'llamagen', which was taken and not trained here"):
        module("measuring").measure_generator("llamagen", folders, folders.runs, count=10, guidance=[1.0])
    with pytest.raises(DataError, match="'var_codes' is not shipped: give one of bsq_tokenizer, "):
        training.take("var_codes", folders)
    (folders.of("var") / "step-1").mkdir(parents=True)
    with pytest.raises(DataError, match="holds a run of 'var' already"):
        training.take("var", folders)
