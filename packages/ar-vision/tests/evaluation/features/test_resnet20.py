"""ResNet-20 on the staged weights and images."""

import io

import pytest
import torch
import torch.nn.functional as F
from ar_core.errors import CheckpointError, DataError
from ar_vision.evaluation.features import FeaturesConfig, open_features, reported


def test_accuracy_on_the_staged_test_images(resnet20, cifar10_test):
    images, labels = cifar10_test
    predicted = torch.cat([resnet20(part).probabilities.argmax(1) for part in images.split(200)])
    assert len(labels) == 600
    assert (predicted == labels).double().mean().item() == pytest.approx(0.92, abs=0.0005)


def test_features_fit_together(resnet20, cifar10_test):
    found = resnet20(cifar10_test[0][:5])
    assert found.pooled.shape == (5, resnet20.dim)
    assert found.spatial.shape == (5, resnet20.spatial_dim)
    logits = F.linear(found.pooled, resnet20.linear.weight, resnet20.linear.bias)
    torch.testing.assert_close(found.probabilities, logits.softmax(1))
    # Places come first, then channels; behind the ReLU the mean over places is the pooled feature.
    channels = found.spatial.view(5, 64, 7)
    torch.testing.assert_close(channels.relu().mean(1), found.pooled[:, :7])
    assert (found.spatial < 0).any()


def test_its_name_is_part_of_every_number(resnet20):
    assert reported("frechet", resnet20) == "frechet[resnet20-cifar10]"
    assert reported("class_score", resnet20) == "class_score[resnet20-cifar10]"
    assert len(resnet20.digest) == 64


def test_images_of_another_size_are_refused(resnet20):
    with pytest.raises(DataError, match="images of 64 x 48 pixels were given and resnet20-cifar10 takes 32 x 32"):
        resnet20(torch.zeros(1, 3, 48, 64, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["absent.safetensors", "absent.pth", "."])
def test_absent_weights_are_one_sentence(tmp_path, name):
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_features(FeaturesConfig("resnet20-cifar10", str(tmp_path / name)))


def test_weights_of_another_network_are_refused(tmp_path):
    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(16, 3, 3, 3)}, stream)
    (tmp_path / "w.pth").write_bytes(stream.getvalue())
    with pytest.raises(CheckpointError, match=r"lacks bn1\.weight"):
        open_features(FeaturesConfig("resnet20-cifar10", str(tmp_path / "w.pth")))
