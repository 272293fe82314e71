"""Pictures to patches and crops: equal to transformers' processor and to the recorded any-resolution layouts."""

import json
import os
import tracemalloc

import numpy as np
import pytest
import torch
from ar_core.errors import ConfigError, DataError
from dvlm.images.anyres import anyres_map, best_resolution, candidates
from dvlm.images.canvas import background_of, on_canvas, resized, squared
from dvlm.images.config import ImageConfig
from dvlm.images.processor import CLIP_MEAN, CropProcessor, PatchProcessor
from dvlm.images.smart_resize import smart_resize
from dvlm.towers.connector import anyres_tokens, pooled


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_smart_resize_of_known_sizes():
    """Oracle 19."""
    known = {(480, 640): (420, 588), (1080, 1920): (364, 672), (56, 56): (392, 392), (33, 4000): (56, 4228)}
    for size, expected in known.items():
        assert smart_resize(*size, min_pixels=147456, max_pixels=262144) == expected


@pytest.mark.golden
def test_smart_resize_equals_the_recorded_table(golden_dir):
    """Oracle 19, recorded."""
    for case in json.loads((golden_dir / "dvlm" / "smart_resize.json").read_text()):
        found = smart_resize(case["h"], case["w"], min_pixels=case["min_pixels"], max_pixels=case["max_pixels"])
        assert list(found) == case["out"]


def test_square_canvas():
    """Oracle 19: colour, and the smaller margin first."""
    assert background_of(CLIP_MEAN) == (122, 116, 104)
    found = squared(picture(4, 9), 9, 9, (122, 116, 104))
    assert found.shape == (9, 9, 3)
    assert (found[:2] == (122, 116, 104)).all()
    assert (found[2:6] == picture(4, 9)).all()


@pytest.mark.parametrize("size", [(3, 300), (300, 3), (50, 70), (64, 64), (1, 2)])
@pytest.mark.parametrize("target", [(28, 28), (64, 56), (300, 300), (392, 28)])
def test_a_square_canvas_in_bands_is_that_at_once(size, target, monkeypatch):
    """Bit for bit, whatever the size of bands."""
    monkeypatch.setattr("dvlm.images.canvas.AT_ONCE", 7 * max(size))
    pixels, colour = picture(*size), background_of(CLIP_MEAN)
    expected = resized(on_canvas(pixels, max(size), max(size), colour), *target)
    np.testing.assert_array_equal(squared(pixels, *target, colour), expected)


PROCESSORS = [
    *(PatchProcessor(ImageConfig(fit=fit)) for fit in ("native", "square")),
    *(CropProcessor(ImageConfig(fit=fit), side=8, features=2) for fit in ("square", "stretch", "anyres")),
]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda one: f"{type(one).__name__}, {one.config.fit}")
def test_memory_of_long_pictures(processor):
    """A strip is refused before it is fitted, whose square would take 3 TB; of the longest that are read the square is never whole."""
    for shape in ((1, 1_000_000, 3), (2_000, 1, 3)):
        with pytest.raises(DataError, match=rf"strip.png is {shape[0]} x {shape[1]} pixels, .* at most 200 times"):
            processor(np.broadcast_to(np.uint8(9), shape), "strip.png")
    for shape in ((40, 8_000, 3), (8_000, 40, 3)):
        pixels = np.full(shape, 9, np.uint8)
        tracemalloc.start()
        processor(pixels, "long.png")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 8_000**2 * 3 / 2


@pytest.mark.parametrize("size", [(40, 70), (100, 30), (56, 56)])
def test_patches_equal_those_of_transformers(size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    theirs = Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": 12544})(
        images=[picture(*size)], return_tensors="pt"
    )
    ours = PatchProcessor(ImageConfig(fit="native", min_pixels=3136, max_pixels=12544))(picture(*size))
    assert theirs["image_grid_thw"].tolist() == [[1, *ours.layout.patches]]
    assert ours.layout.tokens == ours.layout.units // 4
    torch.testing.assert_close(ours.pixels, theirs["pixel_values"], rtol=0, atol=1e-5)


def test_no_torchvision_is_imported():
    """Backbone oracle 12: every module of the package is imported, and a picture goes through a tower, where there is none."""
    import subprocess
    import sys

    # Importing the model of lmms-eval needs lmms-eval.
    code = """
import sys; sys.modules["torchvision"] = None
import importlib, pkgutil, dvlm
for module in pkgutil.walk_packages(dvlm.__path__, "dvlm."):
    if module.name != "dvlm.evaluation.lmms_model":
        importlib.import_module(module.name)
import numpy as np
from dvlm.images.config import ImageConfig
from dvlm.qwen_vl import QwenVL
from tiny_vision_language import qwen2_5_vl
model = QwenVL(qwen2_5_vl())
image = model.processor(ImageConfig())(np.zeros((30, 40, 3), np.uint8))
features = model.image_features(image.pixels, [image.layout])
assert not [name for name in sys.modules if name.startswith("torchvision.")]
print(len(features.rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
    )
    assert done.stdout.strip() == "196", done.stderr


@pytest.mark.golden
def test_any_resolution_equals_the_recorded_layouts(golden_dir, recorded):
    """Oracle 20: counts, grids, order, margins, scaling, newlines."""
    cases = json.loads((golden_dir / "dvlm" / "anyres.json").read_text())
    for case in cases["select_best_resolution"]:
        width, height = case["size_wh"]
        assert list(best_resolution(height, width, candidates(384, 6)))[::-1] == case["best"]
    tokens = recorded("anyres")
    cells = torch.cartesian_prod(torch.arange(27.0), torch.arange(27.0))
    for case in cases["cases"]:
        width, height = case["size_wh"]
        laid = anyres_map(height, width, side=384, features=27, max_grid=6, max_tiles=4)
        assert list(laid.grid)[::-1] == case["best_grid_wh"]
        crops = torch.stack(
            [torch.cat([torch.full((729, 1), float(n)), cells, torch.ones(729, 1)], 1) for n in range(case["n_crops"])]
        )
        found = anyres_tokens(crops, laid, -torch.arange(1.0, 5.0))
        assert len(found) == case["n_image_tokens"]
        torch.testing.assert_close(found, tokens[f"w{width}h{height}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "tokens"), [((384, 384), 1485), ((500, 375), 1728), ((800, 600), 3627), ((1500, 500), 3643)]
)
def test_any_resolution_token_counts(size, tokens):
    """Oracle 20: the published side, features and limits; width and height."""
    process = CropProcessor(ImageConfig(fit="anyres"), side=384, features=27, newline=True)
    assert process(picture(size[1], size[0])).layout.tokens == tokens


def test_any_resolution_crops_lie_row_by_row():
    """Oracle 20: the whole picture first, then the crops of the fitted one; the promised number of tokens."""
    process = CropProcessor(ImageConfig(fit="anyres"), side=8, features=2, newline=True, mean=(0, 0, 0), std=(1, 1, 1))
    pixels = picture(16, 24)
    found = process(pixels)
    assert found.layout.map.grid == (2, 3)
    crops = (found.pixels * 255).round().permute(0, 2, 3, 1).numpy()
    for number in range(6):
        row, column = divmod(number, 3)
        np.testing.assert_array_equal(crops[1 + number], pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8])
    tokens = anyres_tokens(torch.randn(7, 4, 5), found.layout.map, torch.randn(5))
    assert len(tokens) == found.layout.tokens


def test_pooling_averages_squares():
    grid = torch.arange(16.0).view(1, 16, 1)
    assert pooled(grid, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"strip.png is 2 x 500 pixels, and a side may be at most 200 times the other"):
        PatchProcessor(ImageConfig(fit="native"))(picture(2, 500), "strip.png")
    with pytest.raises(ConfigError, match="choose native or square"):
        PatchProcessor(ImageConfig(fit="anyres"))
    with pytest.raises(ConfigError, match="choose square, stretch or anyres"):
        CropProcessor(ImageConfig(fit="native"), side=8, features=2)
    with pytest.raises(ConfigError, match="min_pixels is 10 and max_pixels only 5"):
        ImageConfig(min_pixels=10, max_pixels=5)
