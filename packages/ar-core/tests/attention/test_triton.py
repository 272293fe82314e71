"""The backend `triton`, under Triton's interpreter where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def test_the_backend():
    pytest.importorskip("triton", reason="triton is not installed")
    # The interpreter is chosen when triton is imported, hence a process of its own.
    environment = {**os.environ, "TRITON_INTERPRET": "0" if torch.cuda.is_available() else "1"}
    file = Path(__file__).with_name("triton_backend.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
