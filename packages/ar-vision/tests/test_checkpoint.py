import json
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.io import read_tensors, write_tensors
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from ar_vision.checkpoint import Loaded, fingerprint, load_checkpoint, require_codebook, require_pair, save_checkpoint
from ar_vision.data.codes.config import CodeDataConfig
from ar_vision.families import family
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer


def tokenizer(seed=0, vocab_size=16):
    autoencoder = AutoencoderConfig(channels=8, channel_multipliers=(1, 2), latent_channels=4, norm_groups=4)
    model = VqTokenizer(VqTokenizerConfig(autoencoder=autoencoder, vocab_size=vocab_size, code_dim=4))
    model.initialize(torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path / "vq", tokenizer(), provenance={"data": "none"})
    return tmp_path / "vq"


def test_a_model_comes_back_as_it_was(folder):
    loaded = load_checkpoint(folder, "tokenizer")
    assert (loaded.family.kind, loaded.tokenizer, loaded.provenance) == ("vq", None, {"data": "none"})
    assert not loaded.model.training
    assert loaded.model.config == tokenizer().config
    for name, value in tokenizer().state_dict().items():
        assert loaded.model.state_dict()[name].equal(value), name


def test_the_stored_dtype_stays(folder):
    save_checkpoint(folder, tokenizer().bfloat16())
    assert {value.dtype for value in load_checkpoint(folder).model.state_dict().values()} == {torch.bfloat16}


def test_of_several_stored_dtypes_the_one_that_holds_all_is_taken(folder):
    tensors = read_tensors(folder / "model.safetensors")
    first = "encoder.conv_in.weight"
    write_tensors(folder / "model.safetensors", {first: tensors.pop(first).bfloat16(), **tensors})
    loaded = load_checkpoint(folder).model
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    assert loaded.codebook.weight.equal(tensors["codebook.weight"])


def test_loading_draws_nothing_and_never_holds_wider_weights(folder, monkeypatch):
    save_checkpoint(folder, tokenizer().bfloat16())
    made = []
    to_empty = torch.nn.Module.to_empty
    monkeypatch.setattr(
        torch.nn.Module, "to_empty", lambda self, **where: (made.extend(self.parameters()), to_empty(self, **where))[1]
    )
    state = torch.get_rng_state()
    load_checkpoint(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert {(part.dtype, part.device.type) for part in made} == {(torch.bfloat16, "meta")}


def test_a_fingerprint_tells_weights_and_configs_apart(folder):
    own = fingerprint(tokenizer())
    assert own == fingerprint(load_checkpoint(folder).model)
    assert len({own, fingerprint(tokenizer(1)), fingerprint(tokenizer(vocab_size=17))}) == 3


def edit(folder, **changes):
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | changes))


def poison(folder):
    tensors = read_tensors(folder / "model.safetensors")
    tensors["codebook.weight"][3, 1] = torch.nan
    write_tensors(folder / "model.safetensors", tensors)


def drop(folder):
    tensors = read_tensors(folder / "model.safetensors")
    tensors["codebook.weights"] = tensors.pop("codebook.weight")
    write_tensors(folder / "model.safetensors", tensors)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "config.json").unlink(), "is no checkpoint folder .*ar-train convert"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is no description of an image model"),
        (lambda folder: edit(folder, kind=3), "'kind' is missing or of another type"),
        (lambda folder: edit(folder, kind="vqq"), "of the kind 'vqq', which is unknown; did you mean 'vq'"),
        (lambda folder: edit(folder, config={"vocab": 3}), "does not describe a vq .*unknown key 'vocab'"),
        (lambda folder: edit(folder, config={}), "does not fit the VqTokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"PK\3\4" + bytes(64)), "it is a pickle"),
        (drop, "lacks codebook.weight; it has codebook.weights"),
        (poison, "values in 'codebook.weight' that are not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_said_in_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(folder)


def test_the_other_role_is_refused(folder):
    with pytest.raises(CheckpointError, match=r"holds a tokenizer \(vq\), and a generator is needed"):
        load_checkpoint(folder, "generator")


def test_a_generator_goes_with_its_own_tokenizer_only(folder):
    right = load_checkpoint(folder)
    save_checkpoint(folder.parent / "other", tokenizer(1))
    wrong = load_checkpoint(folder.parent / "other")
    generator = Loaded(torch.nn.Identity(), family("var"), fingerprint(right.model), path=folder)
    require_pair(generator, right)
    with pytest.raises(CheckpointError, match=r"was trained with the tokenizer .* and .*other is"):
        require_pair(generator, wrong)


def test_models_of_codes_take_no_tokenizer_of_bits(folder):
    require_codebook(load_checkpoint(folder))
    autoencoder = AutoencoderConfig(8, (1, 1), attention=False, latent_channels=4, norm_groups=4)
    bits = BsqTokenizer(BsqTokenizerConfig(autoencoder))
    bits.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(folder, bits)
    with pytest.raises(CheckpointError, match=r"holds a bsq, whose codes are bits.*give a var_vqvae or a vq"):
        require_codebook(load_checkpoint(folder))
    for name in ("llamagen", "var", "flexvar"):
        found = recipe(name)
        run = read_run_config(found, "tiny", [])
        if name == "llamagen":
            run = replace(
                run, data=replace(run.data, codes=CodeDataConfig("none"), generated=None), tokenizer=str(folder)
            )
        else:
            run = replace(run, tokenizer=str(folder))
        with pytest.raises(CheckpointError, match="holds a bsq"):
            build_job(found, run)
