"""`ar-decode control` and `control-maps`: pictures of every kind in, images that follow them out, one sentence where that cannot be."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from ar_core import pictures
from ar_core.config import from_dict
from ar_core.errors import ArError, CheckpointError, ConfigError, DataError, MissingPackageError
from ar_core.json_document import undocumented
from ar_core.registry import commands
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.ecm import CONTROL, CONTROL_MAPS
from ar_vision.ecm.checkpoint import save_controller
from ar_vision.ecm.control_command import ControlCommandConfig, draw_controlled
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.controls.extract import extractor_of
from ar_vision.ecm.maps_command import ControlMapsConfig, make_maps
from ar_vision.ecm.picture_maps import picture_maps
from ar_vision.evaluation.image_set import open_images
from PIL import Image


def pixels(height=20, width=26, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


@pytest.fixture
def folders(make_controller, base, var_tokenizer, tmp_path):
    """A base, its tokenizer, a controller of canny, and a folder of two pictures."""
    found = {name: tmp_path / name for name in ("var", "tokenizer", "ecm", "pictures")}
    save_checkpoint(found["tokenizer"], var_tokenizer)
    save_checkpoint(found["var"], base, tokenizer=fingerprint(var_tokenizer))
    save_controller(found["ecm"], make_controller(), (ControlConfig(),), base=fingerprint(base))
    found["pictures"].mkdir()
    for number in range(2):
        Image.fromarray(pixels(seed=number)).save(found["pictures"] / f"{number}.png")
    return found


@pytest.fixture
def control(folders, tmp_path):
    def run(output="out.png", **settings):
        given = {
            "adapter": str(folders["ecm"]),
            "checkpoint": str(folders["var"]),
            "tokenizer": str(folders["tokenizer"]),
            "output": str(tmp_path / output),
            "variations": 2,
            "device": "cpu",
            "batch_size": 3,
        }
        if "maps" not in settings:
            given["images"] = str(folders["pictures"])
        return draw_controlled(from_dict(ControlCommandConfig, {**given, **settings}))

    return run


def test_pictures_become_a_grid_with_their_control_and_a_record(control, tmp_path):
    said = control(labels=[3], guidance=2.0, ssim=True)
    assert said.startswith("4 images of 2 canny maps by ecm written to")
    assert "f1" in said
    assert not undocumented(said.data, CONTROL.fields)
    assert said.pictures.captions[:4] == ["picture", "control", "drawn 1", "drawn 2"]
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.width > 4 * 96
        assert sheet.width > sheet.height
    record = json.loads((tmp_path / "out.png.json").read_text())
    assert record["fidelity"].keys() == {"protocol", "f1", "rmse", "ssim"}
    assert "128" in record["fidelity"]["protocol"]["f1"]
    facts = record["sampling"]["generator"]
    assert (facts["kind"], facts["control"], facts["classes"]) == ("ecm", "canny", [3, 3])
    assert facts["decoding"] == {"guidance": 2.0}
    assert {"command", "commit", "versions"} <= record["environment"].keys()


def test_archives_and_folders_hold_what_the_grid_shows_whatever_the_batch(control, tmp_path):
    control("drawn.npz", labels=[0, 3])
    control("drawn", labels=[0, 3], batch_size=1)
    images = torch.cat(list(open_images(str(tmp_path / "drawn.npz")).batches(4)))
    assert images.shape == (4, 3, 16, 16)
    files = sorted((tmp_path / "drawn").rglob("*.png"))
    assert len(files) == 4
    for image, file in zip(images, files):
        with Image.open(file) as picture:
            assert (torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).int() - image.int()).abs().max() <= 1


def test_the_drawn_images_are_those_of_the_decoder_under_their_maps(
    control, folders, base, make_controller, var_tokenizer, tmp_path
):
    from ar_core.sampling import row_seed
    from ar_vision.ecm.decode import ControlDecoding, generate
    from ar_vision.pixels import to_bytes, to_signed

    control("drawn.npz", labels=[1], seed=5, strength=0.5, batch_size=2)
    config = ControlConfig()
    asked = picture_maps(str(folders["pictures"]), 16, config, extractor_of(config))
    wanted = generate(
        base, make_controller(), var_tokenizer, to_signed(asked.maps), [1, 1], ControlDecoding(strength=0.5),
        seed=[row_seed(5, 0), row_seed(5, 1)],
    )  # fmt: skip
    images = torch.cat(list(open_images(str(tmp_path / "drawn.npz")).batches(4)))
    assert torch.equal(images[:2], to_bytes(wanted.images))


def test_a_folder_of_something_else_in_the_place_of_the_chunks_stays(control, tmp_path):
    (tmp_path / "a.npz.chunks").mkdir()
    (tmp_path / "a.npz.chunks" / "only.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(ConfigError, match=r"a.npz.chunks' holds no chunks of images, and would be removed"):
        control("a.npz")
    assert (tmp_path / "a.npz.chunks" / "only.jpg").read_bytes() == b"irreplaceable"


def test_maps_are_taken_in_the_place_of_pictures(control, folders, tmp_path):
    said = make_maps(ControlMapsConfig(images=str(folders["pictures"]), output=tmp_path / "maps", device="cpu"))
    assert said.startswith("2 maps of canny")
    assert not undocumented(said.data, CONTROL_MAPS.fields)
    with Image.open(tmp_path / "maps" / "1.png") as made:
        found = np.asarray(made)
    assert found.shape == (20, 26, 3)
    assert set(np.unique(found)) == {0, 255}
    assert json.loads((tmp_path / "maps.json").read_text())["control"]["kind"] == "canny"
    assert control("of_maps.npz", maps=str(tmp_path / "maps"), fidelity=False).startswith("4 images of 2")
    with pytest.raises(ConfigError, match="exists already"):
        make_maps(ControlMapsConfig(images=str(folders["pictures"]), output=tmp_path / "maps"))
    with pytest.raises(ConfigError, match="maps are written into a folder"):
        make_maps(ControlMapsConfig(images=str(folders["pictures"]), output=tmp_path / "maps.png"))
    with pytest.raises(ConfigError, match="give maps, or a detector"):
        make_maps(ControlMapsConfig(images=str(folders["pictures"]), output=tmp_path / "depth", kind="depth"))


def test_other_data_than_folders_are_numbered(tmp_path):
    np.savez(tmp_path / "some.npz", images=np.stack([pixels(16, 16, seed) for seed in range(3)]))
    make_maps(
        ControlMapsConfig(images=str(tmp_path / "some.npz"), output=tmp_path / "maps", kind="edges", device="cpu")
    )
    assert [file.name for file in sorted((tmp_path / "maps").iterdir())] == [f"{n:08d}.png" for n in range(3)]


def encoded(image, form="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


SOUND = {
    "one_pixel": encoded(Image.new("RGB", (1, 1), (9, 200, 40))),
    "grey": encoded(Image.fromarray(pixels()).convert("L")),
    "rgba": encoded(Image.fromarray(np.dstack([pixels(), pixels()[..., 0]]))),
    "sixteen_bits": encoded(Image.fromarray(pixels()[..., 0].astype(np.uint16) * 257)),
    "palette": encoded(Image.fromarray(pixels()).convert("P")),
    "black_and_white": encoded(Image.fromarray(pixels()).convert("1")),
    "cmyk": encoded(Image.fromarray(pixels()).convert("CMYK"), "jpeg"),
    "large": encoded(Image.fromarray(pixels(900, 1400))),
    "tall": encoded(Image.fromarray(pixels(300, 20))),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("kind", ["canny", "edges"])
def test_pictures_of_every_mode_and_size_have_a_control(tmp_path, name, kind):
    file = tmp_path / f"{name}.{'jpg' if name == 'cmyk' else 'png'}"
    file.write_bytes(SOUND[name])
    config = ControlConfig(kind=kind)
    found = picture_maps(str(file), 16, config, extractor_of(config))
    assert found.maps.shape == found.pictures.shape == (1, 3, 16, 16)
    assert found.maps.dtype == torch.uint8
    assert bool(found.maps.any()) == (name != "one_pixel")
    if name in ("grey", "sixteen_bits"):
        assert torch.equal(found.pictures[0, 0], found.pictures[0, 2])


def test_a_picture_in_16_bits_or_behind_full_alpha_has_the_control_of_the_same_in_8(tmp_path):
    config = ControlConfig()
    grey = pixels()[..., 0]
    for name, image in (("8", Image.fromarray(grey)), ("16", Image.fromarray(grey.astype(np.uint16) * 257))):
        image.save(tmp_path / f"{name}.png")
    opaque = np.dstack([np.repeat(grey[..., None], 3, axis=2), np.full_like(grey, 255)])
    Image.fromarray(opaque).save(tmp_path / "alpha.png")
    maps = [
        picture_maps(str(tmp_path / f"{name}.png"), 16, config, extractor_of(config)).maps
        for name in ("8", "16", "alpha")
    ]
    assert maps[0].any()
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


BROKEN = {
    "empty": (b"", "is empty"),
    "no_picture": (b"edges, please", "no picture in a format"),
    "truncated": (SOUND["large"][:-200], "truncated or damaged"),
    "float": (encoded(Image.fromarray(np.ones((8, 8), np.float32)), "tiff"), "has the mode 'F'"),
    "needle": (encoded(Image.new("RGB", (30_000, 1))), "too long and thin"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_pictures_that_cannot_be_read_are_refused_in_one_sentence(control, tmp_path, name, monkeypatch):
    monkeypatch.setattr("ar_vision.data.transforms.MAX_PIXELS", 10**6)
    file = tmp_path / f"{name}.{'tiff' if name == 'float' else 'png'}"
    file.write_bytes(BROKEN[name][0])
    with pytest.raises(DataError, match=BROKEN[name][1]) as caught:
        control(images=str(file))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.png").exists()


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(control, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 10_000)
    file = tmp_path / "huge.png"
    file.write_bytes(SOUND["large"])
    with pytest.raises(DataError, match="scale it down"):
        control(images=str(file))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"maps": "x", "images": "y"}, ConfigError, "not both"),
        ({"images": None}, ConfigError, "not both"),
        ({"kind": "depth"}, CheckpointError, "was trained for canny"),
        ({"labels": [1, 2, 3]}, DataError, "one label for each map"),
        ({"labels": [9]}, DataError, "classes run from 0 to 4"),
        ({"labels": []}, ConfigError, "labels is empty: give a class for each map"),
        ({"ssim": True, "fidelity": False}, ConfigError, "fidelity is false, and ssim would change nothing"),
        ({"maps": "x", "fidelity": False, "detector": "y"}, ConfigError, "and detector would change nothing"),
        ({"decoding": {"control_guidance": -1.0}}, ConfigError, "control_guidance is -1.0; it must"),
        ({"decoding": {"step_at": 2}}, ConfigError, "step_at is 2 and temperature_shape 'linear', which has none"),
        (
            {"decoding": {"step_at": 9, "temperature_shape": "step"}, "output": "out.npz"},
            ConfigError,
            "step_at is 9 and there are 4 scales: give one of 0 to 4",
        ),
        (
            {"decoding": {"active_scales": [2, 4]}, "output": "out.npz"},
            ConfigError,
            "active_scales are 2 to 4 and there are 4: give two of 0 to 3",
        ),
        ({"guidance": 2.0, "decoding": {"guidance": 3.0}}, ConfigError, "give it once"),
        ({"decoding": {"warmth": 3.0}}, ConfigError, "warmth"),
        ({"strength": 3.0}, ConfigError, "strength is 3"),
        ({"variations": 0}, ConfigError, "at least 1"),
        ({"output": "out.jpg"}, ConfigError, "images are written as a grid"),
        ({"output": "out.PNG", "limit": 1000}, ConfigError, "do not fit in a grid"),
        ({"limit": 1000}, ConfigError, "do not fit in a grid"),
        ({"images": "nowhere.png"}, DataError, "nowhere.png"),
        ({"adapter": "nowhere"}, CheckpointError, "no checkpoint folder"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(control, tmp_path, settings, error, said):
    with pytest.raises(error, match=said) as caught:
        control(**settings)
    assert isinstance(caught.value, ArError)
    assert not list(tmp_path.glob("out*"))


def test_what_ssim_needs_is_asked_for_before_an_image_is_drawn(control, tmp_path, monkeypatch):
    monkeypatch.setattr("ar_vision.ecm.control_command.open_controlled", None)
    monkeypatch.setattr("ar_vision.evaluation.reconstruction.SMALLEST_SSIM", 17)
    with pytest.raises(DataError, match="images of 16 x 16 pixels were given and SSIM needs 17"):
        control("out.npz", ssim=True)
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'ar-vision\[eval\]'"):
        control("out.npz", ssim=True)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("failing", ["fidelity", "write_report"])
def test_chunks_are_kept_until_the_record_is_written(control, tmp_path, monkeypatch, failing):
    def fail(*_, **__):
        raise DataError("no more")

    with monkeypatch.context() as patch:
        patch.setattr(f"ar_vision.ecm.control_command.{failing}", fail)
        with pytest.raises(DataError, match="no more"):
            control("out.npz")
    assert (tmp_path / "out.npz.chunks").exists()
    assert (tmp_path / "out.npz").exists() == (failing == "write_report")
    if failing == "fidelity":
        assert control("out.npz").startswith("4 images")
        assert not (tmp_path / "out.npz.chunks").exists()


def test_a_controller_and_a_base_that_are_no_pair_are_refused(control, folders, make_var):
    save_checkpoint(folders["var"], make_var(width=64), tokenizer=None)
    with pytest.raises(CheckpointError, match="give the VAR that it was trained on"):
        control()


def test_a_controller_knows_its_tokenizer_where_the_base_does_not(
    control, folders, base, make_controller, var_tokenizer, tmp_path
):
    save_checkpoint(folders["var"], base, tokenizer=None)
    for tokenizer in (fingerprint(var_tokenizer), "another"):
        known = {"base": fingerprint(base), "tokenizer": tokenizer}
        save_controller(folders["ecm"], make_controller(), (ControlConfig(),), **known)
        if tokenizer == "another":
            with pytest.raises(CheckpointError, match="was trained with the tokenizer another"):
                control("other.png")
        else:
            assert control("own.png", variations=1, limit=1)


def test_the_commands_are_announced():
    assert {"control", "control-maps"} <= commands().keys()
