"""One call for all class-conditional generators: a checkpoint, labels and settings in, images out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ar_core.config import expand_path, from_dict
from ar_core.errors import CheckpointError, DataError
from ar_core.registry import resolve
from ar_core.training.device import choose_device
from torch import nn

from ..checkpoint import Loaded, fingerprint, load_checkpoint, require_pair
from ..decoding.generated import GeneratedImages, OnScale

__all__ = ["ImageGenerator", "Sample", "open_generator"]


class Sample(Protocol):
    """Draws images; image b depends on ``labels[b]`` and ``seeds[b]`` alone."""

    def __call__(
        self, labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None
    ) -> GeneratedImages:
        """Return one image for each label."""
        ...


@dataclass(frozen=True)
class Entry:
    """How images are drawn from a kind of generator.

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
    "llamagen": Entry(f"{_ROOM}.llamagen.decode:LlamaGenOptions", "ar_vision.evaluation.llamagen_images:generate"),
}


@dataclass(frozen=True)
class ImageGenerator:
    """A generator with its tokenizer and settings.

    Attributes:
        kind: of the generator.
        classes: number of its classes; the number itself stands for none.
        sample: draws images.
        facts: fingerprints, provenance and settings of decoding, JSON-able: what decides the images, given labels and seeds.
        pixels: from features [B, Cv, H, W], as ``on_scale`` gets them, to images [B, 3, H, W].
    """

    kind: str
    classes: int
    sample: Sample
    facts: Mapping[str, Any]
    pixels: Callable[[Any], Any]

    def require(self, labels: Sequence[int]) -> None:
        """Refuse labels that the model does not know, before any image is drawn.

        Raises:
            DataError: names the first.
        """
        wrong = next((label for label in labels if not 0 <= label <= self.classes), None)
        if wrong is not None:
            raise DataError(
                f"the label {wrong} was given and the {self.kind} knows the classes 0 to {self.classes - 1}, and "
                f"{self.classes} for none: correct it"
            )


def open_generator(
    checkpoint: str, tokenizer: str, settings: Mapping[str, Any], *, device: str = "cpu"
) -> ImageGenerator:
    """Load a generator and its tokenizer, and check that they belong together.

    Args:
        checkpoint: folder of the generator; ``~`` and ``$NAME`` are expanded.
        tokenizer: folder of its tokenizer.
        settings: of its decoder, by name; those left out have the decoder's defaults.
        device: as in `ar_core.training.choose_device`.

    Raises:
        CheckpointError: a folder cannot be loaded, holds the other role, is no pair with the other, or takes no class labels.
        ConfigError: a setting is unknown or out of range; there is no such device.
    """
    where = choose_device(device)
    generator = load_checkpoint(expand_path(checkpoint), "generator")
    coder = load_checkpoint(expand_path(tokenizer), "tokenizer")
    require_pair(generator, coder)
    kind = generator.family.kind
    config: Any = generator.model.config
    if kind not in ENTRIES or getattr(config, "condition", "class") != "class":
        raise CheckpointError(
            f"{generator.path} is a {kind} that is not conditioned on classes: give a checkpoint of {', '.join(ENTRIES)} that is"
        )
    entry = ENTRIES[kind]
    options = from_dict(resolve(entry.options), settings, "decoding")
    generate = resolve(entry.generate)
    model, decoder = _frozen(generator, where), _frozen(coder, where)

    def sample(labels: Sequence[int], seeds: Sequence[int], *, on_scale: OnScale | None = None) -> GeneratedImages:
        return generate(model, decoder, list(labels), options, seed=list(seeds), on_scale=on_scale)

    facts = {
        "kind": kind,
        "checkpoint": fingerprint(generator.model),
        "tokenizer": fingerprint(coder.model),
        "provenance": {"checkpoint": dict(generator.provenance), "tokenizer": dict(coder.provenance)},
        "decoding": dict(settings),
    }
    return ImageGenerator(kind, config.num_classes, sample, facts, decoder.decode)


def _frozen(loaded: Loaded, device: Any) -> Any:
    model: nn.Module = loaded.model
    return model.requires_grad_(False).eval().to(device)
