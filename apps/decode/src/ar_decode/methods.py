"""A decoding method with all its settings, as the registry lists it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ar_core.block_diffusion import BlockPolicy
from ar_core.config import did_you_mean, from_dict, to_dict
from ar_core.decoding import Decoded, OnToken, StopRule
from ar_core.errors import ConfigError
from ar_core.hf import special_stop_ids
from ar_core.registry import decoder, resolve
from ar_core.sampling import Sampler, row_seed

from .profile import read_profile
from .session import Session, load_session

__all__ = ["DIFFUSION_BLOCK_SIZE", "Generation", "Method", "build_method", "load_method", "own_settings"]

DIFFUSION_BLOCK_SIZE = "diffusion_block_size"
"""What block methods call their block size where ``block_size`` would be ambiguous."""


@dataclass(frozen=True)
class Generation:
    """What every method takes: length, stops, sampling.

    Attributes:
        max_new_tokens: N, exact.
        temperature: 0 = greedy.
        top_k, top_p, min_p: filters of the sampler.
        seed: of the random streams; the prompt with index i draws stream i in any batch.
        stop_strings: texts that end an output, beside the model's own stop ids; of one that is a special token, its id does.
        keep_string: leave the tokens of a stop string in the output, for a reader that cuts its text to the character.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0
    stop_strings: tuple[str, ...] = ()
    keep_string: bool = False

    def __post_init__(self) -> None:
        # What is out of range is said before a model is loaded.
        self.sampler(())
        self.stop(frozenset(), str)

    def sampler(self, banned_ids: tuple[int, ...]) -> Sampler:
        """How tokens are chosen; raises ``ConfigError`` as :class:`Sampler` does."""
        return Sampler(self.temperature, self.top_k, self.top_p, self.min_p, banned_ids)

    def stop(self, stop_ids: frozenset[int], decode: Callable[[list[int]], str]) -> StopRule:
        """When an output ends; raises ``ConfigError`` as :class:`StopRule` does."""
        return StopRule(stop_ids, self.max_new_tokens, self.stop_strings, keep_string=self.keep_string, decode=decode)


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
    def policy(self) -> BlockPolicy | None:
        """How a block method lays out its passes: what its options give as ``policy()``."""
        policy = getattr(self.options, "policy", None)
        return policy() if callable(policy) else None

    @property
    def pass_tokens(self) -> int:
        """Tokens of a typical parallel pass: the block, with the next one where a fused pass commits it; or the draft with the
        token before it; 1 for AR.
        """
        policy = self.policy
        if policy is not None:
            return policy.block_size * (2 if policy.commit == "fused" else 1)
        return int(getattr(self.options, "draft_length", 0)) + 1

    def positions_needed(self, prompt_length: int, max_new_tokens: int) -> int:
        """Positions of the model's context that a prompt takes up: its tokens, the new ones, and the rest of the last block."""
        policy = self.policy
        slots = 0 if policy is None else policy.slots(prompt_length, max_new_tokens)
        return max(prompt_length + max_new_tokens, slots)

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
        sampler = generation.sampler(tuple({mask for mask in masks if mask is not None}))
        ends = session.stop_ids | special_stop_ids(session.tokenizer, generation.stop_strings)
        stop = generation.stop(ends, session.text)
        seeds = [row_seed(generation.seed, first_index + row) for row in range(len(prompts))]
        out: Decoded = self.function(
            session.backbone,
            prompts,
            self.options,
            stop=stop,
            sampler=sampler,
            seed=seeds,
            on_token=on_token,
            trace=trace,
        )
        return out


def own_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A user's settings by the method's own names: ``block_size`` stands for what the method calls it.

    Raises:
        ConfigError: no such method, a setting that it does not have, or one given under two names.
        MissingPackageError: the method's package is not installed.
    """
    known = {field.name for field in fields(_options(name))}
    given: dict[str, Any] = {}
    for key, value in settings.items():
        # Packing length and block are both called block_size in the literature, so methods spell theirs out.
        own = DIFFUSION_BLOCK_SIZE if key == "block_size" and key not in known else key
        if own not in known:
            hint = f"; {did_you_mean(key, sorted(known))}" if known else ", nor any other; leave it out"
            raise ConfigError(f"the method {name!r} has no setting {key!r}{hint}")
        if own in given:
            raise ConfigError(f"the setting {own!r} was given twice, once as 'block_size'; give it once.")
        given[own] = value
    return given


def build_method(name: str, session: Session, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> Method:
    """Find a method and give it its settings: the checkpoint's first, then the profile's, then the user's.

    Args:
        name: of a decoder of kind "text".
        session: the model, which may decide some (a mask id).
        settings: the user's; see :func:`own_settings`.
        profile: measured ones, of which those that the method has are taken.

    Raises:
        ConfigError: see :func:`own_settings`; or settings out of range or that contradict each other.
        MissingPackageError: the method's package is not installed.
        CheckpointError: the model is none that the method can decode.
    """
    options = _options(name)
    known = {field.name for field in fields(options)}
    given = own_settings(name, settings)
    own = options.of_checkpoint(session.config, session.tokenizer) if hasattr(options, "of_checkpoint") else {}
    measured = {key: value for key, value in profile.items() if key in known}
    return Method(name, from_dict(options, {**own, **measured, **given}), resolve(decoder(name).decode))


def load_method(
    model: str,
    name: str,
    settings: Mapping[str, Any],
    profile: Path | None,
    *,
    dtype: str = "stored",
    device: str = "cpu",
    engine: str = "plain",
    weights: str = "full",
    threads: int | None = None,
) -> tuple[Session, Method]:
    """Load a model and build a method for it; settings and profile are looked at first, since that is quick.

    Args:
        model: what the user named.
        name: of the method.
        settings: see :func:`own_settings`.
        profile: see :func:`read_profile`.
        dtype, device, engine, weights, threads: see :func:`load_session`.

    Raises:
        ArError: see :func:`read_profile`, :class:`Profile`, :func:`load_session` and :func:`build_method`.
    """
    own_settings(name, settings)
    measured = None if profile is None else read_profile(profile)
    tuned = {} if measured is None else measured.settings(name)
    session = load_session(model, dtype=dtype, device=device, engine=engine, weights=weights, threads=threads)
    if measured is not None:
        measured.check_made_for(session)
    return session, build_method(name, session, settings, tuned)


def _options(name: str) -> Any:
    record = decoder(name)
    if record.kind != "text":
        raise ConfigError(f"the method {name!r} generates {record.kind}s; give a text method.")
    return resolve(record.options)
