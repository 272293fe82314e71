"""The tiny job of ar-core: one mask in two renderings, and attention under both."""

import torch
from ar_core.attention import attend
from ar_core.masks import Mask, Tokens, block_causal, document

tokens = Tokens(block=torch.arange(32) // 4, document=torch.arange(32) // 16)
mask = Mask.self_attention(block_causal() & document(), tokens)
generator = torch.Generator().manual_seed(0)
q, k, v = (torch.randn(1, 2, 32, 8, generator=generator) for _ in range(3))
outputs = [attend(q, k, v, mask, backend=backend) for backend in ("sdpa", "segments")]
torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
print(f"{int(mask.dense().sum())} of {32 * 32} pairs attend, alike in both backends")
