"""xAR: oracle 12 of GloTok's specification, its sampler on a law that is known, and its recipe."""

import re

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.backbones.xar import cells
from ar_vision.backbones.xar.cells import cell_mask, from_cells, to_cells
from ar_vision.backbones.xar.config import XarConfig, XarTraining
from ar_vision.backbones.xar.decode import XarOptions, cell_guidance, draw_features, generate
from ar_vision.backbones.xar.flow import integrate, noised
from ar_vision.backbones.xar.model import Xar
from ar_vision.backbones.xar.objective import XarObjective, quantised
from ar_vision.checkpoint import load_checkpoint, save_checkpoint
from ar_vision.evaluation.generation import open_generator
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.dual_vq.config import AdapterConfig, DualVqTokenizerConfig, ResidualConfig
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer

CONFIG = XarConfig(layers=2, heads=2, dim=16, code_dim=8, grid=4, cell=2, num_classes=5, latent_std=0.5)


def xar(config=CONFIG, seed=0):
    model = Xar(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    return model.eval()


def tokenizer(grid=4):
    shape = AutoencoderConfig(
        channels=4, channel_multipliers=(1, 2), blocks_per_level=1, attention=False, latent_channels=4, norm_groups=2
    )
    settings = {"visual_codes": 12, "semantic_codes": 8, "code_dim": 4, "adapter": AdapterConfig(layers=1, heads=2)}
    config = DualVqTokenizerConfig(autoencoder=shape, grid=grid, residual=ResidualConfig(width=8, heads=2), **settings)
    model = DualVqTokenizer(config)
    model.initialize(torch.Generator().manual_seed(0))
    return model.eval()


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_cells_come_in_raster_order_and_lead_back():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    tokens = to_cells(features, 2)
    assert tokens.flatten().tolist() == [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]
    assert torch.equal(from_cells(tokens, 2), features)
    several = normal(2, 3, 6, 6)
    assert torch.equal(from_cells(to_cells(several, 3), 3), several)


def test_oracle_12_the_mask_is_the_one_that_is_drawn():
    """Oracle 12."""
    drawn = [
        re.findall(r"[#.]", line)
        for line in cells.cell_mask.__doc__.splitlines()
        if re.fullmatch(r"\s+[#.]( [#.])+", line)
    ]
    mask = cell_mask(4, 2, "cpu").dense()
    assert [["#" if one else "." for one in row] for row in mask.reshape(8, 8).tolist()] == drawn


@torch.no_grad()
def test_oracle_12_a_later_cell_changes_no_earlier_velocity():
    """Oracle 12: exactly."""
    model, x, time, labels = (
        xar(),
        normal(2, 16, 8),
        torch.rand(2, 4, generator=torch.Generator().manual_seed(0)),
        torch.tensor([1, 4]),
    )
    before = model.teacher_forced(x, time, labels)
    changed, later = x.clone(), time.clone()
    changed[:, 8:12] += 1
    later[:, 2] = 0.9
    after = model.teacher_forced(changed, later, labels)
    assert torch.equal(after[:, :8], before[:, :8])
    assert not torch.allclose(after[:, 8:12], before[:, 8:12])
    assert not torch.allclose(after[:, 12:], before[:, 12:])


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_oracle_12_a_straight_path_leads_back_to_the_data(steps):
    """Oracle 12: Euler is exact for a constant field."""
    data, noise = normal(2, 4, 3, seed=1).double(), normal(2, 4, 3, seed=2).double()
    torch.testing.assert_close(integrate(lambda x, t: noise - data, noise, steps), data)
    half = noised(data, noise, torch.full((2, 1, 1), 0.25, dtype=torch.float64))
    torch.testing.assert_close(half, 0.75 * data + 0.25 * noise)


@pytest.mark.parametrize("diffusion", [0.0, 1.0, 2.0])
def test_the_law_of_the_data_comes_out_with_noise_along_the_path_and_without(diffusion):
    """Data are N(1, 0.5²): the velocity is known, and so is what must come out."""
    mean, std, generator = 1.0, 0.5, torch.Generator().manual_seed(0)

    def velocity(x, t):
        variance = (1 - t) ** 2 * std**2 + t**2
        return -mean + (t - (1 - t) * std**2) / variance * (x - (1 - t) * mean)

    def draw():
        return torch.randn(20000, generator=generator, dtype=torch.float64)

    found = integrate(velocity, draw(), 200, diffusion=diffusion, draw=draw)
    assert float(found.mean()) == pytest.approx(mean, abs=0.03)
    assert float(found.std()) == pytest.approx(std, abs=0.03)


@torch.no_grad()
def test_cached_velocities_are_those_of_one_masked_pass_with_clean_cells_before():
    model, x, labels = xar(), normal(2, 16, 8), torch.tensor([0, 3])
    cache = model.new_cache(2)
    for cell in range(4):
        time = torch.zeros(2, 4)
        time[:, cell] = 0.6
        whole = model.teacher_forced(x, time, labels)
        part = slice(4 * cell, 4 * cell + 4)
        for at in (0.3, 0.6):
            # Passes of one cell write to the same slots again and again.
            cache.window(4)
            found = model.velocity(x[:, part], torch.full((2, 1), at), labels, first=cell, cache=cache)
        torch.testing.assert_close(found, whole[:, part], atol=1e-5, rtol=1e-4)
        cache.window(4)
        model.velocity(x[:, part], torch.zeros(2, 1), labels, first=cell, cache=cache)
        cache.keep(4)


@torch.no_grad()
def test_images_depend_on_their_own_seed_and_snapped_ones_are_those_of_codes(tmp_path):
    model, coder = xar(), tokenizer()
    options = XarOptions(guidance=2.0, steps=3)
    together, stats = draw_features(model, [1, 2], options, seed=[7, 8])
    alone, _ = draw_features(model, [2], options, seed=[8])
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)
    assert stats.forwards == {"cell": 4 * 3, "commit": 3}
    snapped = generate(model, coder, [1, 2], XarOptions(guidance=2.0, steps=3, snap=True), seed=[7, 8])
    expected = coder.decode(quantised(coder, snapped.codes[0], 4)).clamp(-1, 1)
    torch.testing.assert_close(snapped.images, expected)
    free = generate(model, coder, [1, 2], options, seed=[7, 8])
    assert torch.equal(free.codes[0], snapped.codes[0])
    torch.testing.assert_close(free.images, coder.decode(together).clamp(-1, 1), atol=1e-5, rtol=0)
    save_checkpoint(tmp_path / "xar", model)
    save_checkpoint(tmp_path / "dual", coder)
    opened = open_generator(str(tmp_path / "xar"), str(tmp_path / "dual"), {"guidance": 2.0, "steps": 3})
    torch.testing.assert_close(opened.sample([1, 2], [7, 8]).images, free.images, atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match="code_dim"):
        generate(xar(XarConfig(**{**vars(CONFIG), "code_dim": 6})), coder, [1], options)


def test_guidance_rises_from_cell_to_cell():
    assert cell_guidance(2.5, 4) == (1, 1.5, 2, 2.5)
    assert cell_guidance(3.0, 1) == (3.0,)


def test_the_loss_is_the_error_of_the_velocity_and_any_split_adds_up():
    model, coder = xar(XarConfig(**{**vars(CONFIG), "dropout": 0.0})), tokenizer()
    objective = XarObjective(model.config, XarTraining())
    codes = torch.randint(96, (4, 16), generator=torch.Generator().manual_seed(0))
    batch = [{"index": n, "codes": codes[n], "label": n} for n in range(4)]
    models, rng = {"model": model, "tokenizer": coder}, SampleRng(0)
    one = objective.prepare(batch, rng)
    found = objective.sums(models, one)["velocity"]
    parts = [objective.sums(models, objective.prepare(part, rng))["velocity"] for part in (batch[:1], batch[1:])]
    torch.testing.assert_close(sum(parts), found, rtol=1e-5, atol=1e-5)
    data = to_cells(quantised(coder, codes, 4), 2) / 0.5
    time, noise = one.tensors["time"], one.tensors["noise"]
    at = time.repeat_interleave(4, dim=1)[..., None]
    assert len(set(time.flatten().tolist())) == 16
    expected = model.teacher_forced((1 - at) * data + at * noise, time, one.tensors["classes"]) - (noise - data)
    torch.testing.assert_close(found, expected.square().mean((1, 2)).sum())


def test_the_published_sizes_have_about_the_published_number_of_parameters():
    for name, millions in (("B", 172), ("H", 1100)):
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in Xar(XarConfig.of_size(name)).parameters()) / 1e6
        assert count == pytest.approx(millions, rel=0.1)
    with pytest.raises(ConfigError, match="does not divide the grid"):
        XarConfig(grid=16, cell=5)
    with pytest.raises(ConfigError, match="latent_std is 0"):
        XarConfig(latent_std=0)
    with pytest.raises(ConfigError, match="diffusion is -1"):
        XarOptions(diffusion=-1)


def test_the_recipe_trains_on_stored_codes_and_measures_their_scale(tmp_path):
    save_checkpoint(tmp_path / "dual", tokenizer(grid=8))
    codes = [f"tokenizer={tmp_path / 'dual'}", f"stage.directory={tmp_path / 'codes'}", "data.count=60", "data.size=16"]
    run_recipe(recipe("image_codes"), read_run_config(recipe("image_codes"), "tiny", codes))
    entries = [
        f"tokenizer={tmp_path / 'dual'}",
        f"data.path={tmp_path / 'codes'}",
        f"train.checkpoint_dir={tmp_path / 'run'}",
        "data.held_out=0.2",
        "train.steps=3",
        "train.batch_size=4",
        "train.eval_every=3",
        "train.device=cpu",
        "evaluation.images=4",
        "train.warmup_steps=0",
    ]
    result = run_recipe(recipe("xar"), read_run_config(recipe("xar"), "tiny", entries))
    assert result.evaluation["held_out_velocity"] > 0
    loaded = load_checkpoint(tmp_path / "run" / "final", "generator")
    # Of unit vectors of four dimensions it is 1/2, less what their mean takes away.
    assert 0.3 < loaded.model.config.latent_std < 0.51
    assert loaded.tokenizer is not None
