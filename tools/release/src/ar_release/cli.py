"""The command line ``release``."""

import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from . import report
from .affected import affected_since
from .bump import FIRST, bump
from .check import INSTALLED, STEPS, Check, Options, Result
from .errors import ReleaseError
from .help import Documented
from .levels import LEVELS
from .package import Package
from .plan import plan as plan_releases
from .tag import make_tag, notes
from .tags import parse_tag, tag_name
from .workspace import Workspace, find_workspace

__all__ = ["app", "main"]

app = typer.Typer(
    help="Release one package of the workspace: its own version, changelog and tag.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A package, such as ar-core.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document and nothing else.")]


@app.command(cls=Documented)
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Packages, such as ar-core.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every package.")] = False,
    tag: Annotated[str | None, typer.Option(help="The tag that is released; names the package.")] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Compare the interface with this, not with the last release's tag."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="STEP", help=f"Leave a step out; repeatable: {', '.join(STEPS)}.")
    ] = None,
    no_install: Annotated[
        bool,
        typer.Option(
            "--no-install",
            help=f"Leave out what needs an installation: {', '.join(name for name in STEPS if name in INSTALLED)}.",
        ),
    ] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Check files that are not committed, too.")
    ] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="Install the newest versions of everything else, not those of uv.lock.")
    ] = False,
    python: Annotated[str | None, typer.Option(metavar="VERSION", help="Install under this Python.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Leave wheels and source archives here.")] = None,
    json: Json = False,
) -> None:
    """Run everything that a release does, up to publishing: the dry run, and what the release workflow runs."""
    workspace = find_workspace(Path.cwd())
    told = parse_tag(tag) if tag else None
    packages = _chosen(workspace, [*(names or []), *([told.name] if told else [])], everything)
    if unknown := sorted(set(skip or ()) - STEPS.keys()):
        raise ReleaseError(f"there is no step {unknown[0]!r} to skip; there are {', '.join(STEPS)}")
    left_out = frozenset(skip or ()) | (INSTALLED if no_install else frozenset())
    options = Options(told, against, left_out, allow_dirty, newest, python, out)
    console, errors = Console(), Console(stderr=True)
    results: list[Result] = []
    with TemporaryDirectory(prefix="release-") as folder:
        wheels = Path(folder) / "wheels"
        wheels.mkdir()
        for package in packages:
            scratch = Path(folder) / package.name
            scratch.mkdir()
            with errors.status(package.name) as status:
                own = []
                for result in Check(workspace, package, options, scratch, wheels).run():
                    own.append(result)
                    status.update(f"{package.name}: {result.step} {result.state}")
            results += own
            if not json:
                report.show_results(console, own)
    if json:
        typer.echo(report.as_json(results))
    if failed := [one for one in results if one.state == "failed"]:
        for one in failed:
            report.show_failure(errors, one)
        raise typer.Exit(2)


@app.command("bump", cls=Documented)
def raise_version(
    name: Name,
    level: Annotated[str, typer.Argument(metavar=f"{'|'.join((*LEVELS, FIRST))}")],
    day: Annotated[
        str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="The release's day; default today.")
    ] = None,
    json: Json = False,
) -> None:
    """Raise a version, and put what is unreleased in the changelog under it; changes four files and nothing else."""
    package = find_workspace(Path.cwd()).package(name)
    try:
        when = date.fromisoformat(day) if day else date.today()
    except ValueError as error:
        raise ReleaseError(f"the date {day!r} is not of the form 2026-01-31") from error
    version, files = bump(package, level, when)
    changed = [path.relative_to(package.root).as_posix() for path in files]
    if json:
        typer.echo(report.as_json({"package": package.name, "version": version, "files": changed}))
    else:
        typer.echo("\n  ".join((f"{package.name} {version}", *changed)))


@app.command("tag", cls=Documented)
def name_tag(
    name: Name,
    make: Annotated[bool, typer.Option("--make", help="Make it, at the current commit.")] = False,
    json: Json = False,
) -> None:
    """Print the tag of a package's version."""
    package = find_workspace(Path.cwd()).package(name)
    tag = make_tag(package) if make else tag_name(package)
    typer.echo(report.as_json({"tag": tag, "made": make}) if json else tag)


@app.command("notes", cls=Documented)
def show_notes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A package, such as ar-core.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag, in place of a name.")] = None,
    json: Json = False,
) -> None:
    """Print the changelog's section of a package's version, or of a tag's: the notes of its release."""
    workspace = find_workspace(Path.cwd())
    told = parse_tag(tag) if tag else None
    if told and name:
        raise ReleaseError(f"both the name {name!r} and the tag {told.text!r} are given; give one of them")
    (package,) = _chosen(workspace, [one for one in (name, told.name if told else None) if one], False)
    version = told.version if told else package.version
    text = notes(package, version)
    typer.echo(report.as_json({"package": package.name, "version": version, "notes": text}) if json else text)


@app.command("plan", cls=Documented)
def show_plan(json: Json = False) -> None:
    """Tell what has changed in each package since its last release, and what that asks for."""
    planned = plan_releases(find_workspace(Path.cwd()))
    if json:
        typer.echo(report.as_json(planned))
    else:
        report.show_plan(Console(), planned)


@app.command(cls=Documented)
def affected(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A reference, such as origin/main.")], json: Json = False
) -> None:
    """Print the folders whose tests the commits since BASE concern; as JSON it is one line, for a matrix of jobs."""
    found = affected_since(find_workspace(Path.cwd()), base)
    typer.echo(" ".join(report.as_json(found).split()) if json else "\n".join(found.members))


def _chosen(workspace: Workspace, names: list[str], everything: bool) -> tuple[Package, ...]:
    if everything and names:
        raise ReleaseError(f"both --all and {names[0]!r} are given; give one of them")
    if everything:
        return workspace.packages
    if not names:
        raise ReleaseError(f"no package is named; allowed are {', '.join(one.name for one in workspace.packages)}")
    return tuple({one.name: one for one in map(workspace.package, names)}.values())


def main() -> None:
    """Run the command line; what a person can cause is one sentence and exit code 2."""
    try:
        app()
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
