"""What users can get wrong in the image commands: one sentence each, before anything is written."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ArError, CheckpointError, ConfigError, DataError, NumericsError
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.evaluation import EVAL_IMAGE, EVAL_TOKENIZER, IMAGE
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from safetensors.torch import load_file, save_file


def run(command, **settings):
    """As ``ar-decode`` runs an announced command."""
    return registry.resolve(command.run)(from_dict(registry.resolve(command.options), settings))


def refused(command, error, says, **settings):
    with pytest.raises(error) as caught:
        run(command, **settings)
    assert isinstance(caught.value, ArError)
    assert says in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_settings_of_image_are_one_sentence(models, tmp_path):
    out = str(tmp_path / "a.npz")
    refused(IMAGE, ConfigError, "'output' is missing", **models)
    refused(IMAGE, ConfigError, "'tokenizer' is missing", checkpoint=models["checkpoint"], output=out)
    refused(
        IMAGE,
        DataError,
        "the label 4 was given: classes run from 0 to 2, and 3 stands for no class",
        **models,
        labels=[4],
        output=out,
    )
    refused(IMAGE, ConfigError, "top_k is 0", **models, top_k=0, output=out)
    refused(IMAGE, ConfigError, "unknown key 'decoding.smooth'", **models, decoding={"smooth": True}, output=out)
    refused(
        IMAGE,
        ConfigError,
        "guidance was given by itself and in",
        **models,
        guidance=2.0,
        decoding={"guidance": 1.0},
        output=out,
    )
    refused(IMAGE, ConfigError, "count is 0", **models, count=0, output=out)
    refused(IMAGE, ConfigError, "scales shows steps in a grid", **models, scales=True, output=out)
    refused(IMAGE, ConfigError, "has no scales to show", **models, scales=True, output=str(tmp_path / "a.png"))
    refused(IMAGE, ConfigError, "do not fit in a grid", **models, count=5000, output=str(tmp_path / "a.png"))
    refused(IMAGE, CheckpointError, "holds a tokenizer", **{**models, "checkpoint": models["tokenizer"]}, output=out)
    assert not list(tmp_path.glob("a.*"))
    Path(out).touch()
    refused(IMAGE, ConfigError, "exists already", **models, output=out)


def test_another_tokenizer_is_refused(models, tmp_path, tiny_autoencoder, generator):
    other = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=16, code_dim=4))
    other.initialize(generator)
    save_checkpoint(tmp_path / "other", other)
    refused(
        IMAGE, CheckpointError, "was trained with the tokenizer", **{**models, "tokenizer": str(tmp_path / "other")},
        output=str(tmp_path / "a.npz"),
    )  # fmt: skip


def test_wrong_settings_of_the_evaluations_are_one_sentence(models, features, tmp_path):
    out = str(tmp_path / "r.json")
    npz = str(tmp_path / "s.npz")
    np.savez(npz, np.zeros((9, 32, 32, 3), np.uint8))
    refused(EVAL_IMAGE, ConfigError, "give either samples", output=out)
    refused(EVAL_IMAGE, ConfigError, "give either samples", **models, samples=npz, output=out)
    refused(EVAL_IMAGE, ConfigError, "must end in .json", samples=npz, output=npz)
    refused(EVAL_IMAGE, ConfigError, "nothing to measure", samples=npz, output=out)
    refused(EVAL_IMAGE, ConfigError, "which is none of", samples=npz, metrics=["fid"], output=out)
    refused(EVAL_IMAGE, ConfigError, "per_class is 0", **models, per_class=0, output=out)
    refused(
        EVAL_IMAGE, DataError, "frechet[resnet20-cifar10] needs more than 64 sample images", samples=npz, reference=npz,
        features=features, device="cpu", output=out,
    )  # fmt: skip
    refused(EVAL_TOKENIZER, ConfigError, "must end in .json", tokenizer=models["tokenizer"], images=npz, output="a")
    refused(
        EVAL_TOKENIZER, CheckpointError, "holds a generator", tokenizer=models["checkpoint"], images=npz, output=out
    )
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "nothing to measure: give features, or a reference and training images"),
        ({"train": "b"}, "train is given without reference, and nearest_training needs both"),
        (
            {"settings_of_metrics": {"neighbours": 9}},
            "precision_recall is not measured, and neighbours would change nothing",
        ),
        ({"settings_of_metrics": {"splits": 9}, "metrics": ["class_accuracy"]}, "and splits would change nothing"),
        ({"settings_of_metrics": {"nearest": 9}, "metrics": ["class_score"]}, "and nearest would change nothing"),
        ({"train": "b", "reference": "b", "metrics": ["frechet"]}, "and train would change nothing"),
        ({"reference": "b", "metrics": ["class_score"]}, "and reference would change nothing"),
    ],
)
def test_what_no_metric_reads_is_refused_before_images_are_drawn(
    models, features, archive, tmp_path, monkeypatch, settings, says
):
    monkeypatch.setattr("ar_vision.evaluation.eval_image_command.drawn", None)
    given = {name: archive() if value == "b" else value for name, value in settings.items()}
    if "settings_of_metrics" in given:
        given["features"] = features
    refused(EVAL_IMAGE, ConfigError, says, **models, **given, output=str(tmp_path / "r.json"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labels": [10**30]}, "are no list of whole numbers"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": -1.0}, "guidance is -1.0; it must be a number of at least 0"),
        ({"temperature": 1e-40}, "it must be 0, which is greedy, or at least 1e-06"),
        ({"decoding": {"guidance_interval": -1}}, "the guidance interval is -1"),
        ({"columns": 3}, "which is no grid (.png), and columns would change nothing"),
        ({"class_names": ["a"]}, "and class_names would change nothing"),
        ({"output": ""}, "exists already"),
        ({"output": "grid.jpg"}, "output is 'grid.jpg', and images are written as a grid (.png), an archive"),
        ({"dtype": "float8"}, "which is none of 'auto', 'stored', 'float32'"),
        ({"labels": []}, "labels is empty"),
        ({"shard": "0/0"}, "shard is '0/0'"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_settings_that_are_none_or_would_change_nothing(models, tmp_path, monkeypatch, settings, says):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    refused(IMAGE, ArError, says, **{**models, "output": str(tmp_path / "a.npz"), **settings})
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("settings", [{"shard": "1/2"}, {"chunk_size": 3}, {"scales": True, "columns": 3}])
def test_settings_that_a_grid_does_not_read(models, tmp_path, settings):
    refused(IMAGE, ConfigError, "would change nothing", **models, output=str(tmp_path / "a.png"), **settings)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c", "d"]])
def test_every_class_has_one_name(models, tmp_path, names):
    says = f"class_names has {len(names)} names for 3 classes: give one for each"
    refused(IMAGE, ConfigError, says, **models, labels=[0], class_names=names, output=str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer": "vq"}, {"labels": [1]}, {"prompts": "a cat"}, {"guidance": 2.0}, {"temperature": 1.0}, {"seed": 1},
        {"decoding": {"top_k": 3}}, {"batch_size": 2}, {"dtype": "float16"}, {"per_class": 3}, {"directory": "here"},
    ],
)  # fmt: skip
def test_samples_that_are_given_are_not_drawn_by_settings(tmp_path, settings):
    (name,) = settings
    refused(
        EVAL_IMAGE, ConfigError, f"samples are given, which are drawn already, and {name} would change nothing",
        samples="s.npz", output=str(tmp_path / "r.json"), **settings,
    )  # fmt: skip


def test_a_tokenizer_of_another_kind_is_refused_where_none_is_recorded(models, scale_models, tmp_path):
    var, out = scale_models("var"), str(tmp_path / "a.npz")
    for own, kind, other in ((models, "llamagen", var), (var, "var", models)):
        unpaired = str(tmp_path / f"unpaired_{kind}")
        save_checkpoint(unpaired, load_checkpoint(own["checkpoint"]).model)
        given = {"checkpoint": unpaired, "tokenizer": other["tokenizer"], "device": "cpu"}
        refused(IMAGE, CheckpointError, f"is a {kind}, whose codes are those of a", **given, output=out)


def test_weights_that_overflow_are_found_while_drawing(scale_models, tmp_path):
    models = scale_models("var")
    file = Path(models["checkpoint"]) / "model.safetensors"
    save_file({name: tensor * 1e30 if tensor.ndim > 1 else tensor for name, tensor in load_file(file).items()}, file)
    refused(IMAGE, NumericsError, "logits are not numbers", **models, output=str(tmp_path / "a.npz"))


@pytest.fixture
def archive(tmp_path, generator):
    """Writes an archive of eighty noisy images of 32 x 32 pixels, other arrays beside or in the place of them."""
    images = torch.randint(0, 256, (80, 32, 32, 3), generator=generator, dtype=torch.uint8).numpy()

    def write(name="images.npz", **arrays):
        np.savez(tmp_path / name, **{"arr_0": images, **arrays})
        return str(tmp_path / name)

    return write


def test_damaged_archives(archive, tmp_path):
    out, path = str(tmp_path / "r.json"), Path(archive())
    whole = path.read_bytes()

    def damaged(says, **arrays):
        given = archive("bad.npz", **arrays) if arrays else str(tmp_path / "bad.npz")
        refused(EVAL_IMAGE, DataError, says, samples=given, train=str(path), reference=str(path), output=out)

    for cut in (10, len(whole) // 2, len(whole) - 10):
        (tmp_path / "bad.npz").write_bytes(whole[:cut])
        damaged("is no readable archive")
    (tmp_path / "bad.npz").write_bytes(whole[:50_000] + b"x" * 9 + whole[50_009:])
    damaged("is no readable archive")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_LZMA) as target:
        target.writestr("arr_0.npy", source.read("arr_0.npy"))
    packed = (tmp_path / "bad.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(packed[:200] + bytes(byte ^ 255 for byte in packed[200:220]) + packed[220:])
    damaged("its header is damaged")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "bad.npz", "w") as target:
        target.writestr("arr_0.npy", source.read("arr_0.npy")[:5000])
    damaged("ends within image 1 of 80")
    damaged("is no plain NumPy array", labels=np.array([None] * 80, dtype=object))
    damaged("must be uint8 [N, H, W, 3]", arr_0=np.zeros((3, 32, 32), np.uint8))
    damaged("is <U1 and must be numbers", mu=np.array(["a"]))
    assert not Path(out).exists()


def test_folders_that_no_run_of_the_protocol_wrote(archive, tmp_path):
    folder, out = tmp_path / "stage", str(tmp_path / "r.json")
    folder.mkdir()
    for text, says in (("{}", "is no record of a data-making recipe"), ("[", "cannot be read")):
        (folder / "stage.json").write_text(text)
        refused(EVAL_IMAGE, DataError, says, samples=str(folder), reference=archive(), train=archive(), output=out)


def test_images_and_scales_that_do_not_fit_the_tokenizer(models, archive, generator, tmp_path):
    given = {"tokenizer": models["tokenizer"], "device": "cpu", "output": str(tmp_path / "r.json")}
    for scales in ([4], [16], [2, 4]):
        refused(
            EVAL_TOKENIZER,
            ConfigError,
            "pixels have 8x8 codes: give scales that",
            **given,
            images=archive(),
            scales=scales,
        )
    odd = archive("odd.npz", arr_0=np.zeros((9, 30, 33, 3), np.uint8))
    refused(EVAL_TOKENIZER, DataError, "multiples of 4", **given, images=odd)
    refused(EVAL_TOKENIZER, ConfigError, "without lpips", **given, images=odd, lpips_minimum_size=32)
    config = Path(models["tokenizer"]) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "provenance": {"scales": "a,b"}}))
    refused(EVAL_TOKENIZER, CheckpointError, "records the scales 'a,b', which are none", **given, images=archive())
