"""Published LlamaGen weights in and out, and the sizes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_vision.backbones.llamagen.config import SIZES, LlamaGenConfig
from ar_vision.backbones.llamagen.loading import from_published, infer_config, to_published
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.checkpoint import load_checkpoint, save_checkpoint

Tiny = Callable[..., LlamaGen]

PARAMETERS = {"B": 111, "L": 343, "XL": 775, "XXL": 1400, "XXXL": 3900, "3B": 3100}


@pytest.mark.parametrize("condition", ["class", "text"])
def test_round_trip(tiny: Tiny, condition: str) -> None:
    model = tiny(condition)
    again = from_published(to_published(model), grid=3, heads=2)
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_the_rotary_table_of_old_files_is_dropped_and_tells_grid_and_heads(tiny: Tiny) -> None:
    model = tiny()
    old = {**to_published(model), "freqs_cis": torch.zeros(10, 8, 2)}
    assert from_published(old).config == model.config
    with pytest.raises(ConfigError, match="grid is 4 and the file says 3"):
        from_published(old, grid=4)


@pytest.mark.parametrize("condition", ["class", "text"])
@pytest.mark.parametrize("size", SIZES)
def test_config_follows_from_the_shapes_of_published_sizes(size: str, condition: str) -> None:
    config = LlamaGenConfig.of_size(size, grid=24, condition=condition)
    with torch.device("meta"):
        model = LlamaGen(config)
    assert infer_config(to_published(model), grid=24) == config
    if condition == "class" and size in PARAMETERS:
        count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        assert abs(count / PARAMETERS[size] - 1) < 0.03


@pytest.mark.parametrize(
    ("size", "ffn"),
    [("B", 2048), ("L", 2816), ("XL", 3584), ("XXL", 4096), ("XXXL", 6912), ("3B", 8704), ("1B", 5632), ("7B", 11008)],
)
def test_feed_forward_widths_are_the_published_ones(size: str, ffn: int) -> None:
    assert LlamaGenConfig.of_size(size).ffn_dim == ffn


@pytest.mark.parametrize(
    "key", ["layers.1.attention.wqkv.weight", "norm.weight", "output.weight", "cls_embedding.embedding_table.weight"]
)
def test_a_missing_key_is_named(tiny: Tiny, key: str) -> None:
    tensors = to_published(tiny())
    del tensors[key]
    with pytest.raises(CheckpointError, match=key.replace(".", r"\.")):
        from_published(tensors, grid=3, heads=2)


def test_a_renamed_key_is_named(tiny: Tiny) -> None:
    tensors = to_published(tiny())
    tensors["layers.0.attention.proj.weight"] = tensors.pop("layers.0.attention.wo.weight")
    with pytest.raises(CheckpointError, match=r"layers\.0\.attention\.wo\.weight"):
        from_published(tensors, grid=3, heads=2)
    surplus = {**to_published(tiny()), "layers.0.attention.bias": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"layers\.0\.attention\.bias"):
        from_published(surplus, grid=3, heads=2)


def test_a_misshapen_key_is_named(tiny: Tiny) -> None:
    tensors = to_published(tiny())
    tensors["layers.1.feed_forward.w2.weight"] = torch.zeros(32, 8)
    with pytest.raises(CheckpointError, match=r"layers\.1\.feed_forward\.w2\.weight \[32, 8\] instead of \[32, 256\]"):
        from_published(tensors, grid=3, heads=2)


def test_what_weights_do_not_tell_is_asked_for(tiny: Tiny) -> None:
    tensors = to_published(tiny())
    with pytest.raises(ConfigError, match="grid is needed"):
        from_published(tensors, heads=2)
    with pytest.raises(ConfigError, match="heads is needed"):
        from_published(tensors, grid=3)


@pytest.mark.parametrize("shape", [(), (10,), (0, 0, 2), (0, 4, 2), (8, 8, 2), (10, 7, 2)])
def test_a_rotary_table_that_is_none_is_refused(tiny: Tiny, shape: tuple[int, ...]) -> None:
    tensors = {**to_published(tiny()), "freqs_cis": torch.zeros(shape)}
    with pytest.raises(CheckpointError, match=r"'freqs_cis' has shape \["):
        from_published(tensors)


def test_a_number_of_layers_that_no_file_holds_is_refused_at_once(tiny: Tiny) -> None:
    tensors = {**to_published(tiny()), "layers.99999999.ffn_norm.weight": torch.zeros(32)}
    with pytest.raises(CheckpointError, match="names under 'layers' go up to 99999999 and there are"):
        from_published(tensors, grid=3, heads=2)


def test_native_checkpoints(tiny: Tiny, tmp_path) -> None:
    model = tiny("text").to(torch.bfloat16)
    save_checkpoint(tmp_path / "model", model, provenance={"recipe": "none"})
    loaded = load_checkpoint(tmp_path / "model", "generator")
    assert loaded.model.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"heads": 3}, "multiple of 4 x heads, 12"), ({"grid": 0}, "at least 1"), ({"ffn_dropout": 1.0}, r"in \[0, 1\)")],
)
def test_sizes_that_cannot_be_are_refused(tiny: Tiny, change: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        replace(tiny().config, **change)


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="no size 'XXXXL'"):
        LlamaGenConfig.of_size("XXXXL")
