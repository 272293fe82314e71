"""Everything that releasing a package does up to publishing it, as a list of steps that can be run anywhere."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .build import Built, build, compare_wheels
from .contents import check_contents
from .environment import Environment, fresh_environment, locked_versions, locked_with_extra
from .errors import ReleaseError
from .interface import IncompatibleError, check_interface
from .metadata import check_metadata
from .package import Package
from .run import git, uv
from .siblings import check_bounds, lowest_siblings, sibling_wheel
from .smoke import check_imports, check_scripts, run_job
from .tags import Tag, released_versions
from .versions import check_version
from .workspace import Workspace

__all__ = ["INSTALLED", "STEPS", "Check", "Options", "Result"]

STEPS = {
    "checkout": "no file differs from the commit",
    "version": "pyproject.toml, __version__, changelog and tag agree",
    "bounds": "the siblings' lowest versions exist",
    "api": "the version tells what changed since the last release",
    "build": "source archive, and the wheel from it",
    "same": "the wheel from the checkout equals it",
    "contents": "files and sizes",
    "metadata": "valid, complete and rendered",
    "install": "alone, with the siblings' lowest versions",
    "imports": "every public module by itself",
    "scripts": "every console script",
    "job": "one tiny job",
    "extras": "each extra alone: install and imports",
}
"""Their names and what they hold, in order."""
INSTALLED = frozenset({"install", "imports", "scripts", "job", "extras"})
"""Those that install the package."""


@dataclass(frozen=True)
class Options:
    """How a check is run."""

    tag: Tag | None = None
    """The tag that is released; None: a dry run of the version in pyproject.toml."""
    against: str | None = None
    """Commit or tag that the interface is compared with; None: the package's last tag."""
    skip: frozenset[str] = frozenset()
    """Names of steps that are left out."""
    allow_dirty: bool = False
    """Also check a tree with changes that are not committed."""
    newest: bool = False
    """Install the newest versions of everything else, not those of uv.lock."""
    python: str | None = None
    """Version of Python of the environments, such as ``3.12``; None: the one that runs this."""
    out: Path | None = None
    """Where wheel and archive are left."""


@dataclass(frozen=True)
class Result:
    """How a step ended."""

    package: str
    """Name of the package."""
    step: str
    """One of the steps."""
    state: str
    """passed, failed or skipped."""
    note: str
    """What was found, or why it failed."""
    seconds: float
    """What the step took."""
    broken: tuple[str, ...] = ()
    """Incompatible changes that the version does not tell."""


@dataclass
class Check:
    """The check of one package; what earlier steps made is there for later ones."""

    workspace: Workspace
    """The checkout."""
    package: Package
    """What is checked."""
    options: Options
    """How."""
    scratch: Path
    """An empty folder."""
    wheels: Path
    """Of siblings; checks of several packages may share it."""
    _built: Built | None = None
    _alone: Environment | None = None
    _refused: tuple[str, ...] | None = None
    """Modules that ask for an extra where there is none."""

    def run(self) -> Iterator[Result]:
        """Run the steps in order, up to the first that fails."""
        for name in STEPS:
            if name in self.options.skip:
                yield Result(self.package.name, name, "skipped", "", 0.0)
                continue
            step: Callable[[], str] = getattr(self, f"_{name}")
            begin = time.perf_counter()
            broken: tuple[str, ...] = ()
            try:
                state, note = "passed", step()
            except IncompatibleError as error:
                state, note, broken = "failed", str(error), error.broken
            except ReleaseError as error:
                state, note = "failed", str(error)
            yield Result(self.package.name, name, state, note, time.perf_counter() - begin, broken)
            if state == "failed":
                return

    def _checkout(self) -> str:
        root, tag = self.workspace.root, self.options.tag
        if tag and tag.text in released_versions(root, tag.name).values():
            commits = [git(root, "rev-parse", "--short", f"{one}^{{commit}}") for one in (tag.text, "HEAD")]
            if commits[0] != commits[1]:
                raise ReleaseError(
                    f"the tag {tag.text} is of {commits[0]}, and {commits[1]} is checked out; check the tag out"
                )
        changed = git(root, "status", "--porcelain")
        if not changed:
            return git(root, "rev-parse", "--short", "HEAD")
        files = [line[3:] for line in changed.splitlines()]
        told = f"{len(files)} files differ from the commit, such as {files[0]}"
        if not self.options.allow_dirty:
            raise ReleaseError(f"{told}; commit or remove them, or allow it by --allow-dirty")
        return f"{told} (allowed)"

    def _version(self) -> str:
        return check_version(self.package, self.options.tag)

    def _bounds(self) -> str:
        return check_bounds(self.workspace, self.package, tagged=self.options.tag is not None)

    def _api(self) -> str:
        return check_interface(self.package, self._folder("api"), self.options.against)

    def _build(self) -> str:
        self._built = build(self.package, self._folder("dist"))
        if self.options.out:
            self.options.out.mkdir(parents=True, exist_ok=True)
            for path in (self._built.wheel, self._built.sdist):
                shutil.copy(path, self.options.out)
        return self._built.wheel.name

    def _same(self) -> str:
        return compare_wheels(self.package, self._made(), self._folder("again"))

    def _contents(self) -> str:
        return check_contents(self.package, self._made())

    def _metadata(self) -> str:
        return check_metadata(self.package, self._made())

    def _install(self) -> str:
        environment = self._environment("alone")
        environment.install(self._own())
        uv(self.scratch, "pip", "check", "--quiet", "--python", environment.python)
        self._alone = environment
        return f"{len(environment.names())} packages"

    def _imports(self) -> str:
        found = check_imports(self.package, self._installed())
        self._refused = found.refused
        return str(found)

    def _scripts(self) -> str:
        return check_scripts(self.package, self._installed())

    def _job(self) -> str:
        settings = self.package.settings
        if not (settings.job_extras or settings.job_with):
            return run_job(self.package, self._installed())
        environment = self._environment("job", settings.job_extras, settings.job_with)
        environment.install(self._own(*settings.job_extras), *settings.job_with)
        return run_job(self.package, environment)

    def _extras(self) -> str:
        notes = []
        for extra in self.package.extras:
            if extra in self.package.settings.unbuilt_extras:
                count = len(locked_with_extra(self.workspace.root, self.package.name, extra))
                notes.append(f"{extra}: resolved to {count} packages, not installed")
                continue
            environment = self._environment(f"extra-{extra}", (extra,))
            environment.install(self._own(extra))
            # Those that the package alone imports do not depend on an order there, and so not here.
            notes.append(f"{extra}: {check_imports(self.package, environment, (extra,), apart=self._refused)}")
            shutil.rmtree(environment.folder)
        return "; ".join(notes) or "none"

    def _own(self, *extras: str) -> str:
        """The requirement of the wheel that was built."""
        named = f"{self.package.name}[{','.join(extras)}]" if extras else self.package.name
        return f"{named} @ {self._made().wheel.as_uri()}"

    def _made(self) -> Built:
        if self._built is None:
            raise ReleaseError("this step needs a build; do not skip the step build")
        return self._built

    def _installed(self) -> Environment:
        if self._alone is None:
            raise ReleaseError("this step needs an installation; do not skip the step install")
        return self._alone

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        return folder

    def _environment(self, name: str, extras: tuple[str, ...] = (), beside: tuple[str, ...] = ()) -> Environment:
        """A fresh environment that finds the siblings at the lowest versions that this package allows."""
        limits = [] if self.options.newest else list(locked_versions(self.workspace.root))
        for sibling, version in lowest_siblings(self.workspace, self.package, extras, beside).items():
            wheel = sibling_wheel(self.workspace, sibling, version, self.wheels, self.scratch / f"tag-{sibling}")
            # By its file: an index may have something else under this name.
            limits.append(f"{sibling} @ {wheel.as_uri()}")
        return fresh_environment(self.scratch / name, limits, self.options.python)
