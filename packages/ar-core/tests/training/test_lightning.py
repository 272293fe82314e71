import pytest
import torch
from ar_core.errors import ConfigError, NumericsError
from ar_core.training import train

pytest.importorskip("lightning")

from ar_core.training.lightning_task import LightningTask, fit


@pytest.fixture(scope="module")
def plain(toy):
    net = toy.model(dropout=0.2)
    result = train(toy.job(model=net), toy.config(steps=20, ema=0.9, micro_batch_size=3))
    return result, net.state_dict()


def test_the_same_losses_and_weights_as_the_loop(toy, plain):
    net = toy.model(dropout=0.2)
    result = fit(toy.job(model=net), toy.config(steps=20, ema=0.9, micro_batch_size=3))
    assert result.losses == pytest.approx(plain[0].losses, abs=1e-6)
    assert result == plain[0]
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in plain[1].items())


def test_either_driver_continues_a_run_of_the_other_exactly(toy, tmp_path, plain):
    losses = []
    for steps, driver in ((5, fit), (11, train), (13, fit), (20, fit)):
        net = toy.model(dropout=0.2)
        result = driver(toy.job(model=net), toy.config(tmp_path, steps=steps, ema=0.9, micro_batch_size=3))
        losses += result.losses
    assert losses == plain[0].losses
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in plain[1].items())
    assert (tmp_path / "final" / "model.safetensors").exists()


def test_players_each_have_an_optimiser(toy, tmp_path):
    class Rivals(toy.TwoTerms):
        def players(self):
            return (
                toy.Player("a", models=("a",), terms=("hidden",)),
                toy.Player("b", models=("b",), terms=("mean",)),
            )

        def sums(self, models, prepared):
            return super().sums({"model": models["a"]}, prepared) | {
                "mean": super().sums({"model": models["b"]}, prepared)["mean"]
            }

    def job():
        return toy.job(objective=Rivals(), models={"a": toy.model(1), "b": toy.model(2)})

    assert fit(job(), toy.config()).losses == train(job(), toy.config()).losses


def test_a_failing_step_raises_its_own_error(toy):
    class Failing(toy.TwoTerms):
        def sums(self, models, prepared):
            return {name: value * float("nan") for name, value in super().sums(models, prepared).items()}

    with pytest.raises(NumericsError, match="at step 1"):
        fit(toy.job(objective=Failing()), toy.config())


def test_what_the_trainer_must_not_do_is_refused(toy, tmp_path):
    with pytest.raises(ConfigError, match=r"set train\.precision to bf16 instead"):
        fit(toy.job(), toy.config(), precision="bf16-mixed")
    with pytest.raises(ConfigError, match="give the Trainer enable_checkpointing=False"):
        fit(toy.job(), toy.config(), enable_checkpointing=True, default_root_dir=tmp_path)


def test_task_is_a_lightning_module_over_the_jobs_models(toy):
    net = toy.model()
    task = LightningTask(toy.job(model=net), toy.config())
    assert task.module.models["model"] is net
    assert not task.automatic_optimization


def test_sharding_is_the_loops_alone(toy):
    with pytest.raises(ConfigError, match="Lightning drives the run: start it with `ar-train run`"):
        fit(toy.job(), toy.config(sharding="fsdp2"))
