"""The tokenizer with two codebooks: oracles 7 to 10 of GloTok's specification, and the layout of FQGAN's weights."""

from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_vision.checkpoint import Loaded, fingerprint, load_checkpoint, require_codebook, require_pairs, save_checkpoint
from ar_vision.families import family
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.dual_vq.config import AdapterConfig, DualVqTokenizerConfig, ResidualConfig
from ar_vision.tokenizers.dual_vq.loading import from_published, to_published
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer
from ar_vision.tokenizers.training.reconstruction import measure, reconstruct

GRID = ScaleSchedule.square(4)
SHAPE = AutoencoderConfig(channels=8, channel_multipliers=(1, 2), blocks_per_level=1, latent_channels=8, norm_groups=4)
CONFIG = DualVqTokenizerConfig(
    autoencoder=SHAPE,
    grid=4,
    visual_codes=20,
    semantic_codes=6,
    code_dim=4,
    adapter=AdapterConfig(layers=2, heads=2),
    residual=ResidualConfig(width=16, heads=2),
)


def tokenizer(**changes):
    made = DualVqTokenizer(replace(CONFIG, **changes))
    made.initialize(torch.Generator().manual_seed(0))
    return made.eval()


def images(count=3, seed=1):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def stirred(model):
    """Residual modules whose output is not zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for residual in model.residuals.values():
            residual.output.weight.normal_(0, 0.3, generator=generator)
    return model


def test_oracle_7_fresh_residual_modules_change_no_bit_and_lose_the_quantisation_error():
    """Oracle 7, of tokenizers that were drawn from one seed."""
    with_modules, plain = tokenizer(), tokenizer(residual=None)
    ours, theirs = with_modules.train_forward(images(), GRID), plain.train_forward(images(), GRID)
    assert torch.equal(ours.reconstruction, theirs.reconstruction)
    torch.testing.assert_close(ours.residual_loss, ours.code_loss)
    assert not theirs.residual_loss
    # Unit vectors of 4 dimensions: at most 4 / 4 an element, of two codebooks and three images.
    assert 0 < ours.residual_loss.detach() <= 2 * 3


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_oracle_8_the_residual_loss_trains_the_modules_and_no_encoder(stop_gradient):
    """Oracle 8; without the stopped gradient it reaches the encoder through R."""
    model = stirred(tokenizer(residual=ResidualConfig(width=16, heads=2, stop_gradient=stop_gradient)))
    model.train_forward(images(), GRID).residual_loss.backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert "residuals" in reached
    assert ("encoder" in reached) == (not stop_gradient)
    assert not reached & {"codebooks", "decoder", "post_quant_conv"}


def test_the_decoder_trains_both_branches_and_the_codes_follow_their_losses():
    model = stirred(tokenizer())
    output = model.train_forward(images(), GRID)
    output.reconstruction.square().mean().backward()
    for branch in model.branches.values():
        assert bool(branch.quant_conv.weight.grad.any())
    assert all(book.weight.grad is None for book in model.named_codebooks.values())
    model.zero_grad()
    output = model.train_forward(images(), GRID)
    output.code_loss.backward()
    assert all(bool(book.weight.grad.any()) for book in model.named_codebooks.values())
    assert model.encoder.conv_in.weight.grad is None


@torch.no_grad()
def test_oracle_9_decoding_codes_gives_what_training_saw():
    """Oracle 9."""
    model = stirred(tokenizer())
    trained = model.train_forward(images(), GRID)
    again, codes = reconstruct(model, images(), GRID)
    assert torch.equal(codes[0], trained.codes[0])
    torch.testing.assert_close(again, trained.reconstruction.clamp(-1, 1), atol=1e-5, rtol=0)
    refined = model.refine(model.codebooks.lookup_map(codes[0], (4, 4)))
    assert float((refined - model.codebooks.lookup_map(codes[0], (4, 4))).abs().max()) > 1e-2


@torch.no_grad()
def test_oracle_10_codes_of_unequal_codebooks_are_below_their_sizes():
    """Oracle 10."""
    model = tokenizer()
    (codes,) = model.quantize(model.encode(images(20)), GRID)
    parts = model.split(codes)
    assert codes.shape == (20, 16)
    assert (model.vocab_sizes, model.vocab_size, model.code_dim) == ((20, 6), 120, 8)
    assert 0 <= int(parts["visual"].min()) <= int(parts["visual"].max()) < 20
    assert 0 <= int(parts["semantic"].min()) <= int(parts["semantic"].max()) < 6
    assert int(parts["visual"].max()) >= 6
    assert torch.equal(model.codebooks.join(parts), codes)


@torch.no_grad()
def test_order_of_the_channels_is_that_of_the_config():
    model = tokenizer(order=("semantic", "visual"))
    assert model.vocab_sizes == (6, 20)
    codes = torch.arange(16)[None] * 7
    features = model.codebooks.lookup_map(codes, (4, 4))
    first = model.codebooks["semantic"].lookup_map(codes // 20, (4, 4))
    assert torch.equal(features[:, :4], first)


def test_losses_add_up_over_any_split():
    model = stirred(tokenizer())
    whole = model.train_forward(images(4), GRID)
    parts = [model.train_forward(image[None], GRID) for image in images(4)]
    for name in ("code_loss", "commit_loss", "residual_loss"):
        torch.testing.assert_close(
            getattr(whole, name), sum(getattr(part, name) for part in parts), rtol=1e-4, atol=1e-5
        )
    for name in ("visual", "semantic"):
        assert torch.equal(whole.lookups[name].used, sum(part.lookups[name].used for part in parts))
        assert whole.lookups[name].vectors.shape == (64, 4)


@torch.no_grad()
def test_codes_of_both_codebooks_are_counted():
    found = measure(tokenizer(), GRID, [images(4)])
    assert {"psnr", "codes_used_visual", "perplexity_semantic"} <= found.keys()
    assert 0 < found["codes_used_semantic"] <= 1


def test_published_names_lead_back_to_the_same_tokenizer():
    model = tokenizer(residual=None)
    published = {name: tensor.clone() for name, tensor in to_published(model).items()}
    assert published["encoder.visual_head.0.transformer.1.attn.in_proj_weight"].shape == (48, 16)
    assert published["quantize_sem.embedding.weight"].shape == (6, 4)
    assert "encoder.conv_out_sem.weight" in published
    extra = {"quantize_vis.codebook_used": torch.zeros(65536), "feat_pred_head.0.weight": torch.zeros(2, 2)}
    again = from_published(published | extra, adapter_heads=2, norm_groups=4)
    assert again.config == model.config
    assert fingerprint(again) == fingerprint(model)
    with pytest.raises(CheckpointError, match="quant_conv_vis"):
        from_published(
            {k: v for k, v in published.items() if k != "quant_conv_vis.bias"}, adapter_heads=2, norm_groups=4
        )


def test_checkpoints_come_back_and_say_what_they_are(tmp_path):
    model = tokenizer()
    save_checkpoint(tmp_path / "dual", model)
    loaded = load_checkpoint(tmp_path / "dual", "tokenizer")
    assert fingerprint(loaded.model) == fingerprint(model)
    require_pairs(loaded)
    with pytest.raises(CheckpointError, match="codes are pairs"):
        require_codebook(loaded)


def test_a_tokenizer_of_one_codebook_has_no_pairs(vq_tokenizer):
    with pytest.raises(CheckpointError, match="give a dual_vq"):
        require_pairs(Loaded(vq_tokenizer, family("vq"), None))


def test_what_does_not_fit_is_refused():
    model = tokenizer()
    with pytest.raises(DataError, match="give images of 8 x 8"):
        model.encode(torch.zeros(1, 3, 16, 16))
    with pytest.raises(ConfigError, match="give \\[4\\]"):
        model.quantize(torch.zeros(1, 8, 4, 4), ScaleSchedule.square(2, 4))
    with pytest.raises(DataError, match="16"):
        model.history(1, GRID).add(torch.zeros(1, 9, dtype=torch.int64))
    with pytest.raises(DataError, match="no next one"):
        model.history(1, GRID).next_input()
    with pytest.raises(ConfigError, match=r"adapter\.heads is 3"):
        DualVqTokenizerConfig(autoencoder=SHAPE, adapter=AdapterConfig(heads=3))
    with pytest.raises(ConfigError, match="once each"):
        DualVqTokenizerConfig(order=("visual", "visual"))
    with pytest.raises(ConfigError, match="no effect"):
        DualVqTokenizerConfig(metric="euclidean")
    with pytest.raises(ConfigError, match="do not divide"):
        ResidualConfig(width=10, heads=4)
