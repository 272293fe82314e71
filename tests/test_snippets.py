"""Every command and every piece of code in the READMEs and in the docs works, page by page; what happens with each is told in `snippets`."""

from pathlib import Path

import pytest
import torch
from snippets.pages import ROOT, pages
from snippets.running_pages import run_page
from snippets.stand_ins import StandIns

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> StandIns:
    """Made once for all workers."""
    base = tmp_path_factory.getbasetemp()
    return StandIns((base if worker_id == "master" else base.parent) / "stand_ins")


@pytest.fixture
def scratch(tmp_path: Path, stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one, for a reader without a terminal of colours."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, value in {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PWD": str(folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AR_DATA_DIR", str(stand_ins.home / "data"))
    monkeypatch.setenv("AR_CIFAR10_DIR", str(stand_ins.home / "cifar10"))
    monkeypatch.syspath_prepend(str(ROOT))
    return folder


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page(page: Path, scratch: Path, stand_ins: StandIns) -> None:
    with torch.random.fork_rng(devices=[]):
        run_page(page, scratch, stand_ins.place)
