"""Modules of this folder as fixtures, since tests are imported without being a package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    # Under a name of its own in sys.modules: worker processes and dataclasses look their module up there.
    full = f"ar_core_tests_training_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """Tiny jobs; the file is also a script."""
    return _load("toy")


@pytest.fixture(scope="session")
def kills() -> ModuleType:
    """The kill harness."""
    return _load("kills")
