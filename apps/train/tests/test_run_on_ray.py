"""``ar-train run --ray``: a recipe that makes data, on a cluster of two workers of this machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ar_train import cli

TINY = ["run", "jacobi_trajectories", "--config", "tiny", "data.count=40", "stage.chunk_size=2", "method.batch_size=2"]
CALL = [sys.executable, "-c", "from ar_train.cli import main; main()"]


def main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ar-train", *arguments])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    return ending.value.code or 0


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".tmp-")}


def test_a_killed_command_goes_on_to_the_very_same_files(two_workers, tmp_path, monkeypatch, capsys) -> None:
    import ray

    assert main(monkeypatch, *TINY, f"stage.directory={tmp_path / 'whole'}") == 0
    arguments = [*TINY, f"stage.directory={tmp_path / 'ray'}", "--workers", "2", "--ray"]
    command = subprocess.Popen([*CALL, *arguments, ray.get_runtime_context().gcs_address], env=os.environ.copy())
    try:
        while not (made := list((tmp_path / "ray").glob("chunk-*"))):
            assert command.poll() is None
            time.sleep(0.05)
    finally:
        command.kill()
        command.wait()
    assert len(made) < 20
    capsys.readouterr()
    assert main(monkeypatch, *arguments, "auto", "--resume", "must") == 0
    assert files(tmp_path / "ray") == files(tmp_path / "whole")
    assert "finished: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["autoregressive", "--config", "tiny", "--ray", "local", "--workers", "2"],
            "trains a model, and a Ray cluster makes data",
        ),
        (["jacobi_trajectories", "--config", "tiny", "--ray", "local"], "takes --ray ADDRESS and --workers N"),
        (["jacobi_trajectories", "--config", "tiny", "--workers", "2"], "takes --ray ADDRESS and --workers N"),
        (
            ["jacobi_trajectories", "--config", "tiny", "--ray", "local", "--workers", "2", "--nproc", "2"],
            "takes --ray ADDRESS and --workers N",
        ),
        (["mine.py", "--config", "tiny", "--ray", "local", "--workers", "2"], "is a file of your own"),
        (
            ["jacobi_trajectories", "--config", "tiny", "--ray", "local", "--workers", "2"],
            "a Ray cluster needs ray, which is not installed: pip install 'ar-core[ray]'",
        ),
    ],
)
def test_what_is_refused_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").touch()
    for module in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(monkeypatch, "run", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
