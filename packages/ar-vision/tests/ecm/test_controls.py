"""Canny and its fellows, views of maps beside those of pictures (point 13 of the oracles), and fidelity."""

import numpy as np
import pytest
import torch
from ar_core.errors import ConfigError, DataError
from ar_vision.data.transforms import Transform, views
from ar_vision.ecm.controls.canny import canny, sobel
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.controls.detectors import colours, seen_at
from ar_vision.ecm.controls.extract import extractor_of, soft_edges
from ar_vision.ecm.controls.normals import mirrored, normals_of_depth
from ar_vision.ecm.controls.views import map_views
from ar_vision.ecm.fidelity import edge_f1, fidelity, map_rmse


def canny_in_a_loop(image, low, high):
    """An own, slow reading of the algorithm on one picture, int [E, H, W]: thin out, then follow edges from strong pixels."""
    channels, rows, columns = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")
    dx, dy, size = (np.zeros((rows, columns), dtype=int) for _ in range(3))
    for y in range(rows):
        for x in range(columns):
            for c in range(channels):
                p = padded[c, y : y + 3, x : x + 3]
                gx = p[0, 2] + 2 * p[1, 2] + p[2, 2] - p[0, 0] - 2 * p[1, 0] - p[2, 0]
                gy = p[2, 0] + 2 * p[2, 1] + p[2, 2] - p[0, 0] - 2 * p[0, 1] - p[0, 2]
                if c == 0 or abs(gx) + abs(gy) > size[y, x]:
                    dx[y, x], dy[y, x], size[y, x] = gx, gy, abs(gx) + abs(gy)

    def at(y, x):
        return size[y, x] if 0 <= y < rows and 0 <= x < columns else 0

    kept = set()
    for y in range(rows):
        for x in range(columns):
            m, ax, ay = size[y, x], abs(dx[y, x]), abs(dy[y, x])
            if m <= low:
                continue
            if ay * 2**15 < ax * 13573:
                good = m > at(y, x - 1) and m >= at(y, x + 1)
            elif ay * 2**15 > ax * 13573 + ax * 2**16:
                good = m > at(y - 1, x) and m >= at(y + 1, x)
            else:
                s = -1 if (dx[y, x] < 0) != (dy[y, x] < 0) else 1
                good = m > at(y - 1, x - s) and m > at(y + 1, x + s)
            if good:
                kept.add((y, x))
    found = np.zeros((rows, columns), dtype=np.uint8)
    todo = [place for place in kept if size[place] > high]
    while todo:
        y, x = todo.pop()
        if found[y, x]:
            continue
        found[y, x] = 255
        todo += [(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1) if (y + j, x + i) in kept]
    return found


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (13, 9), (32, 32)])
@pytest.mark.parametrize("thresholds", [(100, 200), (0, 0), (150, 600)])
def test_canny_of_a_batch_is_that_of_a_loop(shape, thresholds):
    generator = np.random.default_rng(sum(shape))
    noise = generator.integers(0, 256, (2, 3, *shape))
    y, x = np.mgrid[: shape[0], : shape[1]]
    ramp = np.stack([np.clip(y * 9 + x * x, 0, 255), np.clip(255 - x * 20, 0, 255), (x + y) % 2 * 90]).astype(int)
    images = np.concatenate([noise, ramp[None]])
    found = canny(torch.from_numpy(images).to(torch.uint8), *thresholds)
    assert found.shape == (3, 1, *shape)
    for image, edges in zip(images, found):
        np.testing.assert_array_equal(edges[0].numpy(), canny_in_a_loop(image, *thresholds))


def test_canny_of_a_square_is_its_outline():
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    image[..., 4:12, 4:12] = 200
    edges = canny(image)[0, 0] > 0
    assert not edges[6:10, 6:10].any()
    assert not edges[:3].any()
    assert edges[3:5, 6].any()
    assert edges[8, 11:13].any()
    # Corners are the steepest: 600 along x and as much along y.
    assert canny(image, 1100, 1100).any()
    assert not canny(image, 1200, 1200).any()


OPENCV = {
    (100, 200): [
        583824, 952560, 1083528, 1175006, 16714537, 4788368, 4755728, 809830, 15442969, 9505040, 9474320, 16741729,
        8985110, 1085712, 1083536, 1241105, 15536118, 5277840, 5277840, 7235447, 8493072, 9474192, 9474192, 8982672,
    ],
    (250, 700): [
        559248, 559248, 1083528, 1175006, 16714537, 594064, 561424, 809830, 15442969, 1116432, 1085712, 16741729,
        8985110, 1085712, 1083536, 1241104, 15536112, 1083536, 1083536, 7235447, 8493072, 36880, 36880, 69648,
    ],
}  # fmt: skip
"""Rows of edges as bits, by the thresholds: recorded from OpenCV 5.0.0."""


@pytest.mark.parametrize("thresholds", OPENCV)
def test_canny_is_what_opencv_finds(thresholds):
    coarse = np.random.default_rng(5).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    image = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
    y, x = np.mgrid[:24, :24]
    image = np.clip(image.astype(int) + (y * x % 13)[..., None] * 3 - 18, 0, 255).astype(np.uint8)
    found = canny(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], *thresholds)[0, 0] > 0
    rows = [int("".join("1" if one else "0" for one in row), 2) for row in found.tolist()]
    assert rows == OPENCV[thresholds]


def test_soft_edges_are_as_bright_as_the_step_is_high():
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[..., 4:] = 255
    found = soft_edges(image)
    assert found.dtype == torch.uint8
    assert found[0, :, 4, 3:5].tolist() == [[255, 255]] * 3
    assert not found[..., :3].any()
    image[..., 4:] = 51
    assert soft_edges(image)[0, 0, 4, 3:5].tolist() == [51, 51]


def test_normals_of_depth_face_the_camera_where_it_is_flat_and_lean_where_it_is_not():
    flat = normals_of_depth(torch.full((1, 3, 8, 8), 90, dtype=torch.uint8))
    assert flat.flatten(2).unique(dim=-1).tolist() == [[[128], [128], [255]]]
    ramp = (torch.arange(8, dtype=torch.uint8) * 30).expand(1, 3, 8, 8)
    leaning = normals_of_depth(ramp)[0, :, 4, 4]
    assert leaning[0] < 100
    assert leaning[1] == 128
    dx, dy = sobel(torch.eye(3)[None, None])
    assert dx.shape == dy.shape == (1, 1, 3, 3)


@pytest.mark.parametrize(("kind", "view"), [(k, v) for k in ("canny", "depth") for v in ("one", "flip", "ten_crop")])
def test_oracle_13_picture_and_map_have_the_same_boxes_and_flips(kind, view):
    """Every pixel of the picture tells its row and column, and so does the map's."""
    y, x = np.mgrid[:40, :52]
    coded = np.stack([y, x, np.zeros_like(x)], axis=-1).astype(np.uint8)
    transform = Transform("adm_centre", (32, 32), nearest=True)
    picture = views(coded, transform, view, "picture", (1.125,))
    found = map_views(coded, (40, 52), kind, Transform("adm_centre", (32, 32)), view, "map", (1.125,))
    if kind == "canny":
        assert torch.equal(found, picture)
    else:
        smooth = views(coded, Transform("adm_centre", (32, 32)), view, "picture", (1.125,))
        assert torch.equal(found, smooth)
    assert len(picture) == {"one": 1, "flip": 2, "ten_crop": 10}[view]
    assert torch.equal(picture[0, 1, 0] < picture[0, 1, 0].roll(-1), torch.arange(32) < 31)


def test_oracle_13_mirrored_normals_have_x_negated_and_two_mirrors_are_none():
    maps = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    once = mirrored(maps, normal=True)
    assert torch.equal(once[:, 0], 255 - maps[:, 0].flip(-1))
    assert torch.equal(once[:, 1:], maps[:, 1:].flip(-1))
    assert torch.equal(mirrored(once, normal=True), maps)
    assert torch.equal(mirrored(mirrored(maps, normal=False), normal=False), maps)
    pixels = maps[0].permute(1, 2, 0).numpy()
    for view, places in (("flip", [1]), ("ten_crop", [5, 6, 7, 8, 9])):
        transform = Transform("adm_centre", (4, 4))
        plain = map_views(pixels, (8, 8), "depth", transform, view, "map", (1.5,))
        found = map_views(pixels, (8, 8), "normal", transform, view, "map", (1.5,))
        for number, (one, other) in enumerate(zip(plain, found)):
            assert torch.equal(one[1:], other[1:])
            assert torch.equal(other[0], 255 - one[0] if number in places else one[0])


def test_a_map_of_another_size_goes_through_the_transform_of_its_picture():
    small = np.zeros((20, 30, 3), np.uint8)
    small[:, :15] = 255
    found = map_views(small, (40, 60), "canny", Transform("adm_centre", (32, 32)), "one", "map")
    assert set(found.unique().tolist()) == {0, 255}
    assert found[0, 0, :, :16].all()
    assert not found[0, 0, :, 16:].any()
    with pytest.raises(DataError, match="pair maps and pictures by their names"):
        map_views(np.zeros((10, 60, 3), np.uint8), (40, 60), "depth", Transform("adm_centre", (32, 32)), "one", "map")


def test_f1_and_rmse_of_images():
    given = torch.zeros(4, 3, 4, 4, dtype=torch.uint8)
    given[:3, :, 0] = 255
    found = given.clone()
    found[1, :, 0, :2] = 0
    found[1, :, 1, :2] = 128
    found[2] = 0
    assert edge_f1(found, given).tolist() == [1.0, 0.5, 0.0, 1.0]
    assert edge_f1(torch.full_like(given, 127), given).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert map_rmse(found, given).tolist() == pytest.approx([0, ((2 * 255**2 + 2 * 128**2) / 16) ** 0.5, 255 / 2, 0])
    with pytest.raises(DataError, match="give two of one shape"):
        edge_f1(found, given[:1])


def test_fidelity_extracts_what_maps_were_made_by():
    config = ControlConfig()
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (2, 3, 4, 4), generator=generator).float()
    images = torch.nn.functional.interpolate(coarse, size=(32, 32)).to(torch.uint8)
    extract = extractor_of(config)
    own = fidelity(config, extract, images, extract(images), structural=True)
    assert own["f1"].tolist() == [1, 1]
    assert own["rmse"].tolist() == [0, 0]
    assert own["ssim"].tolist() == pytest.approx([1, 1])
    other = fidelity(config, extract, images, extract(images.roll((3, 5), (2, 3))))
    assert other["f1"].max() < 0.9
    assert other["rmse"].min() > 20
    assert "f1" not in fidelity(ControlConfig(kind="depth", detector="x"), soft_edges, images, soft_edges(images))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "cany"}, "choose canny"),
        ({"low": 300.0}, "low is at most high"),
        ({"kind": "edges", "low": 50.0}, "leave them out"),
        ({"detector": "dpt"}, "needs none"),
    ],
)
def test_controls_that_are_none_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        ControlConfig(**settings)


def test_kinds_that_need_a_model_say_so(tmp_path):
    with pytest.raises(ConfigError, match="give maps, or a detector"):
        extractor_of(ControlConfig(kind="depth"))
    pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        extractor_of(ControlConfig(kind="segmentation", detector=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, (40, 60)),
        ({"size": 32}, (32, 32)),
        ({"size": {"height": 64, "width": 96}}, (64, 96)),
        ({"size": {"height": 64, "width": 96}, "do_resize": False}, (40, 60)),
        ({"size": {"shortest_edge": 80}}, (80, 120)),
        ({"size": {"height": 48, "width": 90}, "keep_aspect_ratio": True}, (48, 72)),
        ({"size": {"height": 48, "width": 90}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}, (42, 70)),
        ({"size_divisor": 32}, (32, 32)),
    ],
)
def test_detectors_see_pictures_at_the_size_that_their_folder_says(settings, seen):
    assert seen_at(settings, (40, 60)) == seen


def test_detectors_are_any_models_in_hugging_face_layout(tmp_path):
    transformers = pytest.importorskip("transformers")
    small = {"hidden_sizes": [8, 8, 8, 8], "depths": [1] * 4, "num_attention_heads": [1] * 4, "sr_ratios": [8, 4, 2, 1]}
    images = torch.randint(256, (2, 3, 40, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    depth = transformers.GLPNForDepthEstimation(transformers.GLPNConfig(**small, decoder_hidden_size=8))
    depth.save_pretrained(tmp_path / "depth")
    (tmp_path / "depth" / "preprocessor_config.json").write_text('{"size": {"height": 64, "width": 64}}')
    found = extractor_of(ControlConfig(kind="depth", detector=str(tmp_path / "depth")))(images)
    assert (found.dtype, found.shape) == (torch.uint8, images.shape)
    assert found.amin((1, 2, 3)).tolist() == [0, 0]
    assert found.amax((1, 2, 3)).tolist() == [255, 255]
    normal = extractor_of(ControlConfig(kind="normal", detector=str(tmp_path / "depth")))(images)
    assert torch.equal(normal, normals_of_depth(found))
    config = transformers.SegformerConfig(**small, decoder_hidden_size=8, num_labels=4)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "segments")
    segments = extractor_of(ControlConfig(kind="segmentation", detector=str(tmp_path / "segments")))(images)
    palette = colours(torch.arange(4).view(1, 1, 4))[0, :, 0].T.tolist()
    assert len({tuple(one) for one in palette}) == 4
    assert {tuple(one) for one in segments.permute(0, 2, 3, 1).flatten(0, 2).tolist()} <= {
        tuple(one) for one in palette
    }
