"""Block decoding with images by the formulas alone, for decoders to be held against."""

import math

import torch
from ar_core.block_diffusion import block_grid, reveal
from ar_core.masks import Mask, Tokens, block_causal
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig
from dvlm.prompt import VisionPrompt


@torch.no_grad()
def recomputed(model, prompt: VisionPrompt, config: DiffusionVLDecodeConfig, n: int) -> tuple[list[int], int]:
    """Section 4.1 without any cache: every pass computes all tokens so far; the tokens, and the passes that denoised."""
    size, length = config.diffusion_block_size, len(prompt)
    places = prompt.expanded.positions
    if prompt.images:
        pixels = torch.cat([image.pixels for image in prompt.images]).double()
        features = model.image_features(pixels, [image.layout for image in prompt.images])
    else:
        features = None
    ids = prompt.expanded.ids.clamp(min=0).tolist()
    following = int(places.max()) + 1
    passes = 0
    while len(ids) < length + n:
        fill = size - len(ids) % size
        end = length + n
        masked = [place for place in range(len(ids), len(ids) + fill) if place < end]
        ids += [config.mask_id] * fill
        step = 0
        while masked:
            extra = len(ids) - length
            rows = torch.cat([prompt.expanded.image_rows, torch.full((extra,), -1)])
            later = torch.arange(following, following + extra).expand(*places.shape[:-1], -1)
            rope = torch.cat([places, later], dim=-1)
            index = torch.arange(len(ids))
            blocks = block_grid(len(ids), size).blocks
            if config.clean == "token":
                # Each finished token is a block of its own.
                blocks = index.clamp(max=len(ids) - size)
            mask = Mask.self_attention(block_causal(), Tokens(block=blocks, position=index))
            embeds, more = model.embed(torch.tensor([ids]), rows[None], features)
            rope = rope[None] if rope.ndim == 1 else rope[:, None]
            hidden = model.backbone.hidden(None, embeds=embeds, positions=rope, mask=mask, more=more)
            logits = model.backbone.head(hidden[0, masked])
            logits[:, config.mask_id] = -torch.inf
            confidence, token = logits.softmax(-1).max(-1)
            tau = config.threshold if config.strategy == "dynamic" else math.inf
            floor = max(1, size // config.steps + (step < size % config.steps))
            chosen = reveal(confidence.tolist(), threshold=tau, strict=True, floor=floor)
            for i in chosen:
                ids[masked[i]] = int(token[i])
            masked = [place for i, place in enumerate(masked) if i not in chosen]
            step += 1
            passes += 1
    return ids[length : length + n], passes
