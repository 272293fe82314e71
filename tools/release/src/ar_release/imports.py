"""Imports the public modules of a package where it is installed; run by the interpreter of that environment.

    python imports.py PACKAGE APART [PRELOADED ...]

The modules named by APART (``all``, ``none``, or names with commas between) are imported in a process each that holds nothing of the
package. The process is forked from one that has imported the preloaded modules of other packages, if they are there: importing torch
once instead of once a module is what makes it affordable. The others are imported one after the other, which finds what is not
installed, but not what depends on an order. Writes one line of JSON, ``{module: null or "Error: message"}``. Standard library only: it
runs where nothing else is installed.
"""

import importlib
import importlib.util
import json
import os
import pkgutil
import sys
from contextlib import suppress


def modules(package: str) -> list[str]:
    """Names of the public modules of a package that are files in it, itself first, without importing any."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit(f"{package} is not installed")
    names, folders = [], [(f"{package}.", path) for path in spec.submodule_search_locations]
    while folders:
        prefix, folder = folders.pop()
        for found in pkgutil.iter_modules([folder], prefix):
            last = found.name.rpartition(".")[2]
            if not last.startswith("_"):
                names.append(found.name)
                if found.ispkg:
                    folders.append((f"{found.name}.", os.path.join(folder, last)))
    return [package, *sorted(names)]


def imported(name: str) -> str | None:
    """What is raised by importing a module, or None."""
    try:
        importlib.import_module(name)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


def imported_apart(name: str) -> str | None:
    """The same in a forked process, which may also end without raising."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(reading)
        os.write(writing, (imported(name) or "").encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return said or (f"ended with status {status}" if status else None)


def main() -> None:
    """Preload, then import every module."""
    package, chosen, *preloaded = sys.argv[1:]
    names = modules(package)
    apart = names if chosen == "all" else [] if chosen == "none" else chosen.split(",")
    for name in preloaded if apart else ():
        with suppress(ImportError):
            importlib.import_module(name)
    if held := [name for name in sys.modules if name.partition(".")[0] == package]:
        raise SystemExit(f"{held[0]} is imported by what is preloaded")
    said = {name: imported_apart(name) for name in apart}
    print(json.dumps(said | {name: imported(name) for name in names if name not in said}))


if __name__ == "__main__":
    main()
