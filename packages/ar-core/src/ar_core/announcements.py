"""What a package announces about each thing that it offers. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Command", "Converter", "Decoder", "Evaluation", "Exporter", "HubSet", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """A way to train, or to make data for training, as a package announces it.

    Attributes:
        name: what users type; also the file name of the recipe in ``package``.
        summary: one line for listings.
        package: dotted name of the importable folder that holds ``<name>.py`` and the ``*.yaml`` configs.
        run_config: ``"module:Class"``, the dataclass of a whole run (fields ``model``, ``data``, ``method`` and
            ``train``, or ``stage`` where data are made).
        build: ``"module:function"``, from such a config to an ``ar_core.training.Job`` (or ``StageJob``).
        makes: what a run leaves: a trained model, or chunks of data.
    """

    name: str
    summary: str
    package: str
    run_config: str
    build: str
    makes: Literal["model", "data"] = "model"


@dataclass(frozen=True)
class Decoder:
    """A way to generate, as a package announces it.

    Attributes:
        name: what users type.
        summary: one line for listings.
        decode: ``"module:function"`` with the signature
            ``(backbone, prompts, options, *, stop, sampler, seed, on_token, trace) -> ar_core.decoding.Decoded``.
        options: ``"module:Class"``, the frozen dataclass of the method's own settings, buildable by ``from_dict``. If it
            has a static method ``of_checkpoint(config, tokenizer) -> dict``, that gives the settings which a checkpoint
            decides itself; a user's settings go before them.
        kind: what comes out.
        lossless: the output is that of one token per pass with the same model, seed and sampling.
    """

    name: str
    summary: str
    decode: str
    options: str
    kind: Literal["text", "image"] = "text"
    lossless: bool = False


@dataclass(frozen=True)
class HubSet:
    """A split of a data set on the Hugging Face hub."""

    path: str
    """Name of the data set, as `datasets.load_dataset` takes it."""
    config: str | None
    """Its configuration, where it has several."""
    split: str
    """Its split, such as `train`."""


@dataclass(frozen=True)
class Evaluation:
    """A way to measure quality, as a package announces it.

    Attributes:
        name: what users type.
        summary: one line for listings.
        build: ``"module:function"`` with the signature ``(records, *, protocol, examples) -> Benchmark`` (or
            ``LikelihoodBenchmark``), see ``ar_core.evaluation``; ``records`` and ``examples`` (few-shot; empty if none were
            given) are lists of ``ar_core.data.records.Record``.
        protocols: how prompts can be put, the default first.
        needs_examples: those protocols that take few-shot examples from a file or split of their own.
        data: its set on the hub; None where only local files are read.
        examples: the hub set of its few-shot examples.
        generated: the problems come from a seed; there are no records to read.
    """

    name: str
    summary: str
    build: str
    protocols: tuple[str, ...]
    needs_examples: tuple[str, ...] = ()
    data: HubSet | None = None
    examples: HubSet | None = None
    generated: bool = False


@dataclass(frozen=True)
class Command:
    """A step of decoding that is neither a run of training nor a decoder, as a subcommand of `ar-decode`.

    Attributes:
        name: what users type.
        summary: one line for listings.
        run: ``"module:function"``, from an instance of the options to an ``ar_core.command_result.CommandResult``: the line that is printed
            at the end, with data, tables and pictures. Text alone will do.
        options: ``"module:Class"``, a frozen dataclass buildable by ``from_dict`` from ``key=value`` arguments. A field ``json`` is set by
            ``--json``, for commands that print as they go.
        examples: command lines for its help.
        fields: of the document that ``--json`` prints, one or several with commas between, and what they mean.
    """

    name: str
    summary: str
    run: str
    options: str
    examples: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=lambda: {"said": "the line that is printed without --json"})


@dataclass(frozen=True)
class Converter:
    """A way from published weights to a checkpoint of ours, as a package announces it.

    Attributes:
        name: the kind of model, which users type.
        summary: one line for listings.
        convert: ``"module:function"`` with the signature ``(kind, source, destination, *, entry, tokenizer, settings) -> str``,
            the line that is printed at the end; ``entry`` names the weights inside a training checkpoint and ``tokenizer`` the
            checkpoint that they go with, None where not given; ``settings`` says by name what weights do not tell.
    """

    name: str
    summary: str
    convert: str


@dataclass(frozen=True)
class Exporter:
    """A way from a checkpoint to a folder that a serving engine loads, as a package announces it.

    Attributes:
        name: the kind of checkpoint.
        summary: one line for listings.
        claims: ``"module:function"`` with the signature ``(folder, fields) -> bool``, whether a folder whose ``config.json`` has
            these fields is such a checkpoint; at most one exporter of all packages says so.
        export: ``"module:function"`` with the signature ``(engine, source, destination, settings) -> str``: writes the folder, and
            gives what the engine's command line needs beside it, where ``{folder}`` stands for the folder; see ``ar_core.serving``.
    """

    name: str
    summary: str
    claims: str
    export: str
