"""Our decoders inside Hugging Face's `generate`: `model.generate(..., custom_generate=custom_generate(decode, options))`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import GenerationMode

from ar_core.decoding import Decoded, StopRule
from ar_core.errors import ConfigError
from ar_core.hf.backbone import HFBackbone
from ar_core.sampling import Sampler

__all__ = ["custom_generate"]

_WARPERS = frozenset({"TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "MinPLogitsWarper"})
_CRITERIA = frozenset({"MaxLengthCriteria", "EosTokenCriteria"})


def custom_generate(
    decode: Callable[..., Decoded], options: Any, *, on_decoded: Callable[[Decoded], None] | None = None
) -> Callable[..., Tensor]:
    """Wrap a decoder for `generate`, which then takes lengths, stop ids and sampling from its generation config.

    The model's attention implementation becomes "ar_core" and stays so. Prompts are padded on the left, as `generate` wants
    them, and decoded without the padding. What is drawn at a positive temperature depends on the keyword `seed` of
    `generate` (default 0), never on torch's global generator.

    Args:
        decode: a decoder as the registry lists them (`ar_core.registry.Decoder.decode`).
        options: its settings.
        on_decoded: called with each result, for its statistics, which `generate` has no place for.

    Returns:
        The callable; it gives int64 `[B, P + N]`, prompts and outputs, stop tokens included, padded on the right.

        It raises ConfigError where `generate` was asked for something that the decoder does not do: beams, drafts by prompt
        lookup and other modes, processors of logits other than temperature, top-k, top-p and min-p, other stopping criteria, a
        streamer, scores. Of a streamer and of an assistant model it learns only if transformers hands them on, which 5 does not.
    """

    def generate(
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: Sequence[Any] = (),
        stopping_criteria: Sequence[Any] = (),
        generation_config: GenerationConfig | None = None,
        streamer: Any = None,
        seed: int = 0,
        **model_kwargs: Any,
    ) -> Tensor:
        assert generation_config is not None
        _refuse(logits_processor, stopping_criteria, generation_config, streamer)
        held = model_kwargs.get("attention_mask")
        kept = torch.ones_like(input_ids) if held is None else held
        prompts = [
            [token for token, real in zip(ids, mask, strict=True) if real]
            for ids, mask in zip(input_ids.tolist(), kept.tolist(), strict=True)
        ]
        ends = generation_config.eos_token_id
        stop_ids = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        longest = generation_config.max_length - input_ids.shape[1]
        if longest < 1:
            raise ConfigError(
                f"generate was given max_length={generation_config.max_length} and prompts of {input_ids.shape[1]} tokens; give "
                "max_new_tokens of at least 1."
            )
        decoded = decode(
            HFBackbone(model),
            prompts,
            options,
            stop=StopRule(stop_ids, longest, keep_stop=True),
            sampler=_sampler(generation_config),
            seed=seed,
        )
        if on_decoded is not None:
            on_decoded(decoded)
        pad = generation_config.pad_token_id
        filler = pad if pad is not None else min(stop_ids, default=0)
        width = max(map(len, decoded.tokens))
        rows = [[*tokens, *[filler] * (width - len(tokens))] for tokens in decoded.tokens]
        fresh = torch.tensor(rows, dtype=input_ids.dtype, device=input_ids.device)
        return torch.cat([input_ids, fresh], 1)

    return generate


def _sampler(config: GenerationConfig) -> Sampler:
    if not config.do_sample:
        return Sampler()
    return Sampler(
        temperature=1.0 if config.temperature is None else config.temperature,
        top_k=config.top_k or None,
        top_p=config.top_p,
        min_p=config.min_p,
    )


def _refuse(processors: Sequence[Any], criteria: Sequence[Any], config: GenerationConfig, streamer: Any) -> None:
    names = [type(one).__name__ for one in processors if type(one).__name__ not in _WARPERS]
    names += [type(one).__name__ for one in criteria if type(one).__name__ not in _CRITERIA]
    beams, mode = config.num_beams or 1, config.get_generation_mode()
    # Drafts by other means, for one, have no processor that would tell of them.
    plain = mode in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
    names += [f"num_beams={beams}"] if beams > 1 else [] if plain else [f"the mode {mode.value}"]
    names += ["return_dict_in_generate"] if config.return_dict_in_generate else []
    names += ["a streamer"] if streamer is not None else []
    if names:
        raise ConfigError(
            f"generate was asked for {', '.join(names)}, which this decoder does not do; leave it out, or call generate without "
            "custom_generate."
        )
