"""A decoding method with all its settings, as the registry lists it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ar_core.config import from_dict, to_dict
from ar_core.decoding import Decoded, OnToken, StopRule
from ar_core.errors import ConfigError
from ar_core.registry import decoder, resolve
from ar_core.sampling import Sampler, row_seed

from .profile import read_profile
from .session import Session, load_session

__all__ = ["Generation", "Method", "build_method", "load_method"]


@dataclass(frozen=True)
class Generation:
    """What every method takes: length, stops, sampling.

    Attributes:
        max_new_tokens: N, exact.
        temperature: 0 = greedy.
        top_k, top_p, min_p: filters of the sampler.
        seed: of the random streams; the prompt with index i draws stream i in any batch.
        stop_strings: texts that end an output, beside the model's own stop ids.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0
    stop_strings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A decoder bound to its settings.

    Attributes:
        name: as the registry lists it.
        options: the method's own settings, an instance of its options class.
        function: the decoder.
    """

    name: str
    options: Any
    function: Any

    @property
    def pass_tokens(self) -> int:
        """Tokens of a typical parallel pass: the block, or the draft with the token before it; 1 for AR."""
        for name in ("block_size", "diffusion_block_size"):
            if hasattr(self.options, name):
                return int(getattr(self.options, name))
        return int(getattr(self.options, "draft_length", 0)) + 1

    def describe(self) -> dict[str, Any]:
        """Name and settings, JSON-able."""
        return {"name": self.name, **to_dict(self.options)}

    def decode(
        self,
        session: Session,
        prompts: Sequence[Sequence[int]],
        generation: Generation,
        *,
        first_index: int = 0,
        on_token: OnToken | None = None,
        trace: bool = False,
    ) -> Decoded:
        """Decode a batch whose first prompt is number ``first_index`` of the job."""
        masks = (getattr(self.options, "mask_id", None), session.mask_id)
        sampler = Sampler(
            temperature=generation.temperature,
            top_k=generation.top_k,
            top_p=generation.top_p,
            min_p=generation.min_p,
            banned_ids=tuple({mask for mask in masks if mask is not None}),
        )
        stop = StopRule(
            stop_ids=session.stop_ids,
            max_new_tokens=generation.max_new_tokens,
            stop_strings=generation.stop_strings,
            decode=session.text,
        )
        seeds = [row_seed(generation.seed, first_index + row) for row in range(len(prompts))]
        return self.function(
            session.backbone,
            prompts,
            self.options,
            stop=stop,
            sampler=sampler,
            seed=seeds,
            on_token=on_token,
            trace=trace,
        )


def build_method(name: str, session: Session, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> Method:
    """Find a method and give it its settings: the checkpoint's first, then the profile's, then the user's.

    Args:
        name: of a decoder of kind "text".
        session: the model, which may decide some (a mask id).
        settings: the user's; ``block_size`` stands for the method's own name of it. Unknown ones are errors.
        profile: measured ones, of which those that the method has are taken.

    Raises:
        ConfigError: no such method, an unknown or contradictory setting.
        MissingPackageError: the method's package is not installed.
        CheckpointError: the model is none that the method can decode.
    """
    record = decoder(name)
    if record.kind != "text":
        raise ConfigError(f"the method {name!r} generates {record.kind}s; give a text method.")
    options = resolve(record.options)
    known = {field.name for field in fields(options)}
    given = dict(settings)
    if "block_size" not in known and "diffusion_block_size" in known:
        # Packing length and block are both called block_size in the literature, so methods spell theirs out.
        given = {"diffusion_block_size" if key == "block_size" else key: value for key, value in given.items()}
    own = options.of_checkpoint(session.config, session.tokenizer) if hasattr(options, "of_checkpoint") else {}
    measured = {key: value for key, value in profile.items() if key in known}
    return Method(name, from_dict(options, {**own, **measured, **given}), resolve(record.decode))


def load_method(
    model: str, name: str, settings: Mapping[str, Any], profile: Path | None, *, dtype: str, device: str
) -> tuple[Session, Method]:
    """Load a model and build a method for it; the profile is read first, since that is quick.

    Raises:
        ArError: see :func:`read_profile`, :func:`load_session` and :func:`build_method`.
    """
    measured = read_profile(profile, name)
    session = load_session(model, dtype=dtype, device=device)
    return session, build_method(name, session, settings, measured)
