"""One call for all generators: a checkpoint, labels or prompts, and settings in, images out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ar_core.config import expand_path, from_dict
from ar_core.errors import ConfigError, DataError
from ar_core.registry import resolve
from ar_core.training.device import choose_device

from ..backbones.class_labels import checked_labels
from ..checkpoint import Loaded, fingerprint, load_checkpoint, require_pair
from ..decoding.generated import GeneratedImages, OnScale
from ..null_condition import require_null_condition
from .computing import dtype_name, placed
from .prompts import Prompts
from .sampling_config import ComputeDtype

__all__ = ["ImageGenerator", "Sample", "open_generator"]


class Sample(Protocol):
    """Draws images; image b depends on ``labels[b]``, a class or the number of a prompt, and on ``seeds[b]`` alone."""

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None
    ) -> GeneratedImages:
        """Return one image for each label."""
        ...


@dataclass(frozen=True)
class Entry:
    """How images are drawn from a class-conditional kind of generator.

    Attributes:
        options: ``"module:Class"``, the settings of its decoder.
        generate: ``"module:function"`` with the signature
            ``(model, tokenizer, labels, options, *, seed, on_scale) -> GeneratedImages``.
    """

    options: str
    generate: str


_ROOM = "ar_vision.backbones"
ENTRIES: Mapping[str, Entry] = {
    "var": Entry(f"{_ROOM}.var.decode:VarDecoding", f"{_ROOM}.var.decode:generate"),
    "flexvar": Entry(f"{_ROOM}.flexvar.decode:FlexVarDecoding", f"{_ROOM}.flexvar.decode:generate"),
    "xar": Entry(f"{_ROOM}.xar.decode:XarOptions", f"{_ROOM}.xar.decode:generate"),
    "far": Entry(f"{_ROOM}.llamagen.decode:LlamaGenOptions", "ar_vision.evaluation.llamagen_images:generate"),
    "llamagen": Entry(f"{_ROOM}.llamagen.decode:LlamaGenOptions", "ar_vision.evaluation.llamagen_images:generate"),
}
OF_NOISE = dict.fromkeys(
    ("var_dd", "llamagen_dd", "var_dd_guess", "llamagen_dd_guess"),
    "ar_vision.evaluation.distilled_images:DistilledImages",
)
"""Kinds that make images from noise, perhaps with the help of a teacher: ``"module:Class"``, built from model, tokenizer and settings,
and prompts where they are of texts."""
OF_TEXT = {
    "infinity": "ar_vision.evaluation.infinity_images:InfinityImages",
    "llamagen": "ar_vision.evaluation.llamagen_images:LlamaGenImages",
}
"""Kinds that draw images of prompts, where they are of texts: ``"module:Class"``, built from model, tokenizer, prompts and settings."""


@dataclass(frozen=True)
class ImageGenerator:
    """A generator with its tokenizer and settings.

    Attributes:
        kind: of the generator.
        classes: number of its classes; the number itself stands for none. Of prompts: how many there are.
        sample: draws images.
        facts: fingerprints, provenance, dtypes and settings of decoding, JSON-able: what decides the images, given labels and seeds.
        pixels: from features [B, Cv, H, W], as ``on_scale`` gets them, to images [B, 3, H, W].
        prompts: the texts that labels number; None where labels are classes.
    """

    kind: str
    classes: int
    sample: Sample
    facts: Mapping[str, Any]
    pixels: Callable[[Any], Any]
    prompts: tuple[str, ...] | None = None

    def require(self, labels: Sequence[int]) -> None:
        """Refuse labels that the model does not know, before any image is drawn.

        Raises:
            DataError: names the first.
        """
        if self.prompts is None:
            checked_labels(labels, self.classes)
            return
        wrong = next((label for label in labels if not 0 <= label < self.classes), None)
        if wrong is not None:
            raise DataError(f"the label {wrong} was given and there are {self.classes} prompts: correct it")


def open_generator(
    checkpoint: str,
    tokenizer: str,
    settings: Mapping[str, Any],
    *,
    prompts: Prompts | None = None,
    device: str = "cpu",
    dtype: ComputeDtype = "auto",
) -> ImageGenerator:
    """Load a generator and its tokenizer, and check that they belong together.

    Args:
        checkpoint: folder of the generator; ``~`` and ``$NAME`` are expanded.
        tokenizer: folder of its tokenizer.
        settings: of its decoder, by name; those left out have the decoder's defaults.
        prompts: texts and shape of the images, for a generator that draws them from texts; None for all others.
        device: as in `ar_core.training.choose_device`.
        dtype: that both compute in; see `placed`.

    Raises:
        CheckpointError: a folder cannot be loaded, holds the other role, or is no pair with the other.
        ConfigError: a setting is unknown or out of range; guidance of a checkpoint whose null condition was not trained; there is
            no such device; prompts are missing, or given to a generator of classes.
    """
    where = choose_device(device)
    generator = load_checkpoint(expand_path(checkpoint), "generator")
    coder = load_checkpoint(expand_path(tokenizer), "tokenizer")
    kind = generator.family.kind
    of_text = _of_text(generator)
    require_pair(generator, coder)
    if of_text and prompts is None:
        raise ConfigError(f"{generator.path} is a {kind}, which draws images of texts: give prompts")
    if not of_text and prompts is not None:
        raise ConfigError(
            f"prompts were given and {generator.path} is a {kind}, which draws images of classes: give labels"
        )
    facts: dict[str, Any] = {
        "kind": kind,
        "checkpoint": fingerprint(generator.model),
        "tokenizer": fingerprint(coder.model),
        "provenance": {"checkpoint": dict(generator.provenance), "tokenizer": dict(coder.provenance)},
        "decoding": dict(settings),
    }
    model: Any = placed(generator, where, dtype)
    decoder: Any = placed(coder, where, dtype)
    facts["dtype"] = {"checkpoint": dtype_name(model), "tokenizer": dtype_name(decoder)}
    noisy = None
    if kind in OF_NOISE:
        noisy = resolve(OF_NOISE[kind])(generator, coder, settings, device=where, prompts=prompts, dtype=dtype)
        facts |= noisy.facts
    if prompts is not None:
        sample = noisy or resolve(OF_TEXT[kind])(model, decoder, prompts, settings)
        asked = {"prompts": list(prompts.texts), "negative": prompts.negative, "scales": str(sample.schedule)}
        return ImageGenerator(kind, len(prompts.texts), sample, facts | asked, decoder.decode, prompts.texts)
    if noisy is not None:
        return ImageGenerator(kind, model.config.num_classes, noisy, facts, decoder.decode)
    options = from_dict(resolve(ENTRIES[kind].options), settings, "decoding")
    require_null_condition(generator.provenance, options.guidance, str(generator.path))
    return ImageGenerator(
        kind, model.config.num_classes, _of_classes(kind, model, decoder, options), facts, decoder.decode
    )


def _of_classes(kind: str, model: Any, decoder: Any, options: Any) -> Sample:
    generate = resolve(ENTRIES[kind].generate)

    def sample(labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None) -> GeneratedImages:
        out: GeneratedImages = generate(model, decoder, list(labels), options, seed=list(seeds), on_scale=on_scale)
        return out

    return sample


def _of_text(generator: Loaded) -> bool:
    """Whether a generator is conditioned on texts, and not on classes."""
    return (
        getattr(generator.model.config, "condition", "text" if generator.family.kind == "infinity" else "class")
        == "text"
    )
