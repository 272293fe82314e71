"""A check on model families that no test covers: do we compute what transformers computes?"""

import torch
from transformers import PreTrainedModel

from ar_core.decoding import causal_pass
from ar_core.errors import UnsupportedModelError
from ar_core.hf.attention import IMPLEMENTATION
from ar_core.hf.backbone import HFBackbone

__all__ = ["TESTED", "check_agreement"]

TESTED = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3", "phi3", "granite", "olmo2", "gemma3_text"})
"""Model types whose logits the tests hold against transformers' own."""

_TOKENS = 5
_TOLERANCE = 1e-3


@torch.no_grad()
def check_agreement(model: PreTrainedModel) -> None:
    """Compare a pass of five tokens, ours through the windowed cache in two parts, with the model's own eager attention.

    For model types outside `TESTED`: a setting of attention or of the head that `check_supported` does not know shows here.

    Args:
        model: a causal LM; its attention implementation is "ar_core" afterwards.

    Raises:
        UnsupportedModelError: the logits differ by more than 1e-3 of their range in float32 (or what the dtype's
            rounding explains).
    """
    training = model.training
    model.eval()
    ids = torch.arange(1, _TOKENS + 1, device=model.device)[None] % model.config.get_text_config().vocab_size
    model.set_attn_implementation("eager")
    theirs = model(input_ids=ids, use_cache=False).logits.float()
    backbone = HFBackbone(model)
    cache = backbone.new_cache(1, _TOKENS)
    ours = []
    for part in (ids[:, :3], ids[:, 3:]):
        ours.append(backbone.head(causal_pass(backbone, cache, part)).float())
        cache.keep(part.shape[1])
    model.train(training)
    error = (torch.cat(ours, 1) - theirs).abs().max() / (theirs.max() - theirs.min())
    allowed = max(_TOLERANCE, 20 * torch.finfo(model.dtype).eps)
    if not error <= allowed:
        raise UnsupportedModelError(
            f"The model type {model.config.model_type!r} computes other logits under {IMPLEMENTATION} than under its own "
            f"attention (difference {error:.1e} of their range, allowed {allowed:.1e}), so it has a part that ar_core does "
            f"not know; use a model of type {', '.join(sorted(TESTED))}."
        )
