"""Greedy picks with and without logits in between."""

import pytest
import torch
from ar_core.decoding import pick
from ar_core.errors import ConfigError
from ar_core.linear_head import LinearHead
from ar_core.sampling import Sampler


class Headed:
    def __init__(self, weight, **settings):
        self.loss_head = LinearHead(weight, **settings)
        self.heads = 0

    def head(self, hidden):
        self.heads += 1
        return self.loss_head(hidden)


@pytest.fixture
def kernels(monkeypatch):
    """Picks as on a device that has the kernels; they compute in torch here."""
    import sys

    monkeypatch.setattr(sys.modules["ar_core.decoding.pick"], "_fused", lambda hidden: True)
    monkeypatch.setattr(sys.modules["ar_core.sampling.sampler"], "_one_pass", lambda logits: True)


@pytest.mark.parametrize(
    "settings", [{}, {"scale": 0.25}, {"scale": 2.0, "cap": 3.0}], ids=["plain", "scaled", "capped"]
)
@pytest.mark.parametrize("banned", [(), (3, 40)], ids=["all", "banned"])
def test_the_kernel_picks_what_the_logits_say(kernels, settings, banned):
    generator = torch.Generator().manual_seed(2)
    weight, hidden = torch.randn(41, 8, generator=generator), torch.randn(23, 8, generator=generator)
    backbone, sampler = Headed(weight, **settings), Sampler(banned_ids=banned)
    logits = backbone.loss_head(hidden)
    if banned:
        logits[:, list(banned)] = -torch.inf
    tokens, confidences = pick(backbone, hidden, sampler)
    assert backbone.heads == 0
    assert tokens.tolist() == logits.argmax(1).tolist()
    assert torch.allclose(confidences, logits.softmax(1).amax(1), atol=1e-6)
    assert pick(backbone, hidden, sampler, with_confidences=False)[1] is None
    for found in (sampler.pick(logits), (sampler.choose(logits), confidences)):
        assert torch.equal(found[0], tokens)
        assert torch.allclose(found[1], confidences, atol=1e-6)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("fused", [False, True])
def test_logits_that_are_no_numbers_are_marked(request, wrong, fused):
    if fused:
        request.getfixturevalue("kernels")
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    weight[:, 0] = wrong
    hidden = torch.ones(2, 4)
    hidden[1] = -1
    tokens, _ = pick(Headed(weight), hidden, Sampler())
    assert tokens.tolist() == [-1, -1]


def test_draws_need_logits(kernels):
    weight = torch.eye(5, 3)
    backbone = Headed(weight)
    generators = [torch.Generator().manual_seed(0)] * 2
    tokens, confidences = pick(backbone, torch.zeros(2, 3), Sampler(temperature=1.0), generators)
    assert backbone.heads == 1
    assert tokens.shape == confidences.shape == (2,)
    assert torch.allclose(confidences, torch.full((2,), 0.2))


def test_banned_ids_that_the_model_does_not_have(kernels):
    with pytest.raises(ConfigError, match="The ids 7 are not to be generated, and the model has ids 0 to 4"):
        pick(Headed(torch.eye(5, 3)), torch.zeros(1, 3), Sampler(banned_ids=(7,)))
