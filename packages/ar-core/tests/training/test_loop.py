import json
import math
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError, NumericsError, ResumeError
from ar_core.io import read_tensors
from ar_core.training import train
from ar_core.training.metrics import MetricsFile


def records(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_losses_fall_and_models_are_left_trained_in_eval_mode(toy):
    net = toy.model()
    result = train(toy.job(model=net), toy.config(steps=200))
    assert result.step == len(result.losses) == 200
    assert (result.resumed_from, result.interrupted) == (None, False)
    assert sum(result.losses[-20:]) < 0.5 * sum(result.losses[:20])
    assert not net.training


@pytest.mark.parametrize("settings", [{"micro_batch_size": 4}, {"micro_batch_size": 3}, {"micro_batch_size": 1}])
def test_micro_batches_change_nothing_but_the_last_bits(toy, settings):
    whole = train(toy.job(), toy.config()).losses
    assert train(toy.job(), toy.config(**settings)).losses == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(toy, workers):
    whole = train(toy.job(), toy.config(steps=7)).losses
    assert train(toy.job(), toy.config(steps=7, num_workers=workers)).losses == whole


def test_metrics_have_every_number_at_the_steps_asked_for(toy, tmp_path):
    seen = []
    result = train(toy.job(), toy.config(tmp_path, steps=7, log_every=3, warmup_steps=4), report=seen.append)
    lines = records(tmp_path)
    assert lines == seen
    assert [line["step"] for line in lines] == [3, 6, 7]
    first = lines[0]
    assert first["loss"] == result.losses[2]
    assert first["lr"] == pytest.approx(0.0075)
    assert first["weights"]["mean"] == 8
    assert set(first["values"]) == {"hidden", "mean", "count"}
    assert first["tokens_per_s"] == pytest.approx(first["samples_per_s"] * sum(1 + i % 3 for i in range(24)) / 24)
    assert first["peak_memory_mib"] > 10
    assert first["grad_norm"] > 0


def test_final_model_is_saved_and_not_written_again_by_a_run_that_is_over(toy, tmp_path):
    net = toy.model()
    train(toy.job(model=net), toy.config(tmp_path))
    final = tmp_path / "final" / "model.safetensors"
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in read_tensors(final).items())
    stamp = final.stat().st_mtime_ns
    again = toy.model()
    result = train(toy.job(model=again), toy.config(tmp_path))
    assert (result.step, result.losses, result.resumed_from) == (12, [], 12)
    assert final.stat().st_mtime_ns == stamp
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in again.state_dict().items())


def test_evaluation_sees_the_average_in_eval_mode_and_disturbs_nothing(toy, tmp_path):
    net = toy.model(dropout=0.3)
    seen = []

    def evaluate():
        assert not torch.is_grad_enabled()
        seen.append((net.training, toy.weights(net)))
        torch.rand(3)
        return {"accuracy": float(len(seen))}

    plain = train(toy.job(model=toy.model(dropout=0.3)), toy.config(ema=0.5)).losses
    result = train(toy.job(model=net, evaluate=evaluate), toy.config(tmp_path, ema=0.5, eval_every=5))
    assert result.losses == plain
    assert result.evaluation == {"accuracy": 3.0}
    assert [line for line in records(tmp_path) if "evaluation" in line] == [
        {"step": step, "evaluation": {"accuracy": number}} for number, step in enumerate((5, 10, 12), start=1)
    ]
    assert not any(training for training, _ in seen)
    assert all(torch.equal(value, seen[-1][1][name]) for name, value in net.state_dict().items())


def test_average_follows_its_formula(toy):
    net, expected = toy.model(), None
    trail = [toy.weights(net)]

    class Watching(toy.TwoTerms):
        def sums(self, models, prepared):
            trail.append(toy.weights(net))
            return super().sums(models, prepared)

    train(toy.job(model=net, objective=Watching()), toy.config(steps=4, ema=0.75))
    raw = toy.model()
    train(toy.job(model=raw), toy.config(steps=4))
    expected = trail[0]
    for state in [*trail[2:], toy.weights(raw)]:
        expected = {name: 0.75 * value + 0.25 * state[name] for name, value in expected.items()}
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_nan_keeps_the_last_checkpoint_and_names_the_step(toy, tmp_path):
    class Failing(toy.TwoTerms):
        calls = 0

        def sums(self, models, prepared):
            Failing.calls += 1
            sums = super().sums(models, prepared)
            return sums | {"hidden": sums["hidden"] * float("nan")} if Failing.calls == 6 else sums

    config = toy.config(tmp_path, checkpoint_every_steps=4)
    with pytest.raises(NumericsError, match="is nan at step 6"):
        train(toy.job(objective=Failing()), config)
    whole = train(toy.job(), toy.config())
    assert train(toy.job(), config).losses == whole.losses[4:]


def test_sources_that_end_or_misnumber_are_refused(toy):
    class Short(toy.Source):
        def open(self, start):
            for sample in super().open(start):
                if sample["index"] == 20:
                    return
                yield sample

    class Shuffled(toy.Source):
        def open(self, start):
            for sample in super().open(start):
                yield {**sample, "index": sample["index"] % 10}

    with pytest.raises(DataError, match=r"the samples ended at number 20: .* repeat the data"):
        train(toy.job(source=Short()), toy.config())
    with pytest.raises(DataError, match="sample number 10 of the run carries index 0"):
        train(toy.job(source=Shuffled()), toy.config())


def test_an_input_error_in_a_worker_is_the_sentence_it_was(toy):
    """Without the traceback that torch wraps around it."""

    class Bad(toy.TwoTerms):
        def prepare(self, batch, rng):
            raise DataError("line 7 is no JSON: mend it")

    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            train(toy.job(objective=Bad()), toy.config(num_workers=workers))
        assert str(caught.value) == "line 7 is no JSON: mend it"


def test_metrics_that_are_no_numbers_are_null(tmp_path):
    metrics = MetricsFile(tmp_path, step=0)
    metrics.write({"step": 1, "evaluation": {"loss": math.nan, "other": 1.5}})
    metrics.close()
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {"step": 1, "evaluation": {"loss": None, "other": 1.5}}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_metrics_on_a_full_disk_are_one_sentence(tmp_path):
    metrics = MetricsFile(tmp_path, step=0)
    metrics._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(
        CheckpointError, match=r"metrics.jsonl' cannot be written \(No space left on device\): make room"
    ):
        metrics.write({"step": 1})
    metrics.close()


@pytest.mark.parametrize(("name", "settings"), [("final", {}), ("best", {"eval_every": 2, "best_by": "held_out"})])
def test_folders_that_no_run_has_left_are_not_replaced(toy, tmp_path, name, settings):
    (tmp_path / name).mkdir()
    (tmp_path / name / "only.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(ConfigError, match=f"{name}' was left by no run .* choose another checkpoint_dir, or move it"):
        train(toy.job(evaluate=lambda: {"held_out": 0.0}), toy.config(tmp_path, **settings))
    assert (tmp_path / name / "only.jpg").read_bytes() == b"irreplaceable"


def test_a_run_of_which_checkpoints_and_model_alone_were_copied_goes_on(toy, tmp_path):
    train(toy.job(), toy.config(tmp_path, steps=4))
    (tmp_path / "metrics.jsonl").unlink()
    assert train(toy.job(), toy.config(tmp_path, steps=6)).resumed_from == 4


def test_settings_and_job_that_do_not_fit(toy, tmp_path):
    with pytest.raises(ConfigError, match="eval_every is 2 and the job has nothing to evaluate"):
        train(toy.job(), toy.config(eval_every=2))
    with pytest.raises(ConfigError, match="device is 'gpu' and must be auto, cpu, cuda or cuda:N"):
        train(toy.job(), toy.config(device="gpu"))
    with pytest.raises(ResumeError, match="checkpoint_dir is not set and resume is 'must'"):
        train(toy.job(), toy.config(), resume="must")
    with pytest.raises(ResumeError, match="holds no checkpoint and resume is 'must'"):
        train(toy.job(), toy.config(tmp_path), resume="must")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a CUDA device that is not there")
def test_absent_cuda_is_one_sentence(toy):
    with pytest.raises(ConfigError, match="device is 'cuda' and this machine has 0 CUDA devices"):
        train(toy.job(), toy.config(device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_cuda_resumed_equals_uninterrupted(toy, tmp_path, precision):
    settings = {"device": "cuda", "precision": precision, "ema": 0.9, "checkpoint_every_steps": 5}
    whole = train(toy.job(model=toy.model(dropout=0.2)), toy.config(tmp_path / "a", **settings))
    train(toy.job(model=toy.model(dropout=0.2)), toy.config(tmp_path / "b", **settings | {"steps": 5}))
    rest = train(toy.job(model=toy.model(dropout=0.2)), toy.config(tmp_path / "b", **settings))
    assert rest.losses == whole.losses[5:]
    assert whole.losses == pytest.approx(train(toy.job(model=toy.model(dropout=0.2)), toy.config()).losses, rel=0.3)
