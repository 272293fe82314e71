"""The kinds of model there are, by the name that checkpoints carry. Imports no torch."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ar_core.config import did_you_mean
from ar_core.errors import CheckpointError

__all__ = ["FAMILIES", "Family", "Role", "family"]

Role: TypeAlias = Literal["tokenizer", "generator", "upscaler"]
"""What a kind of model is for."""


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        kind: its name in ``config.json``.
        model: ``"module:Class"``; the class has ``kind``, takes its config, and keeps it as ``config``.
        config: ``"module:Class"``, a frozen dataclass buildable by ``from_dict``.
        from_published: ``"module:function"`` from a flat state dict in the published layout to the model; None where there is none.
        role: whether it maps pixels to codes, generates codes, or generates them from a small image.
        inside: names of entries of published training checkpoints that hold its weights.
        codes: of a generator or upscaler, the kind of the tokenizer whose codes it was published with.
        published: entry of training checkpoints that holds the weights which were published, and is taken before all others.
    """

    kind: str
    model: str
    config: str
    from_published: str | None
    role: Role
    inside: tuple[str, ...] = ()
    codes: str | None = None
    published: str | None = None


def _tokenizer(kind: str, model: str, inside: tuple[str, ...] = ()) -> Family:
    return _family(kind, f"ar_vision.tokenizers.{kind}", model, "tokenizer", inside)


def _generator(kind: str, model: str, codes: str, inside: tuple[str, ...] = ()) -> Family:
    return replace(_family(kind, f"ar_vision.backbones.{kind}", model, "generator", inside), codes=codes)


def _student(kind: str, model: str, codes: str, inside: tuple[str, ...] = (), published: str | None = None) -> Family:
    room, teacher = "ar_vision.distilled_decoding", kind.split("_")[0]
    guesses = kind.endswith("_guess")
    return Family(
        kind=kind,
        model=f"{room}.{teacher}_{'guess_' if guesses else ''}student:{model}",
        config=f"{room}.student_config:{model}Config",
        from_published=None if guesses else f"{room}.{teacher}_loading:from_published",
        role="generator",
        inside=inside,
        codes=codes,
        published=published,
    )


def _family(
    kind: str, room: str, name: str, role: Literal["tokenizer", "generator"], inside: tuple[str, ...]
) -> Family:
    suffix = "Tokenizer" if role == "tokenizer" else ""
    return Family(
        kind=kind,
        model=f"{room}.model:{name}{suffix}",
        config=f"{room}.config:{name}{suffix}Config",
        from_published=f"{room}.loading:from_published",
        role=role,
        inside=inside,
    )


FAMILIES = {
    family.kind: family
    for family in (
        _tokenizer("var_vqvae", "Var", ("vae_local",)),
        _tokenizer("vq", "Vq"),
        _tokenizer("bsq", "Bsq"),
        _tokenizer("dual_vq", "DualVq"),
        _generator("var", "Var", "var_vqvae", ("var_wo_ddp",)),
        _generator("flexvar", "FlexVar", "vq", ("var_wo_ddp",)),
        _generator("llamagen", "LlamaGen", "vq"),
        replace(_generator("far", "Far", "dual_vq"), from_published=None),
        replace(_generator("xar", "Xar", "dual_vq"), from_published=None),
        _student("var_dd", "VarStudent", "var_vqvae", ("var_wo_ddp",), "trainer.ema_parameters"),
        _student("llamagen_dd", "LlamaGenStudent", "vq", published="ema"),
        _student("var_dd_guess", "VarGuessStudent", "var_vqvae"),
        _student("llamagen_dd_guess", "LlamaGenGuessStudent", "vq"),
        _generator("infinity", "Infinity", "bsq", ("gpt_fsdp",)),
        Family(
            kind="nsarm",
            model="ar_vision.nsarm.model:Nsarm",
            config="ar_vision.nsarm.config:NsarmModelConfig",
            from_published="ar_vision.nsarm.loading:from_published",
            role="upscaler",
            inside=("gpt_fsdp",),
            codes="bsq",
        ),
    )
}
"""All kinds by name."""


def family(kind: str, source: str = "the checkpoint") -> Family:
    """Return the family of a kind.

    Raises:
        CheckpointError: there is none of that name; the nearest is given.
    """
    if kind not in FAMILIES:
        raise CheckpointError(f"{source} is of the kind {kind!r}, which is unknown; {did_you_mean(kind, FAMILIES)}")
    return FAMILIES[kind]
