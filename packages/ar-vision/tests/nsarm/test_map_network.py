"""The transformation network: shapes, the recorded case, layouts of its outputs, what it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.io import read_header, read_tensors
from ar_vision.nsarm.config import MapConfig, NsarmModelConfig
from ar_vision.nsarm.layout import to_maps, to_tokens
from ar_vision.nsarm.loading import (
    PREFIX,
    from_published,
    map_from_published,
    map_to_published,
    to_published,
)
from ar_vision.nsarm.map_network import MapNetwork
from ar_vision.nsarm.model import Nsarm


@pytest.fixture(scope="module")
def recorded(golden_dir):
    folder = golden_dir / "vision_b"
    weights = {}
    for part in (1, 2):
        weights |= read_tensors(folder / f"nsarm_tiny_map_weights_part{part}.safetensors")
    path = folder / "nsarm_tiny_map_io.safetensors"
    settings = {name: json.loads(value) for name, value in read_header(path)["__metadata__"].items()}
    return weights, read_tensors(path), settings


def test_the_recorded_network_is_loaded_strictly_and_gives_the_recorded_outputs(recorded):
    """Golden case nsarm_tiny_map_*; oracle 1: lengths 4, 16, 64, 144, 256, 576, 1024 with 14 channels."""
    weights, tensors, settings = recorded
    network = map_from_published(weights, heads=tuple(settings["heads"]))
    config = network.config
    assert list(config.sizes) == settings["output_sizes"]
    assert list(config.layers) == settings["layers"]
    assert [*config.stem, config.channels] == settings["stem_channels"]
    assert list(config.widths) == settings["hidden_dims"]
    with torch.no_grad():
        found = network(tensors["raw_features"])
    assert [tuple(one.shape[1:]) for one in found] == [(n, 14) for n in (4, 16, 64, 144, 256, 576, 1024)]
    for size, one in zip(config.sizes, found):
        torch.testing.assert_close(one, tensors[f"out_{size}"], atol=1e-4, rtol=1e-4)
    again = map_to_published(network)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())


def test_the_published_size_has_the_published_keys_and_parameters(golden_dir):
    listed = json.loads((golden_dir / "vision_b" / "nsarm_map_transformer_patterns.json").read_text())
    with torch.device("meta"):
        network = MapNetwork(MapConfig())
    assert sum(p.numel() for p in network.parameters()) == listed["num_params"] == 385_103_600
    for branch, (size, count) in zip(network.branches, listed["per_scale_params"].items()):
        assert branch.size == int(size)
        assert sum(p.numel() for p in branch.parameters()) == count
    published = map_to_published(network)
    seen = {}
    for name, tensor in published.items():
        parts = name.split(".")
        if "layers" in parts:
            parts[parts.index("layers") + 1] = "{l}"
        key = ".".join(parts)
        assert seen.setdefault(key, [list(tensor.shape), 0])[0] == list(tensor.shape)
        seen[key][1] += 1
    assert seen == listed["patterns {key: [shape, count]}"]


def test_the_published_shapes_fit_the_published_infinity():
    config = NsarmModelConfig()
    assert (config.schedule.count, config.schedule.total, config.map.count) == (13, 10521, 7)
    assert sum(config.schedule.lengths[:7]) == 521
    assert config.low_side(16) == 256
    with torch.device("meta"):
        model = Nsarm(config)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(8760.9e6, rel=1e-4)


def test_the_memory_layout_is_undone_and_differs_from_the_spatial_one_by_a_permutation():
    """Oracle 2."""
    d, side = 14, 4
    maps = torch.arange(d * side**2).view(1, d, side, side)
    for layout in ("memory", "spatial"):
        tokens = to_tokens(maps, layout)
        assert tokens.shape == (1, side**2, d)
        assert torch.equal(to_maps(tokens, (side, side), layout), maps)
    memory, spatial = to_tokens(maps, "memory").flatten(), to_tokens(maps, "spatial")[0]
    for f in range(d * side**2):
        assert memory[f] == spatial[f % side**2, f // side**2]
    assert not torch.equal(memory, spatial.flatten())


def test_images_of_another_size_are_refused(nsarm, tokenizer, low):
    """Oracle 1."""
    assert [tuple(r.shape) for r in nsarm.residuals(tokenizer, low)] == [(3, 8, 1, 1), (3, 8, 2, 2)]
    with pytest.raises(
        DataError, match=r"features of shape \[8, 4, 2\] were given and the transformation network takes \[8, 2, 2\]"
    ):
        nsarm.residuals(tokenizer, low.repeat(1, 1, 2, 1))
    with pytest.raises(DataError):
        nsarm.residuals(tokenizer, low[:, :, :3])


def test_norms_without_places_know_none_and_positions_give_them(make_nsarm):
    x = torch.randn(1, 8, 2, 2, generator=torch.Generator().manual_seed(3))
    turned = x.flip(3)
    plain = make_nsarm(norm="channels", layout="spatial").map
    with torch.no_grad():
        # A convolution with symmetric kernels commutes with a mirror: only then is what is left a matter of places.
        for part in plain.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.copy_((part.weight + part.weight.flip(3)) / 2)
        before, after = plain.residuals(x)[1], plain.residuals(turned)[1]
        torch.testing.assert_close(before.flip(3), after, atol=1e-5, rtol=0)
        placed = make_nsarm(norm="channels", layout="spatial", positions=True).map
        placed.load_state_dict(plain.state_dict())
        assert (placed.residuals(x)[1].flip(3) - placed.residuals(turned)[1]).abs().max() > 1e-3


def test_a_checkpoint_in_the_published_layout_loads_strictly(nsarm):
    """Oracle 12: chunked and flat; a key of the map that is missing raises with its name, and so does one too many."""
    settings = {"map_sizes": (1, 2), "map_heads": (2, 2), "schedules": nsarm.config.transformer.schedules}
    settings |= {"text_encoder": "hashed", "patchify": False}
    for chunks in (1, 2):
        published = to_published(nsarm, chunks)
        found = from_published(published, **settings)
        expected = replace(
            nsarm.config, map=replace(nsarm.config.map, layout="memory", dropout=0.1), input_resize="area"
        )
        assert found.config == expected
        assert all(torch.equal(found.state_dict()[name], value) for name, value in nsarm.state_dict().items())
    gone = f"{PREFIX}output_projs.1.3.weight"
    with pytest.raises(CheckpointError, match=r"output_projs\.1\.3\.weight"):
        from_published({name: t for name, t in published.items() if name != gone}, **settings)
    with pytest.raises(CheckpointError, match=r"output_projs\.1\.9"):
        from_published(published | {f"{PREFIX}output_projs.1.9.weight": torch.zeros(1)}, **settings)
    alone = {name: t for name, t in published.items() if not name.startswith(PREFIX)}
    with pytest.raises(CheckpointError, match="no key that begins with 'map_transformer"):
        from_published(alone, **settings)
    with pytest.raises(CheckpointError, match="a width of the map is 8, whose heads are not published"):
        from_published(published, **{**settings, "map_heads": None})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sizes": (1, 3)}, r"map.sizes is \[1, 3\] and the first scales of 1,2,4,8 have 1x1, 2x2 latent cells"),
        ({"grid": 3}, "images of 12x12 tokens were given"),
        ({"channels": 4}, "map.channels is 4 and the transformer has 8 bits a token of 1 cells: give 8"),
        ({"heads": (3, 2)}, "a width of the map is 8 with 3 heads"),
        ({"layers": (1,)}, "give each of them one entry a replaced scale"),
        ({"norm": "batch"}, "norm is 'batch'; choose map or channels"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make_nsarm, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_nsarm(**settings)


def test_the_transformer_keeps_at_least_one_scale(make_nsarm):
    four = {"widths": (8,) * 4, "layers": (1,) * 4, "heads": (2,) * 4, "sizes": (1, 2, 4, 8)}
    with pytest.raises(ConfigError, match="leave the transformer at least one"):
        make_nsarm(**four)
