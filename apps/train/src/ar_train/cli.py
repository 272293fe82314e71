"""The command line ``ar-train``. Imports torch only inside the commands that train."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from ar_core.config import did_you_mean
from ar_core.errors import ArError, ConfigError
from ar_core.registry import Recipe
from typer.core import TyperGroup

from .reference import named_file, named_recipe, recipe_of_run

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """Unknown commands get the nearest one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command named by the first argument."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise ConfigError(f"there is no command {args[0]!r}; {did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Train: a config in, a run out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe that `ar-train ls` lists.")]
ConfigOption = Annotated[
    str,
    typer.Option("--config", metavar="NAME_OR_PATH", help="A shipped config, or a YAML file by path or module path."),
]
ResumeOption = Annotated[
    str, typer.Option("--resume", metavar="auto|never|must", help="Continue from train.checkpoint_dir.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE | ~KEY]...", help="Entries of the config to set, such as train.lr=1e-4, or to take out."
    ),
]


@app.command("ls")
def list_all() -> None:
    """List all recipes and configs of all installed packages."""
    from rich.console import Console

    from .listing import lines

    found = list(lines())
    width = max((len(name) for name, _ in found), default=0)
    console = Console(highlight=False, markup=False)
    # A terminal gets one line each; a file or pipe gets all of it.
    layout: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"} if console.is_terminal else {"soft_wrap": True}
    for name, summary in found:
        console.print(f"{name:{width}}  {summary}", style=None if "/" in name else "bold", **layout)
    if not found:
        console.print("no installed package has a recipe; install one, such as dlm-text")


@app.command()
def cat(reference: Annotated[str, typer.Argument(metavar="RECIPE[/CONFIG]")]) -> None:
    """Print a recipe, or one of its configs."""
    sys.stdout.write(named_file(reference).read_text(encoding="utf-8"))


@app.command()
def cp(
    reference: Annotated[str, typer.Argument(metavar="RECIPE[/CONFIG]")],
    destination: Annotated[Path, typer.Argument(help="A file, or a folder that exists.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
) -> None:
    """Copy a recipe, or one of its configs, to edit it."""
    source = named_file(reference)
    target = destination / source.name if destination.is_dir() else destination
    if target.exists() and not force:
        raise ConfigError(f"{str(target)!r} exists; give another destination or --force")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    except OSError as error:
        raise ConfigError(f"{str(target)!r} cannot be written ({error.strerror}); give another destination") from error
    typer.echo(f"copied to {target}", err=True)


@app.command(
    epilog="Examples: `ar-train convert var_vqvae vae_ch160v4096z32.pth ./vae` and then `ar-train convert var var_d16.pth ./var_d16 "
    "--tokenizer ./vae`.",
)
def convert(
    kind: Annotated[str, typer.Argument(help="The kind of model; `ar-train ls` lists them.")],
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
) -> None:
    """Turn published weights into a safetensors checkpoint that records where it comes from."""
    from ar_core.config import apply_overrides
    from ar_core.registry import converter, resolve

    run_conversion = resolve(converter(kind).convert)
    told = apply_overrides({}, settings or [])
    typer.echo(run_conversion(kind, source, destination, entry=entry, tokenizer=tokenizer, settings=told))


EngineArgument = Annotated[str, typer.Argument(metavar="vllm|sglang", help="The serving engine.")]


@app.command(
    epilog="Examples: `ar-train export vllm out/final ./served` and `ar-train export sglang ./efficient_dlm_4b ./served threshold=0.9`.",
)
def export(
    engine: EngineArgument,
    source: Annotated[Path, typer.Argument(help="A checkpoint: final/ of a run, or a published folder.")],
    destination: Annotated[Path, typer.Argument(help="A folder to write.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="What `ar-train ls` names behind the kind of checkpoint."),
    ] = None,
) -> None:
    """Write a checkpoint in the layout that a serving engine loads; what it does not serve is refused."""
    from ar_core.config import apply_overrides
    from ar_core.serving import export_checkpoint

    typer.echo(export_checkpoint(engine, source, destination, apply_overrides({}, settings or [])))


@app.command("verify-export")
def verify_export(
    engine: EngineArgument, folder: Annotated[Path, typer.Argument(help="A folder that the engine is to load.")]
) -> None:
    """Hold a folder's config, files, and tensors by name and shape against what the engine's loader reads."""
    from ar_core.config import expand_path
    from ar_core.serving import engine as named_engine
    from ar_core.serving import verify_export as verify

    loader, count = verify(expand_path(str(folder)), engine)
    target = named_engine(engine)
    typer.echo(f"{count} tensors as {loader.name} of {target.name} {target.version} reads them ({loader.file})")


@app.command()
def validate(recipe: RecipeArgument, config: ConfigOption, overrides: Overrides = None) -> None:
    """Check a config and print it in full, every default included."""
    import yaml
    from ar_core.config import to_dict
    from ar_core.training import read_run_config

    checked = to_dict(read_run_config(named_recipe(recipe), config, overrides or []))
    sys.stdout.write(yaml.safe_dump(checked, sort_keys=False))
    typer.echo("valid", err=True)


@app.command(
    epilog="Examples: `ar-train plan fast_dllm_v2 --config tiny` and `ar-train plan fast_dllm_v2 --config qwen2_5_7b_qlora --hardware h100`.",
)
def plan(
    recipe: RecipeArgument,
    config: ConfigOption,
    overrides: Overrides = None,
    nproc: Annotated[int, typer.Option("--nproc", metavar="N", help="Devices, each with all weights.")] = 1,
    hardware: Annotated[
        str | None,
        typer.Option("--hardware", metavar="a100|h100|h200|cpu", help="Each device; this machine's if not given."),
    ] = None,
    utilisation: Annotated[
        float, typer.Option("--utilisation", metavar="SHARE", help="Of the device's operations a second, in (0, 1].")
    ] = 0.4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what `run` would take: memory of a device, operations, time, size of checkpoints. Nothing is trained."""
    from ar_core.planning import named_hardware, plan_run, present_hardware, timetable
    from ar_core.training import read_run_config

    from .planning import as_data, table

    target = named_recipe(recipe)
    device = present_hardware() if hardware is None else named_hardware(hardware)
    planned = plan_run(target, read_run_config(target, config, overrides or []), processes=nproc)
    times = timetable(planned, device, utilisation=utilisation)
    if as_json:
        import json

        typer.echo(json.dumps(as_data(planned, device, times), indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(table(planned, device, times))
    for note in planned.notes:
        console.print(f"- {note}", soft_wrap=not console.is_terminal)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe, or your own recipe file by its path.")],
    config: ConfigOption,
    overrides: Overrides = None,
    nproc: Annotated[int, typer.Option("--nproc", metavar="N", help="Processes on this machine (torchrun).")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|auto|HOST:PORT",
            help="Make data on a Ray cluster: one of this machine, or a running one.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Processes on the Ray cluster, a GPU each where it has any."),
    ] = None,
    resume: ResumeOption = "auto",
) -> None:
    """Train. Ctrl-C writes a checkpoint; the same command continues from it."""
    from .launch import run_here, run_on_ray, run_processes

    target = recipe_of_run(recipe)
    arguments = ["--config", config, "--resume", resume, *(overrides or [])]
    if (ray is None) != (workers is None) or (ray is not None and nproc != 1):
        raise ConfigError(
            "work on a Ray cluster takes --ray ADDRESS and --workers N, and no --nproc: give both or neither"
        )
    if ray is not None and workers is not None:
        raise typer.Exit(run_on_ray(target, arguments, ray, workers))
    if nproc == 1:
        raise typer.Exit(run_here(target, arguments))
    if isinstance(target, Recipe):
        # Before any process starts: one sentence instead of one from each of them.
        from ar_core.training import read_run_config

        read_run_config(target, config, overrides or [])
    raise typer.Exit(run_processes(target, arguments, nproc))


@app.command()
def fit(
    recipe: RecipeArgument, config: ConfigOption, overrides: Overrides = None, resume: ResumeOption = "auto"
) -> None:
    """Train under Lightning: the same objective, config, losses and checkpoints."""
    target = named_recipe(recipe)
    try:
        from ar_core.training import recipe_main
        from ar_core.training.lightning_task import fit as driver
    except ImportError as error:
        raise ConfigError(
            "`ar-train fit` needs the package lightning; install it with `pip install 'ar-core[train]'`"
        ) from error
    # Lightning announces devices and a product of its makers; our own progress line is what counts.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities")
    arguments = ["--config", config, "--resume", resume, *(overrides or [])]
    raise typer.Exit(recipe_main(target, arguments, driver=driver))


def main() -> None:
    """Run the command line; input that cannot be used is one sentence and exit code 2."""
    # transformers imports torchao where it is installed, which warns about its own build.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    try:
        app()
    except ArError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
