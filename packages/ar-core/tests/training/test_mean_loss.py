import pytest
from ar_core.corruption import SampleRng
from ar_core.training import mean_loss


def test_terms_and_weighted_metrics_are_means_over_all_samples(toy):
    class Measured(toy.TwoTerms):
        def prepare(self, batch, rng):
            prepared = super().prepare(batch, rng)
            prepared.weights["largest"] = float(len(batch))
            return prepared

        def sums(self, models, prepared):
            found = super().sums(models, prepared)
            largest = prepared.tensors["x"].amax(dim=1).sum()
            return {**found, "largest": largest, "without_weight": largest}

    objective, model = Measured(), toy.model()
    samples = [next(toy.Source().open(number)) for number in range(5)]
    found = mean_loss(objective, {"model": model}, samples, batch_size=2)
    prepared = objective.prepare(samples, SampleRng(0))
    whole = objective.sums({"model": model}, prepared)
    assert found == pytest.approx({name: whole[name].item() / prepared.weights[name] for name in prepared.weights})
    assert set(found) == {"hidden", "mean", "largest"}
