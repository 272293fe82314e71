"""LlamaGen on captions: from stored codes with texts to images of prompts."""

import json
import math

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError, DataError
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config, run_recipe
from ar_vision.backbones.llamagen.conditions import left_padded, pad_texts
from ar_vision.backbones.llamagen.config import LlamaGenConfig, LlamaGenTraining
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.llamagen.objective import TERM, LlamaGenObjective
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.evaluation import IMAGE
from ar_vision.text.encoder import build_text_encoder, encoded_alone
from ar_vision.text.text import Text
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer

TEXTS = ["heart", "a red heart on white", ""]


@pytest.fixture
def model():
    """Of hashed texts and 4 codes, every weight of which matters."""
    config = LlamaGenConfig(
        layers=1, heads=2, dim=16, vocab_size=16, grid=2, condition="text", text_encoder="hashed", text_dim=12,
        text_tokens=6,
    )  # fmt: skip
    model, generator = LlamaGen(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.eval()


def test_texts_padded_behind_are_laid_out_as_single_ones(model):
    encoder = build_text_encoder(model.config.texts)
    together, alone = encoder.encode(TEXTS), encoded_alone(encoder, TEXTS)
    found, expected = left_padded(together, 6), pad_texts(alone, model.config)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert found[1].tolist() == [[False] * 4 + [True] * 2, [True] * 6, [False] * 5 + [True]]
    # What lies behind the ends may be anything.
    dirty = Text(together.features.masked_fill(~together.valid[..., None], 7.0), together.valid)
    torch.testing.assert_close(left_padded(dirty, 6)[0], expected[0])
    assert pad_texts([torch.zeros(0, 12)], model.config)[1].sum() == 0


def test_captions_train_as_their_features_do(model):
    encoder = build_text_encoder(model.config.texts)
    codes = torch.randint(16, (3, 4), generator=torch.Generator().manual_seed(1))
    common = [{"index": n, "codes": codes[n]} for n in range(3)]
    captioned = [{**one, "caption": text} for one, text in zip(common, TEXTS, strict=True)]
    featured = [{**one, "features": f} for one, f in zip(common, encoded_alone(encoder, TEXTS), strict=True)]
    training = LlamaGenTraining(condition_dropout=0.5)
    sums = []
    for samples, text in ((captioned, encoder), (featured, None)):
        objective = LlamaGenObjective(model.config, training, text)
        prepared = objective.prepare(samples, SampleRng(1))
        assert prepared.tensors["dropped"].unique().tolist() == [False, True]
        sums.append(float(objective.sums({"model": model, "text": encoder}, prepared)[TERM].detach()))
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)
    with pytest.raises(DataError, match="sample 0 has no 'caption'"):
        LlamaGenObjective(model.config, training, encoder).prepare(common, SampleRng(1))


@pytest.fixture
def stored(tiny_autoencoder, tmp_path):
    """A folder with a tokenizer of 4 pixels a code, and codes and captions of drawn pictures, 2 x 2 each."""
    tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
    tokenizer.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "tokenizer", tokenizer)
    entries = [f"tokenizer={tmp_path / 'tokenizer'}", "data={kind: shapes, count: 60, size: 8, cache: false}"]
    entries.append(f"stage={{directory: {tmp_path / 'codes'}, chunk_size: 20}}")
    run_recipe(recipe("image_codes"), read_run_config(recipe("image_codes"), "tiny", entries))
    return tmp_path


def run_of(folder, *overrides, config="emoji"):
    entries = [f"data={{codes: {{path: {folder / 'codes'}, held_out: 0.2}}}}", f"tokenizer={folder / 'tokenizer'}"]
    entries += ["model.grid=2", "model.vocab_size=16", "train.steps=12", "train.eval_every=12", "train.batch_size=8"]
    entries += ["train.precision=fp32", "train.warmup_steps=0", f"train.checkpoint_dir={folder / 'run'}"]
    return read_run_config(recipe("llamagen"), config, [*entries, *overrides])


def test_codes_with_captions_train_a_model_of_texts(stored):
    result = run_recipe(recipe("llamagen"), run_of(stored))
    assert result.losses[-1] < result.losses[0]
    assert 0 < result.evaluation["held_out_nll"] < math.log(16)
    loaded = load_checkpoint(stored / "run" / "final", "generator")
    assert loaded.model.config.texts == ("hashed", 64, 12)
    assert not any(name.startswith("text") for name in loaded.model.state_dict())
    job = build_job(recipe("llamagen"), run_of(stored))
    assert job.models.keys() == {"model", "text"}
    assert {name for player in job.objective.players() for name in player.models} == {"model"}


def test_runs_of_texts_that_cannot_be_are_refused(stored):
    with pytest.raises(ConfigError, match="there are no captions to encode"):
        run_of(stored, "model.condition=class", "model.text_encoder=null", "text_encoder=t5")
    with pytest.raises(ConfigError, match="set condition to text, or leave it out"):
        run_of(stored, "model.condition=class")
    with pytest.raises(ConfigError, match="given to a model of hashed words"):
        build_job(recipe("llamagen"), run_of(stored, "text_encoder=flan-t5-xl"))
    rng = np.random.default_rng(0)
    np.savez(stored / "plain.npz", images=rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8))
    entries = [f"tokenizer={stored / 'tokenizer'}", f"data={{path: {stored / 'plain.npz'}, size: 8, cache: false}}"]
    entries.append(f"stage={{directory: {stored / 'plain'}, chunk_size: 20}}")
    run_recipe(recipe("image_codes"), read_run_config(recipe("image_codes"), "tiny", entries))
    with pytest.raises(DataError, match="have no captions: encode pictures that have some"):
        build_job(recipe("llamagen"), run_of(stored, f"data={{codes: {{path: {stored / 'plain'}}}}}"))


def test_fingerprints_are_those_from_before_texts_had_encoders():
    """Recorded before the setting existed: pairs and stored log-probabilities name such models."""
    model = LlamaGen(LlamaGenConfig(layers=1, heads=1, dim=4, vocab_size=4, grid=2, num_classes=2))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(number / 8)
    assert fingerprint(model) == "7d3704660c298d89"
    hashed, plain = (
        LlamaGen(LlamaGenConfig(layers=1, heads=1, dim=4, condition="text", text_encoder=name)) for name in ("hashed", None)
    )  # fmt: skip
    hashed.load_state_dict(plain.state_dict())
    assert fingerprint(hashed) != fingerprint(plain)


@pytest.fixture
def models(model, stored):
    """Folders, as the command takes them."""
    tokenizer = load_checkpoint(stored / "tokenizer").model
    save_checkpoint(stored / "model", model, tokenizer=fingerprint(tokenizer))
    return {"checkpoint": str(stored / "model"), "tokenizer": str(stored / "tokenizer"), "device": "cpu"}


def drawn(output, **settings):
    registry.resolve(IMAGE.run)(from_dict(registry.resolve(IMAGE.options), {**settings, "output": str(output)}))
    with np.load(output) as archive:
        return archive["arr_0"].astype(int)


def test_prompts_become_images_whatever_the_others_are(models, tmp_path):
    usual = {**models, "prompts": ["heart", "a cat"], "count": 6, "seed": 3, "guidance": 3.0}
    first = drawn(tmp_path / "a.npz", **usual)
    assert first.shape == (6, 8, 8, 3)
    record = json.loads((tmp_path / "a.npz.json").read_text())["sampling"]["generator"]
    assert record["prompts"] == ["heart", "a cat"]
    assert record["scales"] == "2"
    again = drawn(tmp_path / "b.npz", **{**usual, "batch_size": 2, "chunk_size": 4})
    assert np.abs(first - again).max() <= 1
    alone = drawn(tmp_path / "c.npz", **{**usual, "prompts": ["heart", "something much longer than that"], "count": 1})
    assert np.abs(alone[0] - first[0]).max() <= 1
    for name, change in {"g": {"guidance": 1.0}, "s": {"seed": 4}, "p": {"prompts": ["a cat", "heart"]}}.items():
        assert (drawn(tmp_path / f"{name}.npz", **{**usual, **change}) != first).any(), name


def test_prompts_that_lose_tokens_are_told_of(models, tmp_path, capsys):
    drawn(tmp_path / "a.npz", **models, prompts=["heart", "a " * 999])
    assert "warning: 1 of 2 texts have more than the" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_one_sentence(models, tmp_path):
    def refused(message, **settings):
        with pytest.raises(ConfigError, match=message) as caught:
            drawn(tmp_path / "x.npz", **models, **settings)
        assert "\n" not in str(caught.value)

    refused("draws images of texts: give prompts", labels=[0])
    refused("prompts is empty", prompts=[])
    refused("negative was given and a llamagen", prompts="heart", negative="cat")
    refused("images of one size: leave out size, ratio and pixels", prompts="heart", ratio=0.5)
    refused("was given to a model of hashed words", prompts="heart", text_encoder="t5")
    assert not list(tmp_path.glob("x.npz*"))
