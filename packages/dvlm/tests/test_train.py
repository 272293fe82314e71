"""Runs of the recipes: configs, data, steps, resume, what learns and what stays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_core.hf.model_config import LoraConfig
from ar_core.registry import configs, recipe
from ar_core.training import build_job, read_run_config, run_recipe, train
from dvlm.data.config import VisionTextDataConfig
from dvlm.diffusionvl.config import DiffusionVLConfig
from dvlm.layouts.load import load_vision_language
from dvlm.model_config import VisionLanguageConfig
from dvlm.towers import ScratchTower, TowerConfig
from PIL import Image

RECIPES = ("diffusionvl", "vl_autoregressive")
SMALL = ["train.steps=3", "train.batch_size=4", "train.warmup_steps=1", "data.count=40", "train.eval_every=3"]


def run(name: str, *overrides: str) -> Any:
    return read_run_config(recipe(name), "tiny", [*SMALL, *overrides])


@pytest.mark.parametrize("name", RECIPES)
def test_every_config_can_be_read(name):
    for config in configs(recipe(name)):
        assert read_run_config(recipe(name), config).train.steps > 0


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_ends_with_a_model_that_loads(name, tmp_path):
    done = run_recipe(recipe(name), run(name, f"train.checkpoint_dir={tmp_path}"))
    assert len(done.losses) == 3
    assert all(np.isfinite(done.losses))
    assert any(key.startswith("held_out_") for key in done.evaluation)
    loaded = load_vision_language(tmp_path / "final")
    assert loaded.tokenizer is not None
    assert loaded.settings.chat.system is None
    assert (loaded.settings.diffusion is None) == (name == "vl_autoregressive")


def test_micro_batches_and_a_tower_rate_of_its_own():
    whole = run_recipe(recipe("diffusionvl"), run("diffusionvl", "method.tower_lr=1e-4"))
    split = run_recipe(recipe("diffusionvl"), run("diffusionvl", "method.tower_lr=1e-4", "train.micro_batch_size=1"))
    assert split.losses == pytest.approx(whole.losses, rel=1e-4)


def test_stage_1_trains_the_connector_alone():
    config = run("vl_autoregressive", "model.trained=[connector]", "~train.eval_every")
    job = build_job(recipe("vl_autoregressive"), config)
    before = {name: value.clone() for name, value in job.models["model"].state_dict().items()}
    train(job, config.train)
    for name, value in job.models["model"].state_dict().items():
        assert torch.equal(value, before[name]) == ("mm_projector" not in name), name


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    for number in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * number, np.uint8)).save(tmp_path / f"{number}.png")
    ask = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "grey"}]
    both = [{"from": "human", "value": "<image> or <image>?"}, {"from": "gpt", "value": "the first"}]
    records = [
        {"id": 0, "image": "0.png", "conversations": ask},
        {"id": 1, "image": ["1.png", "2.png"], "conversations": both},
        {"id": 2, "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"id": 3, "image": "2.png", "conversations": ask[:1] + ask[1:]},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def source_of(path: Path, *overrides: str) -> Any:
    config = read_run_config(
        recipe("diffusionvl"), "tiny", ["data.kind=conversations", f"data.path={path}", "~data.count", "~data.held_out",
        "~train.eval_every", *overrides],
    )  # fmt: skip
    return build_job(recipe("diffusionvl"), config).source


def test_files_of_the_published_format(conversations, tmp_path):
    source = source_of(conversations)
    samples = list(source.once())
    assert [len(sample["images"]) for sample in samples] == [1, 2, 0, 1]
    assert [sample["tokens"].count(-200) for sample in samples] == [1, 2, 0, 1]
    later = source.open(9)
    stream = source.open(7)
    next(stream), next(stream)
    first, second = next(later), next(stream)
    assert first["index"] == second["index"] == 9
    assert first["tokens"] == second["tokens"]
    listed = tmp_path / "data.json"
    listed.write_text(json.dumps([json.loads(line) for line in conversations.read_text().splitlines()]))
    assert [sample["tokens"] for sample in source_of(listed).once()] == [sample["tokens"] for sample in samples]


def test_images_of_either_name(conversations, tmp_path):
    """Also where the text does not say where they stand; by kind of record, too."""
    records = [json.loads(line) for line in conversations.read_text().splitlines()]
    records[3]["conversations"][0]["value"] = "What?"
    renamed = [{"images" if key == "image" else key: value for key, value in one.items()} for one in records]
    conversations.write_text("\n".join(map(json.dumps, renamed)))
    assert [len(sample["images"]) for sample in source_of(conversations).once()] == [1, 2, 0, 1]
    sorted_by_kind = source_of(conversations, "data.batches=by_modality", "train.batch_size=3").open(0)
    assert sum(bool(next(sorted_by_kind)["images"]) for _ in range(3)) == 3
    both = {**records[0], "images": ["1.png"]}
    conversations.write_text(json.dumps(both))
    with pytest.raises(DataError, match=r"data.jsonl, line 1 has image and images"):
        list(source_of(conversations).once())


def test_mixes_take_the_first_the_last_or_random_records(conversations, tmp_path):
    (tmp_path / "sub").mkdir()
    mix = tmp_path / "sub" / "mix.yaml"

    def read(*entries: str) -> list[Any]:
        listed = "".join(f"  - {{json_path: ../data.jsonl, {entry}}}\n" for entry in entries)
        mix.write_text(f"datasets:\n{listed}")
        return [record.data["id"] for record in source_of(mix).records]

    assert read("sampling_strategy: 'first:2'", "sampling_strategy: 'end:25%'") == [0, 1, 3]
    drawn = read("sampling_strategy: 'random:3'")
    assert len(set(drawn)) == 3
    assert drawn == read("sampling_strategy: 'random:3'")
    assert read("image_root: ..") == [0, 1, 2, 3]
    assert [len(sample["images"]) for sample in source_of(mix).once()] == [1, 2, 0, 1]
    for entry, message in (
        ("sampling_strategy: 'some:3'", "sampling_strategy is 'some:3'"),
        ("weight: 3", "has 'weight'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(entry)


def test_the_split_of_a_mix_does_not_hang_on_its_folder(tmp_path, monkeypatch):
    """By a relative path, an absolute one, and when moved."""
    said = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "data.jsonl").write_text("".join(json.dumps({"id": n, "conversations": said}) + "\n" for n in range(40)))
    (folder / "mix.yaml").write_text("datasets: [{json_path: data.jsonl}]")

    def trained(path: Path) -> list[int]:
        return [record.data["id"] for record in source_of(path, "data.held_out=0.5").records]

    expected = trained(folder / "mix.yaml")
    assert 5 < len(expected) < 35
    assert trained(folder / "data.jsonl") == expected
    monkeypatch.chdir(folder)
    assert trained(Path("mix.yaml")) == expected
    assert trained(folder.rename(tmp_path / "there") / "mix.yaml") == expected


def test_batches_of_one_kind():
    config = run("diffusionvl", "data.batches=by_modality", "~train.eval_every", "data.count=64", "~data.held_out")
    source = build_job(recipe("diffusionvl"), config).source
    kinds = [bool(sample["images"]) for sample, _ in zip(source.open(0), range(len(source)))]
    batches = [kinds[a : a + 4] for a in range(0, len(kinds), 4)]
    assert len(kinds) == 64
    assert all(len(set(batch)) == 1 for batch in batches)


def test_what_is_left_of_both_kinds_makes_one_step():
    """17 records with pictures and 5 without leave 1 and 1, too few for a step of 4; 19 and 6 leave 3 and 2, a step and 1 over."""
    for count, kinds, mixed in ((22, 5, 0), (25, 5, 1)):
        config = run(
            "diffusionvl", "data.batches=by_modality", "~train.eval_every", f"data.count={count}", "~data.held_out"
        )
        source = build_job(recipe("diffusionvl"), config).source
        assert len(source) == 4 * (kinds + mixed)
        for epoch in (0, 1):
            samples = source.open(epoch * len(source))
            steps = [{bool(next(samples)["images"]) for _ in range(4)} for _ in range(kinds + mixed)]
            assert sum(len(step) == 1 for step in steps) == kinds
            assert sum(len(step) == 2 for step in steps) == mixed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "gone.png"}, r"gone.png .*data.jsonl, line 1.* cannot be read"),
        ({"image": "data.jsonl"}, "is no picture in a format that Pillow knows"),
        ({"image": ["0.png", "1.png"]}, "has 1 places for images .* and 2 images were given"),
        ({"image": None}, "has 1 places for images .* and 0 images were given"),
        ({"conversations": 3}, "conversations is 3"),
    ],
)
def test_records_that_cannot_be_used_are_named(conversations, change, message):
    record = {**json.loads(conversations.read_text().splitlines()[0]), **change}
    conversations.write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        list(source_of(conversations).once())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiffusionVLConfig(mask_id=3, mask_token="<mask>"), "mask_id and mask_token: both was given"),
        (lambda: DiffusionVLConfig(noise_strata="other"), "noise_strata is 'other'"),
        (lambda: DiffusionVLConfig(min_noise=0), r"noise levels lie in \(0, 1\]"),
        (lambda: DiffusionVLConfig(block_size_schedule=((0, 8), (5, 3))), "do not divide the largest, 8"),
        (lambda: DiffusionVLConfig(block_size_schedule=((5, 8), (0, 8))), "which must rise"),
        (lambda: VisionLanguageConfig(), "model.path and model.language: neither was given"),
        (lambda: VisionLanguageConfig(path="a", tower=TowerConfig(path="b")), "beside model.path"),
        (lambda: VisionLanguageConfig(path="a", trained=("head",)), r"model.trained is \['head'\]"),
        (
            lambda: VisionLanguageConfig(path="a", trained=("tower",), lora=LoraConfig()),
            r"lora is given and model.trained is \['tower'\]",
        ),
        (lambda: TowerConfig(), "tower.path and tower.scratch: neither"),
        (lambda: ScratchTower(side=30, patch=8), "patch must divide side"),
        (lambda: VisionTextDataConfig(), "data.path is not given"),
        (lambda: VisionTextDataConfig(kind="shapes"), "data.count is not given"),
        (
            lambda: run("diffusionvl", "data.max_length=255"),
            "data.max_length is 255 and no multiple of the block size 4",
        ),
    ],
)
def test_settings_that_contradict_each_other(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_three_part_positions_need_a_model_that_has_them():
    with pytest.raises(ConfigError, match="the language model has no three-part positions"):
        build_job(recipe("diffusionvl"), run("diffusionvl", "method.mrope=true"))


def test_samples_must_fit_the_context():
    with pytest.raises(ConfigError, match=r"data.max_length is 512 and the model's context only 256"):
        build_job(recipe("diffusionvl"), run("diffusionvl", "data.max_length=512"))


def test_workers_prepare_the_same_steps():
    config = run("diffusionvl", "~train.eval_every")
    plain = train(build_job(recipe("diffusionvl"), config), config.train)
    workers = run("diffusionvl", "~train.eval_every", "train.num_workers=1")
    assert train(build_job(recipe("diffusionvl"), workers), workers.train).losses == plain.losses


def test_lightning_takes_the_same_steps(tmp_path):
    from ar_core.training.lightning_task import fit

    config = run("diffusionvl", "~train.eval_every", "train.device=cpu")
    plain = train(build_job(recipe("diffusionvl"), config), config.train)
    lightning = fit(build_job(recipe("diffusionvl"), config), config.train)
    assert lightning.losses == pytest.approx(plain.losses, rel=1e-6)


def test_a_rate_for_a_frozen_tower_is_refused():
    for trained in ("[connector]", "[connector,language]"):
        with pytest.raises(ConfigError, match=r"method.tower_lr is given and the tower is frozen"):
            build_job(recipe("diffusionvl"), run("diffusionvl", "method.tower_lr=1e-4", f"model.trained={trained}"))


def test_what_is_trained_beside_a_half_precision_language_model_is_not_rounded():
    """Steps of a small learning rate are below the resolution of bfloat16."""
    config = run("vl_autoregressive", "model.trained=[connector]", "model.language.dtype=bfloat16", "train.lr=1e-5")
    job = build_job(recipe("vl_autoregressive"), config)
    model: Any = job.models["model"]
    assert {parameter.dtype for parameter in model.language.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.tower.parameters()} == {torch.bfloat16}
    before = model.mm_projector[2].weight.clone()
    train(job, config.train)
    assert (model.mm_projector[2].weight != before).float().mean() > 0.9


def test_held_out_data_are_measured_with_the_last_block_size():
    measured = {}
    for schedule in ("[]", "[[0,2],[1000,4]]"):
        job = build_job(recipe("diffusionvl"), run("diffusionvl", f"method.block_size_schedule={schedule}"))
        job.models["model"].eval()
        assert job.evaluate is not None
        measured[schedule] = job.evaluate()["held_out_masked"]
    assert measured["[[0,2],[1000,4]]"] == pytest.approx(measured["[]"], rel=1e-6)
