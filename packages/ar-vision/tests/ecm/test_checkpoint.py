"""Controllers as files of their own, and CAR's published ones (points 6 and 14 of the oracles)."""

import json
import warnings

import numpy as np
import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.io import read_header, read_tensors, save_tensors
from ar_core.registry import converter, resolve
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.ecm.baselines.car_loading import from_published, to_published
from ar_vision.ecm.checkpoint import load_controller, require_base, save_controller
from ar_vision.ecm.config import EcmConfig, EncoderConfig
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.pixels import to_signed
from PIL import Image

CANNY = (ControlConfig(low=50.0, maps="somewhere"),)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ecm", {}),
        ("ecm", {"share_ffn": False, "adaln": "own", "gate": "scalar", "num_kinds": 2}),
        ("ecm", {"adaln": "none", "encoder": EncoderConfig(kind="conv", channels=(4, 6, 8))}),
        ("ecm", {"encoder": EncoderConfig(kind="pixels")}),
        ("lora", {"rank": 3}),
        ("full", {}),
        ("car", {}),
    ],
)
@torch.no_grad()
def test_oracle_6_what_is_saved_is_the_controller_and_loads_to_the_same_logits(
    base, make_controller, maps, logits, tmp_path, kind, settings
):
    controller = make_controller(kind, **settings)
    controls = CANNY + (ControlConfig(kind="edges"),) * (settings.get("num_kinds", 1) - 1)
    save_controller(tmp_path, controller, controls, base="abc", tokenizer="def", provenance={"steps": 3})
    loaded = load_controller(tmp_path)
    assert (loaded.kind, loaded.base, loaded.tokenizer, loaded.provenance) == (kind, "abc", "def", {"steps": 3})
    first = loaded.controls[0]
    assert (first.kind, first.low, first.maps) == ("canny", 50.0, None)
    assert torch.equal(logits(loaded.model, loaded.model.features(maps)), logits(controller, controller.features(maps)))
    names = read_tensors(tmp_path / "model.safetensors").keys()
    assert not names & base.state_dict().keys()
    assert all(name.startswith((f"{kind}.", "car_")) for name in names)
    # By value, too: what is frozen is under no other name.
    stored = read_tensors(tmp_path / "model.safetensors").values()
    frozen = [tensor for tensor in base.state_dict().values() if tensor.numel() > 64]
    assert not any(one.shape == other.shape and torch.equal(one, other) for one in stored for other in frozen)
    assert sum(one.numel() for one in stored) == sum(one.numel() for one in controller.parameters())
    assert read_header(tmp_path / "model.safetensors")["__metadata__"]["kind"] == kind


def test_names_are_those_of_the_layout(make_controller, tmp_path):
    save_controller(tmp_path, make_controller(adaln="own"), CANNY)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["positions"] == [0, 2]
    names = read_tensors(tmp_path / "model.safetensors").keys()
    attention = ("mat_qkv.weight", "q_bias", "v_bias", "proj.weight", "proj.bias", "scale_mul_1H11")
    assert {f"ecm.adapters.1.attn.{name}" for name in attention} <= names
    assert {"ecm.adapters.0.ada_lin.1.weight", "ecm.adapters.0.ffn_gate", "ecm.adapters.0.inject_gate"} <= names
    assert {"ecm.shared_ffn.fc1.weight", "ecm.proj.weight", "ecm.scale_embed", "ecm.null_control"} <= names
    assert any(name.startswith("ecm.encoder.blocks.0") for name in names)
    save_controller(tmp_path, make_controller(), CANNY)
    names = read_tensors(tmp_path / "model.safetensors").keys()
    assert {"ecm.adapters.0.ada_gss", "ecm.shared_ada_lin.1.weight"} <= names


@pytest.fixture
def saved(make_controller, base, tmp_path):
    """Folders of a base and its controller."""
    folders = tmp_path / "ecm", tmp_path / "var"
    save_checkpoint(folders[1], base)
    save_controller(folders[0], make_controller(), CANNY, base=fingerprint(base))
    return folders


def test_a_base_of_another_shape_is_refused_and_of_other_weights_warned_of(saved, make_var, var_tokenizer, tmp_path):
    loaded = load_controller(saved[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_base(loaded, load_checkpoint(saved[1]))
    for settings, said in (({"width": 64}, "width 32"), ({"depth": 4, "scales": (1, 2, 4)}, "scales")):
        save_checkpoint(tmp_path / "other", make_var(**{"depth": 4, **settings}))
        with pytest.raises(CheckpointError, match=said):
            require_base(loaded, load_checkpoint(tmp_path / "other"))
    other = make_var(depth=4)
    with torch.no_grad():
        other.start.add_(1)
    save_checkpoint(tmp_path / "other", other)
    with pytest.warns(UserWarning, match="of the same shape"):
        require_base(loaded, load_checkpoint(tmp_path / "other"))
    save_checkpoint(tmp_path / "tokenizer", var_tokenizer)
    with pytest.raises(CheckpointError, match="controls a VAR"):
        require_base(loaded, load_checkpoint(tmp_path / "tokenizer"))


def test_damaged_folders_are_refused_in_one_sentence(saved):
    config, weights = saved[0] / "config.json", saved[0] / "model.safetensors"
    record = json.loads(config.read_text())
    for change, said in (
        ({"kind": "ecmm"}, "controls nothing"),
        ({"base": {"config": {}}}, "does not describe"),
        ({"config": {**record["config"], "ffn_ratio": 1}}, "ffn"),
        ({"config": {**record["config"], "colour": 1}}, "colour"),
        ({"controls": [{"kind": "smell"}]}, "smell"),
    ):
        config.write_text(json.dumps({**record, **change}))
        with pytest.raises(CheckpointError, match=said):
            load_controller(saved[0])
    config.write_text(json.dumps(record))
    # Copies: what is read may be a view of the file.
    tensors = {name: tensor.clone() for name, tensor in read_tensors(weights).items()}
    tensors["ecm.scale_embed"] = tensors["ecm.scale_embed"] / 0
    save_tensors(weights, tensors)
    with pytest.raises(CheckpointError, match="not finite"):
        load_controller(saved[0])
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load_controller(saved[0] / "nothing")


def car_by_hand(base, car, maps, inputs, order):
    """CAR's logits, its outputs being used in an order: layer after layer, from the words of section 5."""
    schedule, condition = base.schedule, base.condition(torch.tensor([0, 3, 5]))
    tokens, branch = [], []
    for k, (side, _) in enumerate(schedule.sizes):
        x = base.embed(k, inputs[k], condition, schedule)
        positions = base.positions_of(k, schedule)
        grid = (x - positions).transpose(1, 2).unflatten(2, (side, side))
        pixels = maps
        for size in ((16, 4 * side), (4 * side,) * 2):
            pixels = torch.nn.functional.interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        u = car.var_conv(grid) + car.control_convs(pixels if side < 4 else maps)
        tokens.append(x)
        branch.append(u.flatten(2).transpose(1, 2) + positions)
    x, u, mask = torch.cat(tokens, 1), torch.cat(branch, 1), scale_mask(schedule, maps.device)
    outputs = []
    for block in car.blocks:
        u = block(u, condition, mask=mask)
        outputs.append(u)
    for i, block in enumerate(base.blocks):
        if i >= 2:
            joined = torch.cat([x, outputs[order[i - 2]]], dim=-1)
            x = car.skip_linear[i - 2](
                torch.nn.functional.layer_norm(
                    joined, (64,), car.skip_norm[i - 2].weight, car.skip_norm[i - 2].bias, 1e-6
                )
            )
        x = block(x, condition, mask=mask)
    return base.head(x, condition)


@torch.no_grad()
def test_oracle_14_car_in_its_published_layout_comes_back_and_uses_its_outputs_last_to_first(
    base, make_controller, maps, logits, teacher
):
    car = make_controller("car")
    published = to_published(car)
    assert {
        "car_control_convs.conv_in.weight",
        "car_control_convs.blocks.3.bias",
        "car_var_conv.weight",
    } <= published.keys()
    assert {
        "car_blocks.1.attn.mat_qkv.weight",
        "car_skip_norm.0.weight",
        "car_skip_linear.1.weight",
    } <= published.keys()
    again = from_published(published, base.config, 16)
    right = logits(again, again.features(maps))
    assert torch.equal(right, logits(car, car.features(maps)))
    for order, holds in (([1, 0], True), ([0, 1], False)):
        found = car_by_hand(base, again, maps, teacher[1], order)
        assert torch.allclose(found, right, atol=1e-4) == holds
    for broken in (
        {**published, "car_more": torch.zeros(1)},
        {k: v for k, v in published.items() if "var_conv.b" not in k},
    ):
        with pytest.raises(CheckpointError):
            from_published(broken, base.config, 16)


@torch.no_grad()
def test_car_sees_maps_resized_as_pictures_are(base, make_controller, monkeypatch):
    """PIL's bicubic kernel, cut off at black and white, to the pixels of every scale."""
    edges = torch.randint(2, (16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8) * 255
    car, seen = make_controller("car"), []
    monkeypatch.setattr(type(car.control_convs), "forward", lambda self, maps: seen.append(maps) or maps)
    car.features(to_signed(edges.expand(1, 3, -1, -1)))
    assert [one.shape[-1] for one in seen] == [4, 8, 12, 16]
    for one in seen:
        small = Image.fromarray(edges.numpy()).resize(one.shape[2:], Image.Resampling.BICUBIC)
        assert ((one[0, 0] + 1) * 127.5 - torch.from_numpy(np.asarray(small).astype(np.float32))).abs().max() < 1.5


@torch.no_grad()
def test_published_car_is_converted_for_its_base_alone(base, make_controller, make_var, tmp_path):
    save_checkpoint(tmp_path / "var", base)
    save_tensors(tmp_path / "car.safetensors", to_published(make_controller("car")))
    convert = resolve(converter("car").convert)
    settings = {"base": str(tmp_path / "var"), "image_size": 16}
    said = convert("car", tmp_path / "car.safetensors", tmp_path / "car", settings=settings)
    assert "written to" in said
    loaded = load_controller(tmp_path / "car")
    require_base(loaded, load_checkpoint(tmp_path / "var"))
    save_checkpoint(tmp_path / "deeper", make_var(depth=8))
    with pytest.raises(CheckpointError, match="needs 4 of 32"):
        convert(
            "car",
            tmp_path / "car.safetensors",
            tmp_path / "no",
            settings={**settings, "base": str(tmp_path / "deeper")},
        )
    with pytest.raises(ConfigError, match="base"):
        convert("car", tmp_path / "car.safetensors", tmp_path / "no", settings={})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"positions": (2, 1)}, "increasing"),
        ({"positions": (0, 1), "n_adapters": 3}, "give one of the two"),
        ({"gate": "open"}, "choose channel"),
        ({"ffn_ratio": 0}, "at least 1"),
    ],
)
def test_adapters_that_are_none_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        EcmConfig(**settings)


def test_adapters_are_spread_over_the_depth_of_the_base(base, make_controller):
    assert EcmConfig().placed(16) == (0, 4, 8, 12)
    assert EcmConfig(n_adapters=8).placed(16) == (0, 2, 4, 6, 8, 10, 12, 14)
    assert EcmConfig(n_adapters=2).placed(5) == (0, 2)
    assert EcmConfig().placed(3) == (0,)
    for settings in ({"n_adapters": 5}, {"positions": (0, 4)}):
        with pytest.raises(ConfigError, match="at most one for each block"):
            EcmConfig(**settings).placed(4)
    for settings, said in (
        ({"encoder": EncoderConfig(patch=5)}, "does not divide"),
        ({"encoder": EncoderConfig(kind="conv", channels=(4, 6))}, "as many stages"),
        ({"adaln": "base"}, "no shared modulation"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_controller(**settings)
