"""The tiny job of ar-vision: two images from a VAR with random weights."""

import torch
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.decode import generate
from ar_vision.backbones.var.model import Var
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer

coder = AutoencoderConfig(
    channels=8, channel_multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=8, norm_groups=4, attention=False
)
generator = torch.Generator().manual_seed(0)
tokenizer = VarTokenizer(VarTokenizerConfig(autoencoder=coder, vocab_size=16))
tokenizer.initialize(generator)
shape = {"vocab_size": 16, "code_dim": 8, "num_classes": 10, "depth": 1, "width": 16, "heads": 2}
model = Var(VarConfig(scales=(1, 2, 3, 4, 6, 8), **shape))
model.initialize(generator)
made = generate(model.eval(), tokenizer.eval(), [3, 7])
assert made.images.shape == (2, 3, 32, 32)
assert made.images.isfinite().all()
print(f"images {tuple(made.images.shape)} in {made.stats.forwards.total()} passes")
