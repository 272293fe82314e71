"""What wheel and source archive hold: code, configs, the licence and the mark of types; nothing else that is not declared."""

from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from .build import Built, sdist_files, wheel_files
from .errors import ReleaseError
from .package import Package

__all__ = ["check_contents"]

CODE = {".py", ".pyi", ".yaml", ".html", ".jinja"}
"""Suffixes of files that a wheel holds without being asked: code, recipes' configs and templates of pages."""
BESIDE_CODE = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", ".gitignore")
"""Of the source archive."""
MIB = 2**20


def check_contents(package: Package, built: Built) -> str:
    """Hold the names and sizes in both files against the rules; returns their sizes."""
    wheel, sdist = wheel_files(built.wheel), sdist_files(built.sdist)
    wrong = [name for name in wheel if not _belongs_in_wheel(package, name)]
    wrong += [name for name in sdist if not _belongs_in_sdist(package, name)]
    if wrong:
        raise ReleaseError(
            f"{package.name} would ship {', '.join(sorted(wrong)[:5])}{' and others' if len(wrong) > 5 else ''}: files that are no code, "
            f"config or template have to be named under `data` of [tool.ar-release] in its pyproject.toml, and tests do not ship"
        )
    unused = [pattern for pattern in package.settings.data if not any(fnmatch(name, pattern) for name in wheel)]
    if unused:
        raise ReleaseError(f"`data` of {package.name} has the pattern {unused[0]!r}, which no shipped file fits")
    wanted = {f"{package.module}/__init__.py", f"{package.module}/py.typed"}
    if missing := sorted(wanted - wheel.keys()):
        raise ReleaseError(f"the wheel of {package.name} lacks {missing[0]}; put it below src/")
    _check_licence(package, wheel)
    lost = _code_of_checkout(package) - wheel.keys()
    if lost:
        raise ReleaseError(f"the wheel of {package.name} lacks {min(lost)}, which is in the checkout")
    sizes = [path.stat().st_size / MIB for path in (built.wheel, built.sdist)]
    if max(sizes) > package.settings.max_mib:
        raise ReleaseError(
            f"{package.name} would be {max(sizes):.1f} MiB, and at most {package.settings.max_mib:g} are allowed; "
            f"ship less or raise `max-mib` of [tool.ar-release]"
        )
    return f"{len(wheel)} files; wheel {sizes[0]:.2f}, archive {sizes[1]:.2f} MiB"


def _belongs_in_wheel(package: Package, name: str) -> bool:
    parts = PurePosixPath(name).parts
    if parts[0].endswith(".dist-info"):
        return True
    if parts[0] != package.module or {"tests", "__pycache__"} & set(parts):
        return False
    if any(fnmatch(name, pattern) for pattern in package.settings.data):
        return True
    return PurePosixPath(name).suffix in CODE or parts[-1] == "py.typed"


def _belongs_in_sdist(package: Package, name: str) -> bool:
    if name.startswith("src/"):
        return _belongs_in_wheel(package, name.removeprefix("src/"))
    return name in BESIDE_CODE


def _code_of_checkout(package: Package) -> set[str]:
    files = (path for path in package.source.rglob("*") if path.is_file())
    return {path.relative_to(package.source.parent).as_posix() for path in files if path.suffix in CODE}


def _check_licence(package: Package, wheel: dict[str, bytes]) -> None:
    shipped = [text for name, text in wheel.items() if name.endswith(".dist-info/licenses/LICENSE")]
    if shipped != [_read(package.root / "LICENSE")]:
        raise ReleaseError(f"the wheel of {package.name} has to hold the LICENSE of the workspace, unchanged")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ReleaseError(f"{path} is not there; the workspace has a licence")
    return path.read_bytes()
