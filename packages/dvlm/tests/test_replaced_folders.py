"""Saving replaces checkpoints and nothing else."""

from pathlib import Path

import pytest
from ar_core.errors import CheckpointError, ConfigError
from dvlm.layouts.converter import convert
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from tiny_vision_language import assembled, qwen2_5_vl, route2

SETTINGS = Settings(diffusion=Diffusion(mask_id=299, block_size=4))
KINDS = [
    (lambda: QwenVL(qwen2_5_vl()), "own"),
    (lambda: QwenVL(qwen2_5_vl()), "published"),
    (lambda: QwenVL(qwen2_5_vl()), "converter"),
    (assembled, "own"),
    (route2, "published"),
]


@pytest.mark.parametrize(("build", "layout"), KINDS)
def test_no_layout_replaces_a_folder_of_something_else(tmp_path: Path, build, layout):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "only.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(CheckpointError, match="photos is a folder that holds no checkpoint, and would be replaced"):
        save_vision_language(build(), photos, SETTINGS, layout=layout)
    assert (photos / "only.jpg").read_bytes() == b"irreplaceable"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_every_layout_replaces_every_layout_and_an_empty_folder(tmp_path: Path):
    (tmp_path / "model").mkdir()
    for build, layout in [*KINDS, KINDS[0]]:
        model = build()
        save_vision_language(model, tmp_path / "model", SETTINGS, layout=layout)
        assert type(load_vision_language(tmp_path / "model").model) is type(model)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_converter_leaves_its_source(tmp_path: Path):
    save_vision_language(QwenVL(qwen2_5_vl()), tmp_path / "a" / "b", SETTINGS, layout="published")
    (tmp_path / "a" / "config.json").write_text("{}")
    for place in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / ".." / "a" / "b"):
        with pytest.raises(ConfigError, match="is the source or holds it, and the checkpoint would be replaced; give"):
            convert("diffusionvl", tmp_path / "a" / "b", place)
    assert load_vision_language(tmp_path / "a" / "b").settings == SETTINGS
