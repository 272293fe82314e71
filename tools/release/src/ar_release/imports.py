"""Imports modules one by one, each in a process that holds nothing of the package; run by the interpreter of a fresh environment.

    python imports.py PACKAGE [PRELOADED ...]

Each process is forked from one that has imported the named packages, if they are installed, and nothing else: importing torch
once instead of once a module is what makes it affordable. Writes one line of JSON, ``{module: null or "Error: message"}``.
Standard library only: it runs where nothing else is installed.
"""

import importlib
import importlib.util
import json
import os
import pkgutil
import sys


def modules(package: str) -> list[str]:
    """Names of the public modules of a package that are files in it, itself first, without importing any."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit(f"{package} is not installed")
    names, folders = [package], [(f"{package}.", path) for path in spec.submodule_search_locations]
    while folders:
        prefix, folder = folders.pop()
        for found in pkgutil.iter_modules([folder], prefix):
            if found.name.rpartition(".")[2].startswith("_"):
                continue
            names.append(found.name)
            if found.ispkg:
                folders.append((f"{found.name}.", os.path.join(folder, found.name.rpartition(".")[2])))
    return [names[0], *sorted(names[1:])]


def imported(name: str) -> str | None:
    """What is raised by importing a module in a forked process, or None."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(reading)
        said = ""
        try:
            importlib.import_module(name)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or (f"ended by signal or exit code {status}" if status else None)


def main() -> None:
    """Preload, then import every module."""
    package, *preloaded = sys.argv[1:]
    for name in preloaded:
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    held = [name for name in sys.modules if name.partition(".")[0] == package]
    assert not held, f"{held[0]} was imported by what is preloaded"
    print(json.dumps({name: imported(name) for name in modules(package)}))


if __name__ == "__main__":
    main()
