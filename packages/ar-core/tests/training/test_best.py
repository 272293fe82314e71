import json

import pytest
from ar_core.errors import ConfigError
from ar_core.io import read_tensors
from ar_core.training import train

VALUES = {3: 5.0, 6: 2.0, 9: 4.0, 12: 2.0}


class Stop(Exception):
    pass


def run(toy, directory, *, stop=None, **settings):
    """Train 12 steps; the evaluation at a step is what VALUES says. Returns the weights at step 6."""
    net, kept = toy.model(), {}

    def evaluate():
        step = next(seen)
        if step == 6:
            kept.update(toy.weights(net))
        return {"loss": VALUES[step]}

    def report(record):
        if record["step"] == stop and "evaluation" in record:
            raise Stop

    done = max((int(path.name.removeprefix("step-")) for path in directory.glob("step-*")), default=0)
    seen = iter([step for step in VALUES if step > done])
    config = toy.config(directory, eval_every=3, checkpoint_every_steps=4, best_by="loss", **settings)
    if stop is None:
        train(toy.job(model=net, evaluate=evaluate), config)
    else:
        with pytest.raises(Stop):
            train(toy.job(model=net, evaluate=evaluate), config, report=report)
    return kept


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_model_of_the_smallest_evaluation_is_kept_the_first_of_equals(toy, tmp_path, ema):
    kept = run(toy, tmp_path, ema=ema)
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {"step": 6, "evaluation": {"loss": 2.0}}
    best = read_tensors(tmp_path / "best" / "model.safetensors")
    assert all(best[name].equal(value) for name, value in kept.items())
    final = read_tensors(tmp_path / "final" / "model.safetensors")
    assert not all(best[name].equal(value) for name, value in final.items())


@pytest.mark.parametrize("stop", [6, 9])
def test_resumed_ends_with_the_same_best_as_uninterrupted(toy, tmp_path, stop):
    """Checkpoints are made at 4 and 8: the best evaluation, at 6, is made again, or lies before the checkpoint."""
    run(toy, tmp_path / "whole")
    run(toy, tmp_path / "part", stop=stop)
    run(toy, tmp_path / "part")
    for name in ("best/model.safetensors", "best/best.json", "final/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()


def test_a_fresh_start_takes_no_best_of_an_abandoned_run(toy, tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "best.json").write_text(json.dumps({"step": 1, "evaluation": {"loss": 0.0}}))
    run(toy, tmp_path)
    assert json.loads((tmp_path / "best" / "best.json").read_text())["step"] == 6


def test_what_cannot_be_chosen_is_refused(toy, tmp_path):
    with pytest.raises(ConfigError, match="best_by is 'loss' and eval_every is null"):
        toy.config(tmp_path, best_by="loss")
    with pytest.raises(ConfigError, match="best_by is 'loss' and checkpoint_dir is null"):
        toy.config(None, best_by="loss", eval_every=2)
    config = toy.config(tmp_path, best_by="los", eval_every=2)
    with pytest.raises(ConfigError, match="best_by is 'los' and the evaluation measures loss"):
        train(toy.job(evaluate=lambda: {"loss": 1.0}), config)
    with pytest.raises(ConfigError, match="no way to save"):
        train(toy.job(evaluate=lambda: {"los": 1.0}, save=None), config)


def test_a_run_that_is_resumed_by_another_evaluation_begins_anew(toy, tmp_path):
    evaluate = {"old": lambda: {"old": 0.0}, "new": lambda: {"old": 0.0, "new": 3.0}}
    for name, steps in (("old", 4), ("new", 8)):
        config = toy.config(tmp_path, steps=steps, eval_every=4, best_by=name, schedule="constant")
        train(toy.job(evaluate=evaluate[name]), config)
    assert json.loads((tmp_path / "best" / "best.json").read_text()) == {
        "step": 8,
        "evaluation": {"old": 0.0, "new": 3.0},
    }
