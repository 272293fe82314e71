"""What configs of the published layouts say, and what is refused of it."""

import json

import numpy as np
import pytest
from ar_core.errors import CheckpointError, ConfigError
from dvlm.images.config import ImageConfig
from dvlm.layouts.assembled_keys import route2_config
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from dvlm.towers import ConnectorConfig
from tiny_vision_language import assembled, edit_config, qwen2_5_vl, route2

DIFFUSION = Diffusion(mask_id=299, block_size=4)
NOISE = {
    "bd3lm_antithetic_sampling": True, "bd3lm_sampling_eps_min": 1e-3, "bd3lm_sampling_eps_max": 1.0, "bd3lm_block_aligned_eos": True,
    "bd3lm_block_size": 4, "enable_bd3lm": True, "mask_token_id": 299,
}  # fmt: skip


def written(folder):
    return json.loads((folder / "config.json").read_text())


def test_route_1_says_what_is_known_of_it(tmp_path):
    """And comes back without our own field; for an autoregressive model there is no noise to tell of."""
    for fit in ("square", "native"):
        settings = Settings(images=ImageConfig(fit=fit, min_pixels=3136, max_pixels=6272), diffusion=DIFFUSION)
        folder = tmp_path / fit
        save_vision_language(QwenVL(qwen2_5_vl()), folder, settings, layout="published")
        assert (
            written(folder).items() >= {**NOISE, "mm_use_im_start_end": False, "mm_use_im_patch_token": False}.items()
        )
        assert not any(name.startswith("mm_") and "use_im" not in name for name in written(folder))
        edit_config(folder, dvlm=None)
        assert load_vision_language(folder).settings == settings
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "plain", Settings(), layout="published")
    assert not any(name.startswith("bd3lm") for name in written(tmp_path / "plain"))
    edit_config(tmp_path / "plain", dvlm=None)
    assert load_vision_language(tmp_path / "plain").settings.diffusion is None


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            ImageConfig(fit="anyres", max_grid=2, max_tiles=3),
            {
                "image_aspect_ratio": "anyres_max_3",
                "image_grid_pinpoints": [[32, 32], [32, 64], [64, 32], [64, 64]],
            },
        ),
        (ImageConfig(fit="square"), {"image_aspect_ratio": "pad"}),
        (ImageConfig(fit="stretch"), {"image_aspect_ratio": "plain"}),
    ],
)
def test_route_2_says_what_is_known_of_it(tmp_path, images, said):
    settings = Settings(images=images, diffusion=DIFFUSION)
    save_vision_language(route2(), tmp_path, settings, layout="published")
    fields = {
        **NOISE, **said, "mm_hidden_size": 16, "mm_projector_type": "mlp2x_gelu", "mm_patch_merge_type": "spatial_unpad",
        "mm_use_im_start_end": False, "mm_use_im_patch_token": False,
    }  # fmt: skip
    assert written(tmp_path).items() >= fields.items()
    assert ("image_grid_pinpoints" in written(tmp_path)) == (images.fit == "anyres")
    edit_config(tmp_path, dvlm=None)
    assert load_vision_language(tmp_path).settings == settings


def test_the_published_tower_is_named_and_no_path_is(tmp_path):
    """Models remember the folder that they were read from."""
    tower = {
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16, "patch_size": 14,
        "image_size": 384,
    }  # fmt: skip
    known = {
        "mm_vision_tower": "google/siglip2-so400m-patch14-384", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
    }  # fmt: skip
    assert route2_config({}, tower, Settings(), newline=True).items() >= known.items()
    assert not known.keys() & route2_config({}, {**tower, "num_hidden_layers": 27}, Settings(), newline=True).keys()
    for name, model in (("one", QwenVL(qwen2_5_vl())), ("two", route2())):
        save_vision_language(model, tmp_path / name, Settings())
        back = load_vision_language(tmp_path / name).model
        save_vision_language(back, tmp_path / f"{name} published", Settings(), layout="published")
        assert str(tmp_path) not in (tmp_path / f"{name} published" / "config.json").read_text()
        assert "mm_vision_tower" not in written(tmp_path / f"{name} published")


def grid(rows, columns, side=32):
    return [[side * column, side * row] for row in range(1, rows + 1) for column in range(1, columns + 1)]


@pytest.mark.parametrize(
    ("given", "connector", "final_norm"),
    [
        (r"connector\.depth 3", ConnectorConfig(depth=3), False),
        (r"connector\.pool 2", ConnectorConfig(pool=2), False),
        ("a tower with its final norm", ConnectorConfig(), True),
    ],
)
def test_what_the_layout_of_route_2_cannot_say_is_refused(tmp_path, given, connector, final_norm):
    model = route2(connector=connector, final_norm=final_norm)
    with pytest.raises(ConfigError, match=f"the model has {given}, .*: choose own"):
        save_vision_language(model, tmp_path / "there", Settings(), layout="published")
    assert not (tmp_path / "there").exists()
    save_vision_language(model, tmp_path / "own", Settings())
    assert load_vision_language(tmp_path / "own").model.config == connector


def test_any_resolution_without_a_number_scales_nothing_down(tmp_path):
    save_vision_language(route2(), tmp_path, Settings(images=ImageConfig(fit="anyres", max_grid=3)), layout="published")
    edit_config(tmp_path, dvlm=None, image_aspect_ratio="anyres")
    loaded = load_vision_language(tmp_path)
    picture = np.zeros((96, 96, 3), np.uint8)  # side 32: all nine crops of 4 x 4
    assert loaded.model.processor(loaded.settings.images)(picture).layout.map.size == (12, 12)
    scaled = loaded.model.processor(ImageConfig(fit="anyres", max_grid=3, max_tiles=4))(picture).layout.map
    assert scaled.size == (8, 8)


def test_resolutions_of_pictures(tmp_path):
    """Square grids of the tower's side, spelt out or not, in any order; nothing else."""
    settings = Settings(images=ImageConfig(fit="anyres"), diffusion=DIFFUSION)
    save_vision_language(route2(), tmp_path, settings, layout="published")
    edit_config(tmp_path, dvlm=None)
    for given, most in ((grid(5, 5), 5), (grid(1, 1), 1), ("(1x1),...,(3x3)", 3), (grid(2, 2)[::-1], 2), (None, 6)):
        edit_config(tmp_path, image_grid_pinpoints=given)
        assert load_vision_language(tmp_path).settings.images.max_grid == most
    for wrong in (
        grid(2, 3), grid(2, 2, side=16), grid(2, 2)[1:], [*grid(2, 2)[1:], [32, 64]], [], 3, "(1x1),...,(2x3)", "(2x2),...,(6x6)",
        [[32]], {"a": 1},
    ):  # fmt: skip
        edit_config(tmp_path, image_grid_pinpoints=wrong)
        with pytest.raises(CheckpointError, match=r"config\.json: image_grid_pinpoints is .*, but must hold") as caught:
            load_vision_language(tmp_path)
        assert "\n" not in str(caught.value)
    # Where pictures are not cut they do not matter.
    edit_config(tmp_path, image_aspect_ratio="pad")
    assert load_vision_language(tmp_path).settings.images.fit == "square"


@pytest.mark.parametrize("route", [1, 2])
def test_published_fields_of_diffusion_that_cannot_be_are_refused(tmp_path, route):
    model = QwenVL(qwen2_5_vl()) if route == 1 else route2()
    save_vision_language(model, tmp_path, Settings(diffusion=DIFFUSION), layout="published")
    edit_config(tmp_path, dvlm=None)
    for name, least, values in (
        ("bd3lm_block_size", 1, (0, -4, "8", True, 8.0, [8])),
        ("mask_token_id", 0, (-1, "299", False)),
    ):
        for value in values:
            edit_config(tmp_path, **{"bd3lm_block_size": 4, "mask_token_id": 299, name: value})
            with pytest.raises(
                CheckpointError, match=rf"config\.json: {name} is .*, but must be an integer of at least {least}"
            ):
                load_vision_language(tmp_path)


@pytest.mark.parametrize("layout", ["hub", "published", "converter", "route 2", "own"])
def test_our_fields_of_diffusion_that_cannot_be_are_refused(tmp_path, layout):
    model = {"route 2": route2, "own": assembled}.get(layout, lambda: QwenVL(qwen2_5_vl()))()
    kind = {"hub": "own", "route 2": "published"}.get(layout, layout)
    save_vision_language(model, tmp_path, Settings(diffusion=DIFFUSION), layout=kind)
    file, key = ("dvlm.json", "settings") if layout == "own" else ("config.json", "dvlm")
    path = tmp_path / file
    whole = json.loads(path.read_text())
    for name, value, reason in (
        ("block_size", 0, "block_size is 0, but must be at least 1"),
        ("block_size", "8", "block_size is '8'"),
        ("mask_id", -5, "mask_id is -5, but must be at least 0"),
        ("clean", "all", "clean is 'all'"),
    ):
        diffusion = {**whole[key]["diffusion"], name: value}
        path.write_text(json.dumps({**whole, key: {**whole[key], "diffusion": diffusion}}))
        with pytest.raises(CheckpointError, match=rf"{file}: {key}\.diffusion.*{reason}"):
            load_vision_language(tmp_path)
    diffusion = {**whole[key]["diffusion"], "mask_id": 300}
    path.write_text(json.dumps({**whole, key: {**whole[key], "diffusion": diffusion}}))
    with pytest.raises(CheckpointError, match="masks with id 300 and embeds only 300 tokens: correct the mask id"):
        load_vision_language(tmp_path)


def test_diffusion_that_cannot_be():
    for given, reason in (
        ({"block_size": 0}, "block_size is 0"),
        ({"mask_id": -1}, "mask_id is -1, but must be at least 0"),
        ({"clean": "all"}, "clean is 'all', but must be one of block, token"),
    ):
        with pytest.raises(ConfigError, match=reason):
            Diffusion(**{"mask_id": 3, **given})
