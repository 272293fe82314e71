"""The stage that makes a teacher, profiles of teachers, and features of frozen networks."""

import json
import shutil

import numpy as np
import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.glotok.histogram import log_histogram, log_profile
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.teacher.clusters import cluster_centres
from ar_vision.glotok.teacher.config import GlotokTeacherConfig, PatchFeaturesConfig
from ar_vision.glotok.teacher.features import open_patch_features
from ar_vision.glotok.teacher.profile import open_profile
from ar_vision.glotok.teacher.profile_command import TeacherProfileConfig, write_profile
from ar_vision.glotok.teacher.stage import grouped, pooled
from PIL import Image
from safetensors.torch import load_file

CPU = torch.device("cpu")


def stage(folder, *overrides):
    entries = [f"stage.directory={folder}", "stage.device=cpu", "data.count=40", "method.clusters=5", *overrides]
    return run_recipe(recipe("glotok_teacher"), read_run_config(recipe("glotok_teacher"), "tiny", entries))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    stage(folder)
    return folder


def chunks(folder):
    return {path.name: load_file(path) for path in sorted(folder.glob("chunk-*"))}


def test_shards_and_a_continued_run_leave_the_files_of_one_run(teacher, tmp_path):
    parts = tmp_path / "parts"
    stage(parts, "stage.shard=2/2", "method.batch_size=3")
    stage(parts, "stage.shard=1/2")
    whole, ours = chunks(teacher), chunks(parts)
    assert len(whole) > 1
    assert whole.keys() == ours.keys()
    for name, chunk in whole.items():
        assert all(torch.equal(chunk[key], ours[name][key]) for key in chunk)
    (parts / next(iter(whole))).unlink()
    assert stage(parts).made == 1
    assert torch.equal(chunks(parts)[next(iter(whole))]["centres"], next(iter(whole.values()))["centres"])


def test_a_profile_is_the_histogram_of_all_centres(teacher, tmp_path):
    centres = torch.cat([chunk["centres"] for chunk in chunks(teacher).values()]).double()
    expected = log_profile(log_histogram(centres, HistogramConfig()))
    found = open_profile(str(teacher), HistogramConfig())
    torch.testing.assert_close(found.logarithms, expected)
    assert found.source["features"] == {"kind": "pixels"}
    assert found.source["vectors"] == len(centres)
    file = tmp_path / "teacher.json"
    said = write_profile(TeacherProfileConfig(teacher=str(teacher), output=str(file)))
    assert "40 numbers" in said
    assert said.data == {"output": file, "bins": 40, "vectors": len(centres)}
    again = open_profile(str(file), HistogramConfig())
    assert torch.equal(again.logarithms, found.logarithms)
    assert file.stat().st_size < 5000


def test_a_profile_of_other_bins_or_of_nonsense_is_refused(teacher, tmp_path):
    file = tmp_path / "teacher.json"
    write_profile(TeacherProfileConfig(teacher=str(teacher), output=str(file), histogram=HistogramConfig(bins=20)))
    with pytest.raises(ConfigError, match="bins=20"):
        open_profile(str(file), HistogramConfig())
    file.write_text(json.dumps({"log_profile": [1.0]}))
    with pytest.raises(DataError, match="no profile"):
        open_profile(str(file), HistogramConfig())
    with pytest.raises(DataError, match="run the recipe first"):
        open_profile(str(tmp_path / "nothing"), HistogramConfig())
    with pytest.raises(ConfigError, match=r"end with \.json"):
        TeacherProfileConfig(teacher="x", output="profile.txt")
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    record = json.loads((other / "stage.json").read_text())
    record["identity"]["recipe"] = "image_codes"
    (other / "stage.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="image_codes"):
        open_profile(str(other), HistogramConfig())


def test_centres_of_separate_heaps_are_their_means():
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    heaps = middles[:, None] + 0.1 * torch.randn(3, 30, 2, generator=generator)
    centres, sizes = cluster_centres(heaps.flatten(0, 1), 3, torch.Generator().manual_seed(1))
    assert sizes.tolist() == [30, 30, 30]
    order = torch.cdist(middles, centres).argmin(1)
    torch.testing.assert_close(centres[order], heaps.mean(1), atol=1e-5, rtol=0)


def test_more_centres_than_different_vectors_are_refused():
    with pytest.raises(DataError, match="2 different vectors"):
        cluster_centres(torch.tensor([[0.0], [0.0], [4.0]]), 3, torch.Generator().manual_seed(0))


def test_pictures_without_classes_are_dealt_out():
    class Plain:
        labels = None

        def __len__(self):
            return 7

    features = PatchFeaturesConfig(kind="pixels")
    found = grouped(Plain(), None, GlotokTeacherConfig(features=features, groups=2, pictures_per_group=3))
    assert [numbers.tolist() for numbers in found] == [[0, 2, 4], [1, 3, 5]]
    with pytest.raises(ConfigError, match=r"set method\.groups"):
        grouped(Plain(), None, GlotokTeacherConfig(features=features))
    with pytest.raises(DataError, match="3 pictures were given for 5 groups"):
        grouped(Plain(), 3, GlotokTeacherConfig(features=features, groups=5))


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="give the weights"):
        PatchFeaturesConfig(kind="dinov2")
    with pytest.raises(ConfigError, match="leave it out"):
        PatchFeaturesConfig(kind="pixels", source="x")
    with pytest.raises(ConfigError, match="one layer"):
        PatchFeaturesConfig(kind="resnet20-cifar10", source="x", layer=1)
    with pytest.raises(ConfigError, match="made once of whole pictures"):
        read_run_config(recipe("glotok_teacher"), "tiny", ["data.flip=true"])


def test_pooling_averages_neighbouring_places():
    class Ramp:
        facts = {}  # noqa: RUF012

        def __call__(self, images):
            return torch.arange(16.0).view(1, 1, 4, 4).expand(len(images), 1, 4, 4)

    found = pooled(Ramp(), torch.zeros(2, 3, 8, 8), 2)
    assert found.shape == (8, 1)
    assert found[:4, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    with pytest.raises(
        ConfigError, match=r"method\.pool is 5 and the network's maps have 4 x 4 places: set it to at most 4"
    ):
        pooled(Ramp(), torch.zeros(2, 3, 8, 8), 5)


@pytest.mark.data
def test_staged_networks_give_maps(data_dir):
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    models = data_dir / "models"
    resnet = PatchFeaturesConfig(
        kind="resnet20-cifar10", source=str(models / "cifar10_resnet" / "resnet20.safetensors")
    )
    network = open_patch_features(resnet, CPU)
    found = network(images)
    assert found.shape == (2, 64, 8, 8)
    pooled_features = network.network(images).pooled
    torch.testing.assert_close(found.relu().mean((2, 3)), pooled_features)
    alex = PatchFeaturesConfig(kind="lpips-alexnet", source=str(models / "lpips_alex" / "model.safetensors"), layer=1)
    assert open_patch_features(alex, CPU)(images).shape == (2, 192, 7, 7)
    with pytest.raises(ConfigError, match="AlexNet has five"):
        open_patch_features(PatchFeaturesConfig(kind="lpips-alexnet", source=alex.source, layer=7), CPU)


def vision_models():
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    dinov2 = transformers.Dinov2Model(transformers.Dinov2Config(**shape))
    clip = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(intermediate_size=32, **shape))
    return {"dinov2": dinov2, "clip": clip}


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_vision_transformers_give_the_hidden_state_at_their_patches(kind, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = vision_models()[kind].eval()
    model.save_pretrained(tmp_path)
    network = open_patch_features(PatchFeaturesConfig(kind=kind, source=str(tmp_path)), CPU)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8))
    found = network(images)
    assert found.shape == (2, 16, 4, 4)
    pixels = (images.float() / 255 - network.mean) / network.std
    with torch.no_grad():
        states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(found[:, :, 1, 2], states[:, 1 + 1 * 4 + 2], atol=1e-5, rtol=0)
    assert network.facts["layer"] == 2
    with pytest.raises(DataError, match="a patch has 4"):
        network(torch.zeros(1, 3, 18, 18, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="hidden states 0 to 3"):
        open_patch_features(PatchFeaturesConfig(kind=kind, source=str(tmp_path), layer=9), CPU)
    # transformers would draw another architecture's weights at random.
    other = "clip" if kind == "dinov2" else "dinov2"
    with pytest.raises(CheckpointError, match=f"holds no {other}: of its tensors"):
        open_patch_features(PatchFeaturesConfig(kind=other, source=str(tmp_path)), CPU)


def pictures_of_all_modes(folder):
    """A folder a class, each with pictures of other modes and sizes."""
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        noise = draw.integers(0, 256, (40, 30, 4), dtype=np.uint8)
        deep = draw.integers(0, 65536, (33, 50), dtype=np.uint16)
        for kind, pixels in {
            "one": noise[:1, :1, :3],
            "grey": noise[..., 0],
            "rgba": noise,
            "deep": deep,
            "wide": draw.integers(0, 256, (20, 900, 3), dtype=np.uint8),
        }.items():
            Image.fromarray(pixels).save(folder / name / f"{kind}.png")


def test_pictures_of_every_mode_and_size_are_taken_and_broken_ones_named(tmp_path):
    """1 x 1, grey, RGBA, 16-bit, and far wider than high."""
    folder = tmp_path / "pictures"
    pictures_of_all_modes(folder)
    entries = [
        "data.kind=folder",
        f"data.path={folder}",
        "data.count=null",
        "method.clusters=3",
        "data.transform=adm_centre",
    ]
    stage(tmp_path / "teacher", *entries)
    found = torch.cat([chunk["centres"] for chunk in chunks(tmp_path / "teacher").values()])
    assert found.shape == (6, 48)
    assert bool(found.isfinite().all())
    whole = (folder / "b" / "grey.png").read_bytes()
    (folder / "b" / "grey.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"grey\.png is truncated or damaged") as caught:
        stage(tmp_path / "broken", *entries)
    assert "\n" not in str(caught.value)


def test_towers_beside_the_image_tower_are_left_out_and_registers_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 10,
        "intermediate_size": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        both = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config={"intermediate_size": 32, **shape})
        )
        registers = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**shape))
    both.save_pretrained(tmp_path / "clip")
    registers.save_pretrained(tmp_path / "registers")
    network = open_patch_features(PatchFeaturesConfig(kind="clip", source=str(tmp_path / "clip")), CPU)
    weight = network.network.state_dict()
    name = next(name for name in weight if name.endswith("position_embedding.weight"))
    assert torch.equal(weight[name], both.vision_model.embeddings.position_embedding.weight)
    with pytest.raises(CheckpointError, match="holds no dinov2"):
        open_patch_features(PatchFeaturesConfig(kind="dinov2", source=str(tmp_path / "registers")), CPU)
