"""``ar-train convert``, ``export`` and ``verify-export``."""

from pathlib import Path
from typing import Annotated

import typer
from ar_core.command_result import CommandResult

from ..arguments import EngineArgument
from ..completion import complete_converters

__all__ = [
    "CONVERT_EXAMPLES",
    "CONVERT_FIELDS",
    "EXPORT_EXAMPLES",
    "EXPORT_FIELDS",
    "VERIFY_EXAMPLES",
    "VERIFY_FIELDS",
    "convert",
    "export",
    "verify_export",
]

CONVERT_EXAMPLES = (
    "ar-train convert var_vqvae vae_ch160v4096z32.pth ./vae",
    "ar-train convert var var_d16.pth ./var_d16 --tokenizer ./vae",
    "ar-train convert llamagen c2i_B_256.pt ./llamagen grid=16",
)
"""Calls that the help shows."""
CONVERT_FIELDS = {"kind, source, destination": "what was converted, from where to where", "said": "what became of it"}
"""Of the JSON document, with what they mean."""
EXPORT_EXAMPLES = (
    "ar-train export vllm out/final ./served",
    "ar-train export sglang ./efficient_dlm_4b ./served threshold=0.9",
)
"""Calls that the help shows."""
EXPORT_FIELDS = {
    "engine, destination": "for what, and where",
    "said": "which of the engine's loaders reads it",
    "launch": "the engine's command line",
}
"""Of the JSON document, with what they mean."""
VERIFY_EXAMPLES = ("ar-train verify-export vllm ./served", "ar-train verify-export sglang ./served --json")
"""Calls that the help shows."""
VERIFY_FIELDS = {
    "tensors": "how many the loader reads",
    "loader, file": "the class, and where it stands in the engine",
    "engine, version": "of the engine that was read",
}
"""Of the JSON document, with what they mean."""


def convert(
    kind: Annotated[
        str,
        typer.Argument(help="The kind of model; `ar-train ls` lists them.", autocompletion=complete_converters),
    ],
    source: Annotated[
        Path, typer.Argument(help="Published weights: a .pth, .pt or safetensors file, or a folder of shards.")
    ],
    destination: Annotated[Path, typer.Argument(help="A folder to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What weights do not tell, such as grid=16 of a LlamaGen of 256 px."),
    ] = None,
    entry: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which weights of a training checkpoint to take, such as ema.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Converted tokenizer that a generator goes with; it is recorded."),
    ] = None,
) -> CommandResult:
    """Turn published weights into a safetensors checkpoint that records where it comes from."""
    from ar_core.config import apply_overrides
    from ar_core.registry import converter, resolve

    run_conversion = resolve(converter(kind).convert)
    told = apply_overrides({}, settings or [])
    said = run_conversion(kind, source, destination, entry=entry, tokenizer=tokenizer, settings=told)
    return CommandResult(said, {"kind": kind, "source": source, "destination": destination, "said": said})


def export(
    engine: EngineArgument,
    source: Annotated[Path, typer.Argument(help="A checkpoint: final/ of a run, or a published folder.")],
    destination: Annotated[Path, typer.Argument(help="A folder to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What `ar-train ls` names behind the kind of checkpoint."),
    ] = None,
) -> CommandResult:
    """Write a checkpoint in the layout that a serving engine loads; what it does not serve is refused."""
    from ar_core.config import apply_overrides
    from ar_core.serving import export_checkpoint

    said = export_checkpoint(engine, source, destination, apply_overrides({}, settings or []))
    wrote, _, launch = said.partition("\n")
    return CommandResult(said, {"engine": engine, "destination": destination, "said": wrote, "launch": launch})


def verify_export(
    engine: EngineArgument, folder: Annotated[Path, typer.Argument(help="A folder that the engine is to load.")]
) -> CommandResult:
    """Hold a folder's config, files, and tensors by name and shape against what the engine's loader reads."""
    from ar_core.config import expand_path
    from ar_core.serving import engine as named_engine
    from ar_core.serving import verify_export as verify

    loader, count = verify(expand_path(str(folder)), engine)
    target = named_engine(engine)
    return CommandResult(
        f"{count} tensors as {loader.name} of {target.name} {target.version} reads them ({loader.file})",
        {
            "tensors": count,
            "loader": loader.name,
            "file": loader.file,
            "engine": target.name,
            "version": target.version,
        },
    )
