"""The commands on a tiny Infinity with its bitwise tokenizer: prompts in, images and reports out."""

import json
import sys

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ArError, CheckpointError, ConfigError, MissingPackageError
from ar_core.json_document import document, undocumented
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.evaluation import EVAL_IMAGE, EVAL_TOKENIZER, IMAGE
from ar_vision.evaluation.image_set import open_images
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from PIL import Image

SCHEDULES = [[[1, 1], [2, 2], [4, 4], [8, 8]], [[1, 1], [2, 3], [4, 6], [6, 9]]]
BUS, CAT = "a red bus", "a cat on a chair"


def run(command, **settings):
    """As ``ar-decode`` runs an announced command, whose document holds what its help says."""
    result = registry.resolve(command.run)(from_dict(registry.resolve(command.options), settings))
    assert not undocumented(json.loads(document(result.data)), command.fields)
    return result


@pytest.fixture
def make(tmp_path, generator):
    """Folders of an Infinity that takes 32 x 32 pixels, and 24 high by 36 wide, and of its tokenizer."""
    autoencoder = AutoencoderConfig(
        channels=8, channel_multipliers=(1, 1, 1), blocks_per_level=1, latent_channels=6, norm_groups=4, attention=False
    )

    def folders(**changes):
        tokenizer = BsqTokenizer(BsqTokenizerConfig(autoencoder))
        tokenizer.initialize(generator)
        shape = {
            "depth": 2, "width": 32, "heads": 4, "hidden": 64, "bits": 6, "text_width": 24, "text_length": 8, "pool_heads": 2,
            "text_encoder": "hashed", "schedules": SCHEDULES,
        }  # fmt: skip
        model = Infinity(from_dict(InfinityConfig, {**shape, **changes}))
        model.initialize(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
        save_checkpoint(tmp_path / "bsq", tokenizer, provenance={"scales": "1,2,4,8"})
        save_checkpoint(tmp_path / "infinity", model, tokenizer=fingerprint(tokenizer))
        save_checkpoint(tmp_path / "unpaired", model)
        return {"checkpoint": str(tmp_path / "infinity"), "tokenizer": str(tmp_path / "bsq"), "device": "cpu"}

    return folders


@pytest.fixture
def models(make):
    return make()


@pytest.fixture
def draw(models, tmp_path):
    """Images uint8 [N, H, W, 3] of prompts."""

    def images(name, **settings):
        run(IMAGE, **{**models, **settings}, output=str(tmp_path / f"{name}.npz"))
        with np.load(tmp_path / f"{name}.npz") as archive:
            assert "labels" not in archive
            return archive["arr_0"]

    return images


def test_prompts_become_images_and_the_record_holds_them(models, draw, tmp_path):
    line = run(IMAGE, **models, prompts=[BUS, CAT], count=5, seed=3, guidance=2.0, output=str(tmp_path / "a.npz"))
    assert line == f"5 images of 2 prompts by infinity written to {tmp_path / 'a.npz'}"
    record = json.loads((tmp_path / "a.npz.json").read_text())["sampling"]
    assert record["generator"]["prompts"] == [BUS, CAT]
    assert record["generator"]["scales"] == "1,2,4,8"
    assert record["generator"]["decoding"] == {"guidance": 2.0}
    again = draw("b", prompts=[BUS, CAT], count=5, seed=3, guidance=2.0, batch_size=2, chunk_size=3)
    with np.load(tmp_path / "a.npz") as archive:
        difference = np.abs(archive["arr_0"].astype(int) - again.astype(int))
    # Products of other shapes may be rounded otherwise, by a level at most where no draw is decided by it.
    assert again.shape == (5, 32, 32, 3)
    assert difference.max() <= 1
    # Image i is that of prompt i mod 2, whatever the other prompts are.
    alone = draw("c", prompts=[BUS, "something else, much longer"], count=1, seed=3, guidance=2.0)
    assert np.abs(alone[0].astype(int) - again[0].astype(int)).max() <= 1


def test_prompts_that_lose_tokens_are_told_of(draw, capsys):
    long = "a red bus and a cat on a chair"
    whole = draw("long", prompts=[long, BUS], guidance=2.0, negative=f"no {long}")
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning"))
    assert "2 of 3 texts have more than the 8 tokens that the model takes (up to 11)" in said
    kept = draw("kept", prompts=["a red bus and a cat on a mat", BUS], guidance=2.0, negative=f"no {long}")
    assert (whole == kept).all()


def test_every_setting_reaches_the_images(draw):
    settings = {
        "plain": {},
        "one text": {"prompts": BUS},
        "prompt": {"prompts": [CAT, CAT]},
        "seed": {"seed": 1},
        "negative": {"negative": "blurred"},
        "guidance": {"guidance": 3},
        "a guidance a scale": {"guidance": None, "decoding": {"guidance": [1, 1, 3, 3]}},
        "greedy": {"temperature": 0},
        "tau a scale": {"temperature": None, "decoding": {"temperature": [3, 3, 1, 1]}},
        "top_p": {"top_p": 0.6},
    }
    usual = {"prompts": [BUS, BUS], "guidance": 1.5, "temperature": 3, "top_p": 1}
    images = {name: draw(name, **{**usual, **given}) for name, given in settings.items()}
    plain = images.pop("plain")
    assert (images.pop("one text") == plain[:1]).all()
    for name, other in images.items():
        assert (other != plain).any(), name
    assert (plain[0] != plain[1]).any()
    assert (images["greedy"][0] == images["greedy"][1]).all()


def test_shapes_are_those_of_the_model(draw):
    assert draw("ratio", prompts=BUS, ratio=0.7).shape == (1, 24, 36, 3)
    assert draw("size", prompts=BUS, size=[24, 36]).shape == (1, 24, 36, 3)
    assert draw("side", prompts=BUS, size=32).shape == (1, 32, 32, 3)


def test_scales_are_shown_below_their_prompts(models, draw, tmp_path):
    run(IMAGE, **models, prompts=[BUS, CAT], scales=True, output=str(tmp_path / "steps.png"))
    whole = draw("whole", prompts=[BUS, CAT])
    sheet = np.asarray(Image.open(tmp_path / "steps.png"))
    assert sheet.shape[1] == 4 * (96 + 4) + 4
    above = (sheet.shape[0] - 4) // 2 - 96 - 4
    row = [sheet[4 + above : 4 + above + 96 : 3, 4 + k * 100 : 100 + k * 100 : 3] for k in range(4)]
    np.testing.assert_array_equal(row[3], whole[0])
    assert (row[0] != row[3]).any()
    # Words stand above the first image.
    assert sheet[4 : 4 + above, 4:100].min() < 128


def test_a_folder_and_measured_samples(models, tmp_path):
    run(IMAGE, **models, prompts=[BUS, CAT], count=3, output=str(tmp_path / "folder"))
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        f"00000{number}.png" for number in range(3)
    ]
    folder = str(tmp_path / "folder")
    settings = {
        "train": folder,
        "reference": folder,
        "metrics": ["nearest_training"],
        "output": str(tmp_path / "r.json"),
    }
    run(EVAL_IMAGE, **models, prompts=[BUS, CAT], per_class=2, **settings)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["samples"]["images"] == 4
    assert open_images(str(tmp_path / "r.samples")).labels is None


def test_checkpoints_in_half_precision_draw(models, draw, tmp_path):
    from ar_vision.checkpoint import load_checkpoint

    tokenizer = load_checkpoint(models["tokenizer"]).model.half()
    save_checkpoint(tmp_path / "half_bsq", tokenizer)
    save_checkpoint(
        tmp_path / "half", load_checkpoint(models["checkpoint"]).model.half(), tokenizer=fingerprint(tokenizer)
    )
    halves = {"checkpoint": str(tmp_path / "half"), "tokenizer": str(tmp_path / "half_bsq")}
    assert draw("half", prompts=[BUS], **halves).shape == (1, 32, 32, 3)


def test_a_tokenizer_of_bits_is_measured(models, tmp_path, generator):
    np.savez(tmp_path / "i.npz", torch.randint(256, (5, 32, 32, 3), generator=generator, dtype=torch.uint8).numpy())
    said = run(
        EVAL_TOKENIZER, tokenizer=models["tokenizer"], images=str(tmp_path / "i.npz"), device="cpu",
        output=str(tmp_path / "t.json"),
    )  # fmt: skip
    report = json.loads((tmp_path / "t.json").read_text())
    assert set(report["metrics"]) == {"psnr", "ssim", "bit_entropy"}
    assert 0 < report["metrics"]["bit_entropy"] <= 1
    assert report["tokenizer"]["kind"] == "bsq"
    assert report["settings"]["scales"] == "1,2,4,8"
    assert f"bit_entropy: {report['metrics']['bit_entropy']:.4g}" in said.splitlines()


def refused(error, says, **settings):
    with pytest.raises(error) as caught:
        run(IMAGE, **settings)
    assert isinstance(caught.value, ArError)
    assert says in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_drawn_is_one_sentence(models, tmp_path):
    good = {**models, "output": str(tmp_path / "a.npz"), "prompts": BUS}
    refused(ConfigError, "draws images of texts: give prompts", **{**good, "prompts": None})
    refused(ConfigError, "labels and prompts were both given", **good, labels=[1])
    refused(ConfigError, "prompts is empty", **{**good, "prompts": []})
    refused(ConfigError, "negative was given without prompts", **{**good, "prompts": None}, negative="dark")
    refused(ConfigError, "negative was given and guidance is 1", **good, negative="dark", guidance=1)
    refused(ConfigError, "was given to a model of hashed words: leave it out", **good, text_encoder="flan-t5-xl")
    refused(ConfigError, "the model's scales end with 6x9, 8x8", **good, size=64)
    refused(ConfigError, "size and ratio were both given", **good, size=32, ratio=1)
    refused(ConfigError, "the ratio 0.0 was given", **good, ratio=0)
    refused(ConfigError, "has scales of its own", **good, pixels="1M")
    refused(ConfigError, "guidance has 2 values for 4 scales", **good, decoding={"guidance": [1, 2]})
    refused(ConfigError, "temperature is -1", **good, temperature=-1)
    refused(ConfigError, "unknown key 'decoding.cfg'", **good, decoding={"cfg": 3})
    assert not list(tmp_path.glob("a.npz"))


def test_long_prompts_lose_what_is_behind_the_length(draw):
    words = "one two three four five six seven"
    assert (draw("long", prompts=f"{words} eight nine") == draw("short", prompts=words)).all()


def test_tokenizers_of_other_models_are_refused(models, tmp_path, tiny_autoencoder, generator):
    codes = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
    codes.initialize(generator)
    save_checkpoint(tmp_path / "vq", codes)
    other = BsqTokenizer(from_dict(BsqTokenizerConfig, {"autoencoder": {"channels": 8, "norm_groups": 4}}))
    other.initialize(generator)
    save_checkpoint(tmp_path / "other", other)
    good = {**models, "output": str(tmp_path / "a.npz"), "prompts": BUS}
    refused(CheckpointError, "was trained with the tokenizer", **{**good, "tokenizer": str(tmp_path / "vq")})
    refused(CheckpointError, "was trained with the tokenizer", **{**good, "tokenizer": str(tmp_path / "other")})
    unpaired = {**good, "checkpoint": str(tmp_path / "unpaired")}
    refused(CheckpointError, "whose codes are those of a bsq", **{**unpaired, "tokenizer": str(tmp_path / "vq")})
    refused(CheckpointError, "is for codes with bits 6", **{**unpaired, "tokenizer": str(tmp_path / "other")})
    refused(CheckpointError, "holds a generator", **{**good, "tokenizer": good["checkpoint"]})


def test_a_t5_is_asked_for_by_path(make, tmp_path, monkeypatch):
    good = {**make(text_encoder="t5"), "output": str(tmp_path / "a.npz"), "prompts": BUS}
    refused(
        ConfigError, "takes features of a T5 and none is given: give the folder of its encoder as text_encoder", **good
    )
    pytest.importorskip("transformers")
    refused(CheckpointError, "no T5 encoder can be read from", **good, text_encoder=str(tmp_path / "nothing"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(MissingPackageError, "pip install 'ar-vision[text]'", **good, text_encoder=str(tmp_path / "nothing"))


def test_images_are_drawn_from_a_t5(make, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "red": 3, "bus": 4, "cat": 5}
    plain = tokenizers.Tokenizer(WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(tmp_path / "t5")
    torch.manual_seed(0)
    shape = {"vocab_size": 6, "d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 3}
    transformers.T5EncoderModel(transformers.T5Config(**shape)).save_pretrained(tmp_path / "t5")
    models = make(text_encoder="t5")
    run(IMAGE, **models, prompts=["red bus", "cat"], text_encoder=str(tmp_path / "t5"), output=str(tmp_path / "a.npz"))
    with np.load(tmp_path / "a.npz") as archive:
        assert (archive["arr_0"][0] != archive["arr_0"][1]).any()
