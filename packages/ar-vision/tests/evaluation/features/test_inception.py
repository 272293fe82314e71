"""The Inception network of FID: parity with torch-fidelity under weights drawn from names, and strict loading by path."""

import hashlib
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_vision.evaluation.features import FeaturesConfig, open_features, reported
from ar_vision.evaluation.features.inception import CANONICAL_DIGEST, InceptionV3
from ar_vision.evaluation.features.tensorflow_resize import tensorflow_resize
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def recorded():
    """Inputs, and what torch-fidelity 0.4.0 gave for them with the weights of :func:`drawn`."""
    return load_file(Path(__file__).with_name("inception_recorded.safetensors"))


def drawn(name, shape):
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if name.endswith("conv.weight"):
        return x * (2 / x[0].numel()) ** 0.5
    if name.endswith("fc.weight"):
        return x * 0.1
    if name.endswith("running_var"):
        return x.abs() + 0.5
    if name.endswith("bn.weight"):
        return 1 + 0.1 * x
    return 0.1 * x


@pytest.fixture(scope="module")
def weights():
    state = InceptionV3().state_dict()
    return {name: drawn(name, value.shape) for name, value in state.items() if value.is_floating_point()}


def test_the_published_names_and_shapes(weights):
    assert len(weights) == 94 * 5 + 2
    # torchvision's Inception v3 without its auxiliary head has 23,834,568, for 1,000 classes.
    assert sum(value.numel() for name, value in weights.items() if "running" not in name) == 23_834_568 + 8 * 2049
    assert weights["fc.weight"].shape == (1008, 2048)
    assert weights["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)


def test_features_are_those_of_torch_fidelity(recorded, weights, tmp_path):
    save_file(weights, tmp_path / "w.safetensors")
    network = open_features(FeaturesConfig("inception-v3", str(tmp_path / "w.safetensors")))
    found = network(recorded["images"])
    torch.testing.assert_close(found.pooled, recorded["pooled"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.spatial, recorded["spatial"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.probabilities, recorded["probabilities"], atol=1e-5, rtol=1e-3)
    assert found.pooled.shape[1] == network.dim
    assert found.spatial.shape[1] == network.spatial_dim


def test_resizing_is_that_of_tensorflow_1(recorded):
    torch.testing.assert_close(
        tensorflow_resize(recorded["tiny"].float(), (11, 9)), recorded["resize_up"], atol=0, rtol=0
    )
    torch.testing.assert_close(
        tensorflow_resize(recorded["images"].float(), (13, 21)), recorded["resize_down"], atol=0, rtol=0
    )


def test_resizing_by_hand():
    # Two pixels to four: places 0, 1/2, 1, 3/2, the last one clamped; half-pixel centres would give 0, 1/4, 3/4, 1.
    row = torch.tensor([0.0, 8.0]).view(1, 1, 1, 2)
    assert tensorflow_resize(row, (1, 4)).flatten().tolist() == [0, 4, 8, 8]


def test_a_file_of_torch_with_counters_loads_and_other_weights_are_never_called_fid(weights, tmp_path):
    counters = {f"{name[:-6]}num_batches_tracked": torch.tensor(0) for name in weights if name.endswith("bn.weight")}
    torch.save({**weights, **counters}, tmp_path / "w.pth")
    network = open_features(FeaturesConfig("inception-v3", str(tmp_path / "w.pth")))
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    assert network.digest == digest
    assert reported("frechet", network) == f"frechet[inception-v3-{digest[:8]}]"
    assert reported("class_score", network) == f"class_score[inception-v3-{digest[:8]}]"


def test_the_published_file_alone_gives_fid():
    network = InceptionV3(CANONICAL_DIGEST + "0" * 56)
    assert [reported(metric, network) for metric in ("frechet", "spatial_frechet", "class_score", "precision")] == [
        "fid",
        "sfid",
        "inception_score",
        "precision[inception-2015-12-05]",
    ]


def test_missing_and_misshapen_keys_are_named(weights, tmp_path):
    wrong = {name: value for name, value in weights.items() if name != "Mixed_6d.branch1x1.bn.bias"}
    wrong["fc.weight"] = torch.zeros(1000, 2048)
    save_file(wrong, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks Mixed_6d.branch1x1.bn.bias.*fc.weight \[1000, 2048\]"):
        open_features(FeaturesConfig("inception-v3", str(tmp_path / "w.safetensors")))
