"""`ar-decode sr`, `eval-sr` and `degrade`: files in, files out, one sentence for what cannot be used."""

import json

import numpy as np
import pytest
import torch
from ar_core.errors import ArError, CheckpointError, ConfigError, DataError, MissingPackageError
from ar_core.json_document import undocumented
from ar_core.registry import commands
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.evaluation.generation import open_generator
from ar_vision.nsarm import DEGRADE, EVAL_SR, SR
from ar_vision.nsarm.degradation.config import SWEEP
from ar_vision.nsarm.degrade_command import DegradeConfig, degrade_picture
from ar_vision.nsarm.eval_command import EvalSrConfig, evaluate_sr
from ar_vision.nsarm.measure import summarised
from ar_vision.nsarm.no_reference import METRICS, open_no_reference
from ar_vision.nsarm.sr_command import SrConfig, upscale_files
from PIL import Image


@pytest.fixture
def folders(nsarm, tokenizer, tmp_path):
    save_checkpoint(tmp_path / "tokenizer", tokenizer)
    provenance = {"prompt": "a photograph"}
    save_checkpoint(tmp_path / "nsarm", nsarm, tokenizer=fingerprint(tokenizer), provenance=provenance)
    save_checkpoint(tmp_path / "infinity", nsarm.transformer, tokenizer=fingerprint(tokenizer))
    return tmp_path


FIGURES = (("mean", 4), ("mean_of_variances", 3), ("variance_of_means", 3))
"""Of a row of the table, with their digits."""


@pytest.fixture
def upscaled(folders):
    def run(name, output, **settings):
        own = {"checkpoint": str(folders / "nsarm"), "tokenizer": str(folders / "tokenizer"), "device": "cpu"}
        return upscale_files(SrConfig(input=str(folders / name), output=folders / output, **own | settings))

    return run


def pixels(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_the_commands_are_announced():
    assert {"sr", "eval-sr", "degrade"} <= commands().keys()


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("rgb.png", Image.fromarray(pixels(5, 9))),
        ("one.png", Image.fromarray(pixels(1, 1))),
        ("grey.png", Image.fromarray(pixels(4, 4, 1)[..., 0])),
        ("clear.png", Image.fromarray(pixels(4, 6, 4))),
        ("deep.png", Image.fromarray(np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4))),
        ("palette.png", Image.fromarray(pixels(4, 4)).convert("P")),
        ("cmyk.jpg", Image.fromarray(pixels(8, 4)).convert("CMYK")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pictures_of_every_kind_are_upscaled(folders, upscaled, name, picture):
    """Tiny, grey, RGBA, 16-bit: the rule of `ar_core.pictures`."""
    picture.save(folders / name)
    line = upscaled(name, "out.png")
    with Image.open(folders / "out.png") as found:
        assert found.mode == "RGB"
        assert found.size == (4 * picture.width, 4 * picture.height)
    record = json.loads((folders / "out.png.json").read_text())
    assert record["pictures"][0]["text"] == "a photograph"
    assert record["upscaling"]["colour"] == "both"
    assert record["upscaling"]["decoding"] == {"input_resize": "bilinear"}
    phases = record["pictures"][0]["phases"]
    # End to end: the text and the scales of the map count too.
    assert {"text", "map", "scale", "history", "pixels", "blend", "colour"} == phases.keys()
    assert record["seconds"] >= record["pictures"][0]["seconds"] >= sum(phases.values()) * 0.99
    assert "1 pictures in" in line
    assert not undocumented(line.data, SR.fields)


def test_what_cannot_be_used_is_refused_in_one_sentence(folders, upscaled, monkeypatch):
    (folders / "empty.png").write_bytes(b"")
    (folders / "text.png").write_text("no picture")
    Image.fromarray(pixels(40, 40)).save(folders / "whole.png")
    (folders / "half.png").write_bytes((folders / "whole.png").read_bytes()[:800])
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(folders / "float.tiff")
    cases = {
        "empty.png": "is empty",
        "text.png": "is no picture in a format",
        "half.png": "is truncated or damaged",
        "float.tiff": "has the mode 'F'",
        "absent.png": "cannot be read",
    }
    for name, sentence in cases.items():
        with pytest.raises(DataError, match=sentence) as raised:
            upscaled(name, "out.png")
        assert str(raised.value).count("\n") == 0
    monkeypatch.setattr("ar_vision.nsarm.upscaler.MAX_PIXELS", 40 * 40 * 16 - 1)
    with pytest.raises(
        DataError, match=r"whole\.png: a photograph of 40 x 40 pixels was given, whose result would have more"
    ):
        upscaled("whole.png", "out.png")
    monkeypatch.undo()
    for wrong, sentence in (
        ({"checkpoint": str(folders / "infinity")}, r"holds a generator .infinity., and an upscaler is needed"),
        ({"checkpoint": str(folders / "tokenizer")}, "an upscaler is needed"),
        ({"text_encoder": "t5"}, "was given to a model of hashed words"),
        ({"decoding": {"temperature": 1.0}, "temperature": 0.5}, "temperature was given by itself and in decoding"),
        ({"decoding": {"input_size": 3}}, "input_size"),
        ({"background": (0, 0, 300)}, "background is"),
        ({"overlap": 3}, "overlap is 3"),
    ):
        with pytest.raises(ArError, match=sentence):
            upscaled("whole.png", "out.png", **wrong)
    with pytest.raises(ConfigError, match=r"give a \.png for one picture"):
        upscaled("whole.png", "folder")
    assert not (folders / "out.png").exists()


def test_a_folder_and_captions_are_upscaled_and_seeds_are_the_pictures_own(folders, upscaled):
    (folders / "some").mkdir()
    for number in range(2):
        Image.fromarray(pixels(4, 4, seed=number)).save(folders / "some" / f"{number}.png")
    records = [{"file_name": f"some/{number}.png", "captions": [f"picture {number}"]} for number in range(2)]
    (folders / "some.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    settings = {"decoding": {"temperature": 1.0}, "colour": "none"}
    upscaled("some", "plain", **settings)
    upscaled("some.jsonl", "told", **settings)
    record = json.loads((folders / "told.json").read_text())
    assert [row["text"] for row in record["pictures"]] == ["picture 0", "picture 1"]
    found = {name: [np.array(Image.open(folders / name / f"{n}.png")) for n in range(2)] for name in ("plain", "told")}
    assert not np.array_equal(found["plain"][0], found["told"][0])
    # Rows of the published data, and entries of any other name.
    for name in ("long_caption", "said"):
        records = [{"image_path": "some/0.png", "h_div_w": 1.0, name: "picture 0"}]
        (folders / f"{name}.jsonl").write_text("\n".join(json.dumps(record) for record in records))
        upscaled(f"{name}.jsonl", name, **settings, caption_fields=("said",) if name == "said" else ())
        assert np.array_equal(np.array(Image.open(folders / name / "0.png")), found["told"][0])
    upscaled("some.jsonl", "untold", **settings, prompt="")
    record = json.loads((folders / "untold.json").read_text())
    assert [row["text"] for row in record["pictures"]] == ["", ""]
    with pytest.raises(ConfigError, match="prompt is the text of all photographs, and caption_fields would change"):
        upscaled("some.jsonl", "other", prompt="", caption_fields=("said",))
    with pytest.raises(ConfigError, match=r"caption_fields is .* has no captions"):
        upscaled("some", "other", caption_fields=("said",))
    upscaled("some/0.png", "first.png", **settings)
    assert np.array_equal(np.array(Image.open(folders / "first.png")), found["plain"][0])
    with pytest.raises(ConfigError, match="exists already"):
        upscaled("some", "plain")
    (folders / "none").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        upscaled("none", "other")
    with pytest.raises(ConfigError, match=r"give a \.png for one picture, a folder for several"):
        upscaled("some", "other.jpg")
    upscaled("some/0.png", "second.PNG", **settings)
    assert (folders / "second.PNG").read_bytes() == (folders / "first.png").read_bytes()
    Image.fromarray(pixels(4, 4)).save(folders / "some" / "0.bmp")
    with pytest.raises(DataError, match="two pictures are called '0'"):
        upscaled("some", "other")


def test_texts_that_lose_tokens_are_told_of_once(folders, upscaled, capsys):
    words = " ".join("abcdefghij")
    for number, caption in enumerate((words, words, "few")):
        Image.fromarray(pixels(4, 4)).save(folders / f"{number}.png")
        with (folders / "some.jsonl").open("a") as file:
            file.write(json.dumps({"file_name": f"{number}.png", "captions": [caption]}) + "\n")
    for settings, counts in (({}, "1 of 2"), ({"prompt": words}, "1 of 1")):
        upscaled("some.jsonl", f"told{len(settings)}", **settings)
        (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning"))
        assert f"{counts} texts have more than the 8 tokens that the model takes (up to 11)" in said


def test_generators_and_upscalers_are_not_taken_for_each_other(folders):
    with pytest.raises(CheckpointError, match=r"holds an upscaler .nsarm., and a generator is needed"):
        open_generator(str(folders / "nsarm"), str(folders / "tokenizer"), {})


def test_a_sweep_is_measured_beside_bicubic(folders, data_dir):
    pytest.importorskip("torchmetrics")
    (folders / "high").mkdir()
    for number in range(2):
        Image.fromarray(pixels(32, 32, seed=number)).resize((48, 32)).save(folders / "high" / f"{number}.png")
    config = EvalSrConfig(
        checkpoint=str(folders / "nsarm"), tokenizer=str(folders / "tokenizer"), device="cpu", images=str(folders / "high"),
        output=folders / "report.json", degradations=("bicubic", "noise, sigma 25", "light"),
        lpips=str(data_dir / "models" / "lpips_alex" / "model.safetensors"),
    )  # fmt: skip
    line = evaluate_sr(config)
    report = json.loads((folders / "report.json").read_text())
    assert set(report["summary"]) == {"bicubic", "nsarm"}
    for method in ("bicubic", "nsarm"):
        assert report["summary"][method].keys() == {"psnr", "ssim", "lpips[alexnet]"}
    values, summary = report["values"], report["summary"]["bicubic"]["psnr"]
    assert values["bicubic"]["bicubic"]["psnr"][0] > values["noise, sigma 25"]["bicubic"]["psnr"][0]
    means = [np.mean(values[name]["bicubic"]["psnr"]) for name in values]
    assert summary["mean"] == pytest.approx(np.mean(means))
    assert summary["variance_of_means"] == pytest.approx(np.var(means, ddof=1))
    assert summary["mean_of_variances"] == pytest.approx(
        np.mean([np.var(values[name]["bicubic"]["psnr"], ddof=1) for name in values])
    )
    assert report["seconds_an_image"] > 0
    assert "2 images under 3 degradations" in line
    assert not undocumented(line.data, EVAL_SR.fields)
    assert line.table.rows[0] == ("bicubic psnr", *(f"{summary[name]:.{digits}g}" for name, digits in FIGURES))
    with pytest.raises(ConfigError, match="exists already"):
        evaluate_sr(config)


def test_a_photograph_that_cannot_be_used_is_named_before_the_first_pass(folders, monkeypatch):
    monkeypatch.setattr("ar_vision.nsarm.eval_command.measure_sweep", None)
    (folders / "high").mkdir()
    Image.fromarray(pixels(32, 32)).save(folders / "high" / "0.png")

    def refuse(name, shape, sentence):
        Image.fromarray(pixels(*shape)).save(folders / "high" / name)
        settings = {"checkpoint": str(folders / "nsarm"), "tokenizer": str(folders / "tokenizer"), "device": "cpu"}
        with pytest.raises(DataError, match=sentence) as raised:
            evaluate_sr(EvalSrConfig(images=str(folders / "high"), output=folders / "report.json", **settings))
        assert name in str(raised.value)
        assert "\n" not in str(raised.value)
        (folders / "high" / name).unlink()

    refuse("odd.png", (32, 33), "an image of 33 x 32 pixels was given, which does not divide by 4")
    refuse("tiny.png", (8, 8), "images of 8 x 8 pixels were given and SSIM needs 11")
    monkeypatch.setattr("ar_vision.nsarm.upscaler.MAX_PIXELS", 32 * 32)
    refuse("vast.png", (32, 64), "a photograph of 16 x 8 pixels was given, whose result would have more")


def test_moments_of_one_image_are_no_error():
    found = summarised({"a": {"psnr": [3.0]}})
    assert found["psnr"]["of"]["a"] == {"mean": 3.0, "variance": 0.0}


def test_metrics_without_reference_name_their_package(monkeypatch):
    with pytest.raises(ConfigError, match="there is no metric 'brisque'; choose some of niqe, musiq"):
        open_no_reference(("brisque",), torch.device("cpu"))
    assert open_no_reference((), torch.device("cpu")) == {}
    monkeypatch.setitem(__import__("sys").modules, "pyiqa", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ar-vision\[iqa\]'"):
        open_no_reference(("musiq",), torch.device("cpu"))


def test_metrics_without_reference_get_what_pyiqa_takes(monkeypatch):
    seen = {}

    class Package:
        @staticmethod
        def create_metric(name, device):
            def metric(images):
                seen.setdefault(name, []).append((tuple(images.shape), float(images.min()), float(images.max())))
                return images.mean().view(1, 1)

            return metric

    monkeypatch.setitem(__import__("sys").modules, "pyiqa", Package)
    metrics = open_no_reference(tuple(METRICS), torch.device("cpu"))
    images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    assert metrics["topiq"](images).tolist() == [0.0, 1.0]
    assert seen == {"topiq_nr": [((1, 3, 8, 8), 0.0, 0.0), ((1, 3, 8, 8), 1.0, 1.0)]}


def test_degradations_are_shown_as_one_picture(tmp_path):
    Image.fromarray(pixels(66, 70)).save(tmp_path / "in.png")
    config = DegradeConfig(input=str(tmp_path / "in.png"), output=tmp_path / "out.jpg", count=2, columns=5)
    result = degrade_picture(config)
    assert not undocumented(result.data, DEGRADE.fields)
    assert result.pictures.captions[0] == "photograph"
    assert len(result.pictures.pictures) == 1 + 2 * len(SWEEP)
    with Image.open(tmp_path / "out.jpg") as found:
        assert found.format == "JPEG"
        rows = -(-(1 + 2 * len(SWEEP)) // 5)
        assert found.width == 5 * (68 + 4) + 4
        assert found.height > rows * 64
    degrade_picture(DegradeConfig(input=str(tmp_path / "in.png"), output=tmp_path / "out.PNG", degradations=("light",)))
    with Image.open(tmp_path / "out.PNG") as found:
        assert found.format == "PNG"
    with pytest.raises(ConfigError, match=r"give a \.png or a \.jpg"):
        DegradeConfig(input="a", output=tmp_path / "out.webp")
    Image.fromarray(pixels(1, 1)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"one\.png has 1 x 1 pixels and is reduced 4 times"):
        degrade_picture(DegradeConfig(input=str(tmp_path / "one.png"), output=tmp_path / "b.png"))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "degradations is empty"),
        (("fog",), "there is no degradation 'fog'; choose one of .*'blur, sigma 1.5', 'blur, sigma 3',"),
        (("bicubic", "light", "bicubic"), "degradations names 'bicubic' twice: give it once"),
    ],
)
def test_every_degradation_is_named_once(tmp_path, names, sentence):
    own = {"checkpoint": "a", "tokenizer": "b", "images": "c", "output": tmp_path / "r.json"}
    for config, given in ((DegradeConfig, {"input": "a", "output": tmp_path / "b.png"}), (EvalSrConfig, own)):
        with pytest.raises(ConfigError, match=sentence):
            config(**given, degradations=names)
