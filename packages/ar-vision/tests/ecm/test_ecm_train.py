"""The recipe: from a VAR, stored codes and pictures to a controller's folder; and the sizes of the shipped configs."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.io import read_tensors
from ar_core.registry import configs, recipe, resolve
from ar_core.training import build_job, read_run_config, run_recipe, train
from ar_core.training.lightning_task import fit
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.data.codes import RECIPE as IMAGE_CODES
from ar_vision.data.collections.folder import FolderPictures
from ar_vision.data.collections.shapes import ShapesPictures
from ar_vision.ecm import RECIPE
from ar_vision.ecm.checkpoint import load_controller, require_base
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.controls.extract import extractor_of
from ar_vision.ecm.controls.maps import open_maps
from ar_vision.ecm.kinds import CONTROLLERS
from ar_vision.pixels import to_signed
from ar_vision.scales import ScaleSchedule
from PIL import Image

SMALL = "{patch: 4, depth: 1, width: 16, heads: 2}"


@pytest.fixture
def start(tmp_path, monkeypatch, make_var, var_tokenizer):
    """Folders of a tokenizer, a VAR of another name, and the codes of 48 drawn pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: tmp_path / name for name in ("tokenizer", "whatever", "codes")}
    save_checkpoint(folders["tokenizer"], var_tokenizer)
    making = [f"tokenizer={folders['tokenizer']}", "data.count=48", "data.size=16", "method.scales=[1, 2, 3, 4]"]
    run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", [*making, f"stage.directory={folders['codes']}"]))
    model = make_var(num_classes=4, shared_adaln=True)
    save_checkpoint(folders["whatever"], model, tokenizer=fingerprint(var_tokenizer), provenance={"steps": 12})
    return folders


@pytest.fixture
def prepared(start):
    def prepare(*overrides, config="tiny"):
        entries = [f"base={start['whatever']}", f"tokenizer={start['tokenizer']}", f"data.path={start['codes']}"]
        small = ["train.steps=3", "train.batch_size=6", "train.log_every=1", "train.eval_every=3", "data.held_out=0.2"]
        small += ["evaluation.images=4", "evaluation.batch_size=4", "data.pictures=null", "train.checkpoint_dir=null"]
        return read_run_config(RECIPE, config, [*entries, *small, *overrides])

    return prepare


@pytest.mark.parametrize("name", configs(RECIPE))
def test_every_shipped_config_trains(prepared, name):
    """Method, optimiser and precision as shipped; a small model, few pictures and two steps."""
    short = ["train.steps=2", "train.warmup_steps=1", "train.eval_every=2"]
    model = [f"model.ecm.encoder={SMALL}"]
    if "imagenet" in name:
        model += ["model.ecm.positions=[0, 1]"]
    result = run_recipe(RECIPE, prepared(*short, *model, config=name))
    assert len(result.losses) == 2
    assert all(math.isfinite(loss) for loss in result.losses)
    assert {"held_out_nll", "accuracy_1x1", "accuracy_4x4"} <= set(result.evaluation)


@pytest.mark.parametrize(
    "model",
    [f"{{lora: {{rank: 2, encoder: {SMALL}}}}}", f"{{full: {{encoder: {SMALL}}}}}", "{car: {channels: [4, 4, 4]}}"],
)
def test_baselines_train_on_the_same_protocol(prepared, model, tmp_path, start):
    run = prepared(f"model={model}", f"train.checkpoint_dir={tmp_path / 'run'}")
    result = run_recipe(RECIPE, run)
    assert len(result.losses) == 3
    loaded = load_controller(tmp_path / "run" / "final")
    assert model.startswith(f"{{{loaded.kind}:")
    require_base(loaded, load_checkpoint(start["whatever"]))


def test_the_result_is_a_folder_of_its_own_and_the_base_is_as_it_was(prepared, start, tmp_path):
    before = (start["whatever"] / "model.safetensors").read_bytes()
    run = prepared(f"train.checkpoint_dir={tmp_path / 'run'}", "data.controls=[{kind: canny, low: 50}, {kind: edges}]")
    run_recipe(RECIPE, run)
    assert (start["whatever"] / "model.safetensors").read_bytes() == before
    loaded = load_controller(tmp_path / "run" / "final")
    assert [one.kind for one in loaded.controls] == ["canny", "edges"]
    assert loaded.controls[0].low == 50
    assert loaded.base == fingerprint(load_checkpoint(start["whatever"]).model)
    assert loaded.provenance["steps"] == 3
    assert "ecm.type_embed" in read_tensors(tmp_path / "run" / "final" / "model.safetensors")
    assert not list((tmp_path / "run").rglob("*base*"))


def test_lightning_takes_the_same_steps(prepared):
    losses = [run_recipe(RECIPE, prepared("train.eval_every=null"), driver=driver).losses for driver in (train, fit)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_samples_have_the_very_augmentation_that_the_codes_were_made_of(prepared, var_tokenizer):
    source = build_job(RECIPE, prepared("train.eval_every=null")).source
    stream = source.open(0)
    for _ in range(6):
        sample = next(stream)
        features = var_tokenizer.encode(to_signed(sample["image"][None]))
        codes = torch.cat(var_tokenizer.quantize(features, ScaleSchedule.square(1, 2, 3, 4)), dim=1)[0]
        assert torch.equal(codes, sample["codes"])
    assert source.describe()["controls"][0]["kind"] == "canny"


def test_maps_beside_pictures_are_read_and_a_missing_one_is_named_with_its_picture(start, tmp_path, prepared):
    drawn = ShapesPictures(12, (20, 24))
    pictures, maps = tmp_path / "pictures", tmp_path / "maps"
    for number in range(12):
        for folder in (pictures, maps):
            (folder / str(number % 2)).mkdir(parents=True, exist_ok=True)
        pixels = drawn[number].pixels((0, 0, 0))
        Image.fromarray(pixels).save(pictures / str(number % 2) / f"{number:02d}.png")
        Image.fromarray(255 - pixels).save(maps / str(number % 2) / f"{number:02d}.png")
    codes = tmp_path / "folder_codes"
    making = [f"tokenizer={start['tokenizer']}", "data.kind=folder", f"data.path={pictures}", "data.count=null"]
    making += ["data.size=16", "data.transform=adm_centre", "method.scales=[1, 2, 3, 4]", f"stage.directory={codes}"]
    run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", making))
    own = [f"data.path={codes}", f"data.pictures={pictures}", f"data.controls=[{{kind: depth, maps: '{maps}'}}]"]
    job = build_job(RECIPE, prepared(*own, "data.held_out=0", "train.eval_every=null"))
    more = [*own[:2], "data.held_out=0", "train.eval_every=null"]
    plain = build_job(RECIPE, prepared(*more, "data.controls=[{kind: canny}]"))
    normal = build_job(RECIPE, prepared(*more, f"data.controls=[{{kind: normal, maps: '{maps}'}}]"))
    upright = [sample["image"] for sample in plain.source.once()]
    mirrored = 0
    for sample, picture, turned in islice(zip(*(one.source.open(0) for one in (job, plain, normal))), 24):
        image = picture["image"]
        # The map is the negative of its picture, through the same transform and mirror, up to rounding.
        assert (sample["map"].int() + image.int() - 255).abs().max() <= 2
        flipped = not any(torch.equal(image, one) for one in upright)
        mirrored += flipped
        assert torch.equal(turned["map"][0], 255 - sample["map"][0] if flipped else sample["map"][0])
    assert 4 <= mirrored <= 20
    assert len(run_recipe(RECIPE, prepared(*own, "data.held_out=0", "train.eval_every=null")).losses) == 3
    (maps / "1" / "03.png").unlink()
    with pytest.raises(DataError, match=r"pictures/1/03.png' has no map .*maps/1/03.png"):
        open_maps(str(maps), FolderPictures(pictures))
    with pytest.raises(DataError, match="other pictures than the codes were made of"):
        build_job(RECIPE, prepared(f"data.path={codes}", "data.held_out=0", "train.eval_every=null"))


def test_pictures_without_labels_are_of_the_null_class(start, prepared, tmp_path):
    pictures = tmp_path / "some.npz"
    np.savez(pictures, images=np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8))
    codes = tmp_path / "unlabelled_codes"
    making = [f"tokenizer={start['tokenizer']}", "data.kind=auto", f"data.path={pictures}", "data.count=null"]
    making += ["data.size=16", "method.scales=[1, 2, 3, 4]", f"stage.directory={codes}"]
    run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", making))
    run = prepared(f"data.path={codes}", f"data.pictures={pictures}", "data.held_out=0.3", "train.steps=1")
    job = build_job(RECIPE, run)
    prepared_step = job.objective.prepare(list(islice(job.source.open(0), 4)), SampleRng(0))
    assert prepared_step.tensors["labels"].tolist() == [4] * 4
    assert len(run_recipe(RECIPE, run).losses) == 1


@pytest.mark.parametrize(
    ("overrides", "error", "said"),
    [
        (["model={}"], ConfigError, "nothing is given"),
        (["model.lora={rank: 2}"], ConfigError, "ecm, lora is given"),
        (["data.controls=[]"], ConfigError, "controls are none"),
        (["data.controls=[{kind: canny}, {kind: canny, low: 20}]"], ConfigError, "none twice"),
        (["data.controls=[{kind: depth}]"], ConfigError, "ar-decode control-maps"),
        (["method.normalisation=mean"], ConfigError, "none of 'present', 'fixed'"),
        (["method.prefixes={law: geometric}"], ConfigError, "strength is None"),
        (["method.control_dropout=2"], ConfigError, "control_dropout is 2"),
    ],
)
def test_configs_that_cannot_be_run_are_refused(prepared, overrides, error, said):
    with pytest.raises(error, match=said):
        build_job(RECIPE, prepared("train.eval_every=null", *overrides))


def test_a_base_that_is_no_var_is_refused(prepared, start, make_flexvar, vq_tokenizer, tmp_path):
    save_checkpoint(tmp_path / "flexvar", make_flexvar(), tokenizer=fingerprint(vq_tokenizer))
    with pytest.raises(CheckpointError, match="a var is needed"):
        build_job(RECIPE, prepared(f"base={tmp_path / 'flexvar'}"))


def counted(base, image_size, config, *overrides):
    """Parameters of the controller of a config on a base."""
    run = read_run_config(RECIPE, config, overrides)
    ((kind, settings),) = run.model.given.items()
    with torch.device("meta"):
        built = resolve(CONTROLLERS[kind].model)(settings, base, image_size, len(run.data.controls))
    return sum(parameter.numel() for parameter in built.parameters())


def test_the_cifar10_config_trains_at_most_a_fifth_of_the_base():
    shape = VarConfig(
        vocab_size=512, code_dim=16, num_classes=10, depth=5, width=128, heads=2, scales=(1, 2, 3, 4, 6, 8), shared_adaln=True
    )  # fmt: skip
    own = counted(shape, 32, "cifar10")
    base = sum(parameter.numel() for parameter in Var(shape).parameters())
    assert base == 1_211_274
    assert 0.1 * base < own <= 0.2 * base
    lora = counted(shape, 32, "cifar10", "model={lora: {rank: 16, encoder: {patch: 4, depth: 3, width: 32, heads: 2}}}")
    assert lora == pytest.approx(own, rel=0.02)


@pytest.mark.parametrize(
    ("depth", "column"), [(16, (54, 73, 115, 173, 196)), (20, (71, 101, 167, 258, 364)), (24, (93, 136, 230, 362, 611))]
)
def test_sizes_beside_published_bases_are_those_that_the_method_computes(depth, column):
    """The table of section 3.3, in millions: N = 4; with own modulations; N = 8; with separate feed-forward layers; CAR."""
    shape = VarConfig(vocab_size=4096, code_dim=32, depth=depth, width=64 * depth, heads=depth)
    four, eight = (["model.ecm.positions=null", f"model.ecm.n_adapters={count}"] for count in (4, 8))
    own, apart = "model.ecm.adaln=own", "model.ecm.share_ffn=false"
    ways = [four, [*four, own], [*eight, own], [*eight, own, apart], ["model={car: {}}"]]
    found = [counted(shape, 256, f"imagenet_256_d{depth}", *way) / 1e6 for way in ways]
    assert found == pytest.approx(column, abs=1.0)


def test_the_recipe_is_registered_with_all_configs():
    assert recipe("ecm") is RECIPE
    assert configs(RECIPE).keys() == {"tiny", "cifar10", *(f"imagenet_256_d{depth}" for depth in (16, 20, 24))}
    assert extractor_of(ControlConfig())(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)).shape == (1, 3, 4, 4)
