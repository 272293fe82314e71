"""From a LlamaGen of texts to pairs of numbered captions, to a student, to images of prompts."""

import json

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ConfigError, DataError, ResumeError
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config, run_recipe
from ar_vision.checkpoint import load_checkpoint
from ar_vision.data.codes.config import CodeDataConfig
from ar_vision.data.codes.source import build_code_source
from ar_vision.distilled_decoding.decode import generate
from ar_vision.distilled_decoding.pairs.store import PairStore
from ar_vision.distilled_decoding.pairs.texts import PairTexts, list_of
from ar_vision.distilled_decoding.pairs.verify import VerifyPairsConfig, verify, verify_pairs
from ar_vision.evaluation import IMAGE
from ar_vision.scales import ScaleSchedule
from ar_vision.text.encoder import build_text_encoder, encoded_alone

CAPTIONS = ("a red heart", "grinning cat", "flag", "a left arrow")
"""Those of the fixtures."""
HEART, CAT = CAPTIONS[:2]


def run_of(where, directory, *overrides):
    places = [f"model.teacher={where.teacher}", f"tokenizer={where.tokenizer}", f"data.path={directory}"]
    small = ["train.steps=2", "train.batch_size=8", "train.warmup_steps=0", "train.eval_every=2", "data.held_out=0.3"]
    small += ["evaluation.images=8", "train.checkpoint_dir=null"]
    return read_run_config(recipe("distilled_decoding"), "tiny", [*places, *small, *overrides])


def test_pairs_number_the_texts_of_their_header(pairs, folders):
    store = PairStore(pairs("texts"))
    assert store.texts == CAPTIONS
    assert store.header["conditions"] == 4
    assert store.header["text_encoder"] is None
    assert set(store.labels.tolist()) == {0, 1, 2, 3}
    settings = VerifyPairsConfig(
        pairs=str(pairs("texts")), teacher=str(folders("texts").teacher), tokenizer=str(folders("texts").tokenizer),
        device="cpu", rows=6,
    )  # fmt: skip
    assert verify_pairs(settings) == "6 pairs made again, all 96 codes as stored"


def test_another_list_is_neither_continued_nor_read(pairs, folders, pairs_config, tmp_path):
    directory, where = pairs("texts"), folders("texts")
    (tmp_path / "others.txt").write_text("\n".join(CAPTIONS[::-1]))
    other = f"texts={{file: {tmp_path / 'others.txt'}}}"
    with pytest.raises(ResumeError, match="text_fingerprint was"):
        run_recipe(recipe("noise_code_pairs"), pairs_config(where, directory, other))
    record = json.loads((directory / "stage.json").read_text())
    record["identity"]["texts"] = record["identity"]["texts"][::-1]
    (directory / "stage.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="are not those of its fingerprint"):
        PairStore(directory)


def test_verification_finds_texts_of_another_order(pairs, folders, tmp_path, pairs_config):
    directory, where = pairs("texts"), folders("texts")
    (tmp_path / "others.txt").write_text("\n".join(CAPTIONS[::-1]))
    run_recipe(
        recipe("noise_code_pairs"),
        pairs_config(where, tmp_path / "turned", f"texts={{file: {tmp_path / 'others.txt'}}}"),
    )
    for path in directory.glob("chunk-*"):
        (tmp_path / "turned" / path.name).write_bytes(path.read_bytes())
    settings = VerifyPairsConfig(
        pairs=str(tmp_path / "turned"), teacher=str(where.teacher), tokenizer=str(where.tokenizer), device="cpu", rows=8
    )
    assert len(verify(settings).different) > 4


def test_texts_are_asked_for_where_they_are_needed_alone(folders, pairs_config, tmp_path):
    stage = recipe("noise_code_pairs")
    with pytest.raises(ConfigError, match=r"the teacher is of texts and none were given: give texts\.file"):
        run_recipe(stage, pairs_config(folders("texts"), tmp_path / "a", "texts=null"))
    classes = folders("llamagen")
    with pytest.raises(ConfigError, match="the teacher is of classes: leave them out"):
        run_recipe(stage, pairs_config(classes, tmp_path / "b", *folders("texts").more))
    with pytest.raises(ConfigError, match="given to a model of hashed words"):
        run_recipe(stage, pairs_config(folders("texts"), tmp_path / "c", "text_encoder=flan-t5-xl"))
    with pytest.raises(ConfigError, match="neither was given"):
        PairTexts()
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match="not a single text"):
        list_of(PairTexts(file=str(tmp_path / "empty.txt")))
    with pytest.raises(DataError, match="no text that can be read"):
        list_of(PairTexts(file=str(tmp_path / "nothing.txt")))


def test_texts_of_stored_codes_are_those_of_the_training_pictures(folders, tmp_path):
    tokenizer = folders("texts").tokenizer
    data = "data={kind: shapes, count: 40, size: 16, cache: false}"
    overrides = [f"tokenizer={tokenizer}", data, f"stage={{directory: {tmp_path / 'codes'}, chunk_size: 20}}"]
    run_recipe(recipe("image_codes"), read_run_config(recipe("image_codes"), "tiny", overrides))
    config = CodeDataConfig(str(tmp_path / "codes"), held_out=0.3)
    texts = list_of(PairTexts(captions=config))
    print_ = json.loads((tmp_path / "codes" / "stage.json").read_text())["identity"]["tokenizer"]
    split = {"seed": 0, "tokenizer": print_, "schedule": ScaleSchedule.square(4)}
    seen = [sample["caption"] for sample in build_code_source(config, **split).once()]
    assert texts == tuple(dict.fromkeys(seen))
    every = list_of(PairTexts(captions=CodeDataConfig(str(tmp_path / "codes"))))
    assert set(texts) < set(every)


@pytest.fixture
def trained(folders, pairs, tmp_path):
    """Folders of a student of texts and of its tokenizer, for the command, and of its teacher."""
    where = folders("texts")
    run_recipe(recipe("distilled_decoding"), run_of(where, pairs("texts"), f"train.checkpoint_dir={tmp_path / 'run'}"))
    models = {"checkpoint": str(tmp_path / "run" / "final"), "tokenizer": str(where.tokenizer), "device": "cpu"}
    return models, str(where.teacher)


def test_a_student_is_trained_under_the_texts_of_its_pairs(folders, pairs, trained):
    job = build_job(recipe("distilled_decoding"), run_of(folders("texts"), pairs("texts")))
    assert len(job.objective.texts) == 4
    own = encoded_alone(build_text_encoder(job.models["model"].config.texts), CAPTIONS)
    assert all(torch.equal(one, other) for one, other in zip(job.objective.texts, own, strict=True))
    assert {"held_out_nll_0", "held_out_nll_2"} <= job.evaluate().keys()
    student = load_checkpoint(trained[0]["checkpoint"])
    header = student.provenance["data"]["header"]
    assert "texts" not in header
    assert header["text_fingerprint"] == PairStore(pairs("texts")).header["text_fingerprint"]


def drawn(output, **settings):
    """As ``ar-decode image`` draws."""
    registry.resolve(IMAGE.run)(from_dict(registry.resolve(IMAGE.options), {**settings, "output": str(output)}))
    return np.load(output)["arr_0"], json.loads(output.with_name(f"{output.name}.json").read_text())


def test_images_of_prompts_are_those_of_python(trained, tmp_path):
    models, teacher = trained
    first, record = drawn(tmp_path / "a.npz", **models, prompts=[HEART, CAT], count=5, seed=3)
    assert first.shape == (5, 16, 16, 3)
    assert record["sampling"]["generator"]["prompts"] == [HEART, CAT]
    alone, _ = drawn(tmp_path / "b.npz", **models, prompts=[HEART, "something else"], count=1, seed=3, batch_size=1)
    assert np.abs(alone[0].astype(int) - first[0].astype(int)).max() <= 1
    other, _ = drawn(tmp_path / "c.npz", **models, prompts=[CAT], count=1, seed=3)
    assert (other[0] != first[0]).any()
    helped = {"timesteps": [0, 2], "teacher_start": 0, "teacher": teacher}
    assisted, record = drawn(tmp_path / "d.npz", **models, prompts=[HEART, CAT], count=5, seed=3, decoding=helped)
    assert (assisted != first).any()
    assert record["sampling"]["generator"]["teacher_decoding"]["guidance"] == 2.0
    student, tokenizer = (load_checkpoint(models[name]).model for name in ("checkpoint", "tokenizer"))
    texts = encoded_alone(build_text_encoder(student.config.texts), CAPTIONS)
    made = [generate(student, tokenizer, [number], seed=[5], texts=texts).images for number in (0, 1)]
    assert not torch.equal(made[0], made[1])
    with pytest.raises(DataError, match="text 4 was given and there are 4 texts"):
        generate(student, tokenizer, [4], texts=texts)


def test_what_cannot_be_asked_of_a_student_of_texts(trained, tmp_path):
    models, _ = trained

    def refused(message, **settings):
        with pytest.raises(ConfigError, match=message):
            drawn(tmp_path / "x.npz", **models, **settings)

    refused("draws images of texts: give prompts", labels=[1])
    refused("whose guidance was fixed", prompts=HEART, guidance=2.0)
    refused("negative was given and a llamagen_dd", prompts=HEART, negative=CAT)
    refused("images of one size", prompts=HEART, size=16)
    refused("leave it out", prompts=HEART, text_encoder="flan-t5-xl")
    assert not list(tmp_path.glob("x.npz*"))
