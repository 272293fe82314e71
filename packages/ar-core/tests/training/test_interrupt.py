import json
import os
import signal
import subprocess
import sys
import time

import pytest
from ar_core.training import train
from ar_core.training.interrupt import Interrupt


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0)])
def test_a_signal_ends_the_run_with_a_checkpoint_that_continues_exactly(toy, tmp_path, number, workers):
    settings = {
        "steps": 3000, "batch_size": 4, "checkpoint_dir": str(tmp_path / "run"), "num_workers": workers, "device": "cpu"
    }  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, toy.__file__, json.dumps(settings), str(tmp_path / "out.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and (not metrics.exists() or metrics.stat().st_size == 0):
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["interrupted"]
    assert 0 < result["step"] < 3000
    assert (tmp_path / "run" / f"step-{result['step']:08d}" / "complete.json").exists()
    more = result["step"] + 3
    rest = train(toy.job(), toy.config(**settings | {"steps": more, "num_workers": 0, "log_every": 10, "lr": 1e-2}))
    whole = train(toy.job(), toy.config(steps=more, batch_size=4))
    assert result["losses"] + rest.losses == whole.losses


def test_a_signal_heard_while_a_step_is_recorded_ends_the_run_at_a_checkpoint(toy, tmp_path):
    def report(record):
        if record.get("step") == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    result = train(toy.job(), toy.config(tmp_path), report=report)
    assert (result.interrupted, result.step) == (True, 3)
    assert (tmp_path / "step-00000003" / "complete.json").exists()


def test_handlers_are_put_back_and_the_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
