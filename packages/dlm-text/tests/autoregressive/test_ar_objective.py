"""The causal objective against the loss written out, document by document."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import SampleRng
from ar_core.data import IGNORED, Sample
from ar_core.errors import ConfigError
from ar_core.hf import LlamaScratch, ModelConfig, build_model
from ar_core.masks import Mask, Tokens, causal
from ar_core.training import Objective
from dlm_text.autoregressive.config import AutoregressiveConfig
from dlm_text.autoregressive.objective import TERM, AutoregressiveObjective
from torch import Tensor, nn

VOCAB = 37


@pytest.fixture(scope="module")
def model() -> nn.Module:
    scratch = LlamaScratch(
        hidden=24, layers=2, heads=3, kv_heads=1, intermediate=40, vocab=VOCAB, context=64, init_std=0.3
    )
    return build_model(ModelConfig(scratch=scratch), seed=1).model.double().eval()


def _sample(index: int, *lengths: int, prompt: int = 2) -> Sample:
    """Documents of the given lengths, the first `prompt` tokens of each unsupervised."""
    generator = torch.Generator().manual_seed(index)
    ids = torch.randint(VOCAB, (sum(lengths),), generator=generator)
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    labels = ids.clone()
    start = 0
    for length in lengths:
        labels[start : start + min(prompt, length)] = IGNORED
        start += length
    return {"index": index, "ids": ids, "labels": labels, "document": document}


def _written_out(model: nn.Module, ids: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Summed loss of one sequence by the unmodified forward pass of transformers, and its number of targets."""
    logits = model(input_ids=ids[None]).logits[0]
    loss = F.cross_entropy(logits[:-1], labels[1:], ignore_index=IGNORED, reduction="sum")
    return loss, int((labels[1:] != IGNORED).sum())


def _loss(model: nn.Module, batch: list[Sample], **settings) -> tuple[Tensor, float]:
    objective = AutoregressiveObjective(AutoregressiveConfig(**settings))
    prepared = objective.prepare(batch, SampleRng(0))
    return objective.sums({"model": model}, prepared)[TERM], prepared.weights[TERM]


BATCH = (_sample(0, 7, 1, 12, 3), _sample(1, 5), _sample(2, 1, 2, 30))


def test_is_an_objective() -> None:
    objective = AutoregressiveObjective(AutoregressiveConfig())
    assert isinstance(objective, Objective)
    assert set(objective.coefficients) == {TERM}
    assert [player.name for player in objective.players()] == ["main"]


def test_documents_of_a_packed_row_are_as_if_alone(model) -> None:
    expected, count = torch.zeros((), dtype=torch.float64), 0
    for sample in BATCH:
        for number in range(int(sample["document"].max()) + 1):
            inside = sample["document"] == number
            if inside.sum() > 1:
                loss, targets = _written_out(model, sample["ids"][inside], sample["labels"][inside])
                expected, count = expected + loss, count + targets
    loss, weight = _loss(model, list(BATCH))
    assert weight == count
    torch.testing.assert_close(loss, expected)


def test_without_documents_a_row_is_one_sequence(model) -> None:
    expected = [_written_out(model, sample["ids"], sample["labels"]) for sample in BATCH]
    loss, weight = _loss(model, list(BATCH), document_mask=False, document_positions=False)
    assert weight == sum(count for _, count in expected)
    torch.testing.assert_close(loss, torch.stack([loss for loss, _ in expected]).sum())


def test_restarted_positions_without_document_mask_stay_causal(model) -> None:
    """Positions 0, 1, ..., 0, 1, ...: what is visible follows the order of the row, not the position."""
    sample = _sample(3, 6, 7)
    ids = sample["ids"][None]
    positions = torch.cat([torch.arange(6), torch.arange(7)])[None]
    mask = Mask.self_attention(causal(), Tokens(position=torch.arange(13)))
    logits = model(input_ids=ids, position_ids=positions, attention_mask=mask).logits[0]
    expected = F.cross_entropy(logits[:-1], sample["labels"][1:], ignore_index=IGNORED, reduction="sum")
    loss, _ = _loss(model, [sample], document_mask=False)
    torch.testing.assert_close(loss, expected)


def test_batch_mates_do_not_matter(model) -> None:
    whole, weight = _loss(model, list(BATCH))
    parts = [_loss(model, [sample]) for sample in BATCH]
    torch.testing.assert_close(whole, torch.stack([loss for loss, _ in parts]).sum())
    assert weight == sum(weight for _, weight in parts)


def test_gradients_of_one_and_many_logit_chunks(model) -> None:
    gradients = []
    for max_logits in (None, 3 * VOCAB):
        model.zero_grad()
        loss, _ = _loss(model, list(BATCH), max_logits=max_logits)
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])


def test_samples_are_left_alone_and_nothing_is_random() -> None:
    before = {key: value.clone() for key, value in BATCH[0].items() if isinstance(value, Tensor)}
    objective = AutoregressiveObjective(AutoregressiveConfig())
    first, second = (objective.prepare([BATCH[0]], SampleRng(seed)) for seed in (0, 1))
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name])
    for key, value in before.items():
        assert torch.equal(BATCH[0][key], value)


@pytest.mark.parametrize("document_mask", [True, False])
def test_first_tokens_are_no_targets(document_mask) -> None:
    sample = _sample(0, 4, 4, prompt=0)
    objective = AutoregressiveObjective(AutoregressiveConfig(document_mask=document_mask))
    assert objective.prepare([sample], SampleRng(0)).weights[TERM] == (6 if document_mask else 7)


def test_nothing_supervised(model) -> None:
    sample = _sample(0, 5, prompt=5)
    loss, weight = _loss(model, [sample])
    assert loss == 0
    assert weight == 0
    loss.backward()


def test_a_row_of_one_token(model) -> None:
    assert _loss(model, [_sample(0, 1, prompt=0)])[1] == 0


def test_config() -> None:
    with pytest.raises(ConfigError, match="max_logits is 0"):
        AutoregressiveConfig(max_logits=0)
