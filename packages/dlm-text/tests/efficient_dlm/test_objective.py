"""The objective against plain recomputation, against autoregressive training, and against batching.

Numbers in docstrings are those of the oracles in the method's specification.
"""

import pytest
import torch
import torch.nn.functional as F
from ar_core.corruption import FixedRate, SampleRng
from ar_core.data import Sample
from ar_core.errors import DataError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_causal, block_diffusion, causal
from dlm_text.autoregressive.config import AutoregressiveConfig
from dlm_text.autoregressive.objective import AutoregressiveObjective
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.objective import EfficientDLMObjective
from torch import Tensor, nn

RNG = SampleRng(seed=5)
HYBRID = {"clean": "token", "ar_weight": 1.0, "diffusion_weight": 0.3}
AR = {"attention_pattern": "autoregressive", "ar_weight": 1.0, "diffusion_weight": 0.0}
PATTERNS = [
    {},
    {"token_shift": True},
    {"clean": "token"},
    HYBRID,
    {"attention_pattern": "block_noisy"},
    {"attention_pattern": "bidirectional"},
    AR,
]


def objective(mask_id: int, **options) -> EfficientDLMObjective:
    return EfficientDLMObjective(EfficientDLMConfig(**{"diffusion_block_size": 4, **options}), mask_id)


def step(model: nn.Module, obj, *batches) -> tuple[Tensor, list[Tensor]]:
    """Loss of one optimiser step over the batches, each term divided by its global weight, and its gradients."""
    model.zero_grad()
    prepared = [obj.prepare(list(batch), RNG) for batch in batches]
    sums = [obj.sums({"model": model}, p) for p in prepared]
    loss = sum(
        coefficient * sum(s[term] for s in sums) / sum(p.weights[term] for p in prepared)
        for term, coefficient in obj.coefficients.items()
    )
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters()]


def assert_same_step(first, second, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=tolerance)
    for got, wanted in zip(first[1], second[1], strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


def drawn(obj: EfficientDLMObjective, sample: Sample) -> tuple[Tensor, Tensor]:
    """What the objective hides of a sample and at which level, drawn again."""
    return obj._hidden(sample, RNG)


def hybrid_logits(model: nn.Module, prepared) -> Tensor:
    """Logits [B, 2L, V] of a laid-out batch whose clean half is causal over tokens."""
    backbone, tensors = HFBackbone(model), prepared.tensors
    tokens = Tokens(**{name: tensors[name] for name in ("stream", "block", "position")})
    mask = Mask.self_attention(block_diffusion(clean="token"), tokens)
    return backbone.head(
        backbone.hidden(tensors["ids"], positions=tokens["position"].expand_as(tensors["ids"]), mask=mask)
    )


@pytest.mark.parametrize("normalisation", ["masked", "supervised", "tokens"])
def test_loss_is_the_weighted_sum_over_masked_tokens(qwen3, make_sample, mask_id: int, normalisation: str) -> None:
    """Oracle 6: sum of CE / t over the masked tokens of the noised half, over their number; [noised | clean] as published."""
    batch = [make_sample(i, 20) for i in range(3)]
    obj = objective(mask_id, normalisation=normalisation, document_mask=False)
    prepared = obj.prepare(batch, RNG)
    ids = prepared.tensors["ids"]
    assert ids.shape == (3, 40)
    backbone, index = HFBackbone(qwen3), torch.arange(40) % 20
    mask = Mask.self_attention(
        block_diffusion(), Tokens(stream=(torch.arange(40) < 20).long(), block=index // 4, position=index)
    )
    hidden = backbone.hidden(ids, positions=index.expand(3, -1), mask=mask)
    logits = backbone.head(hidden)
    logits.retain_grad()
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row, sample in enumerate(batch):
        masked, level = drawn(obj, sample)
        assert torch.equal(ids[row, :20] == mask_id, masked)
        assert torch.equal(ids[row, 20:], sample["ids"])
        for i in masked.nonzero().flatten().tolist():
            total = total + F.cross_entropy(logits[row, i], sample["ids"][i]) / level[i].double()
            count += 1
    denominators = {"masked": count, "supervised": 3 * 18, "tokens": 3 * 20}
    expected = total / denominators[normalisation]
    expected.backward()
    assert not logits.grad[:, 20:].any()
    reference = expected.detach(), [p.grad.clone() for p in qwen3.parameters()]
    assert count > 5
    assert_same_step(step(qwen3, obj, batch), reference)


@pytest.mark.parametrize("options", PATTERNS, ids=str)
def test_unsupervised_tokens_are_never_hidden(make_sample, mask_id: int, options: dict) -> None:
    """Oracle 6."""
    for index in range(20):
        sample = make_sample(index, 21, 17, prompt=5)
        tensors = objective(mask_id, **options).prepare([sample], RNG).tensors
        hidden = tensors["ids"][0, :38] == mask_id
        assert not (hidden & (sample["labels"] < 0)).any()
        assert torch.equal(tensors["ids"][0, :38][~hidden], sample["ids"][~hidden])


def test_counts_of_each_block_are_exact_where_all_is_supervised(make_sample, mask_id: int) -> None:
    """Oracle 1, through the objective: blocks of each document, its tail included."""
    sample = make_sample(3, 9, 4, 14, prompt=0)
    obj = objective(mask_id)
    tensors = obj.prepare([sample], RNG).tensors
    hidden, blocks = tensors["ids"][0, :27] == mask_id, tensors["block"].reshape(-1)[:27]
    _, level = drawn(obj, sample)
    assert blocks.unique().numel() == 3 + 1 + 4
    for block in blocks.unique():
        inside = blocks == block
        assert level[inside].unique().numel() == 1
        assert hidden[inside].sum() == round(float(level[inside][0]) * int(inside.sum()))


def test_full_noise_is_the_plain_mean(qwen3, make_sample, mask_id: int) -> None:
    """Oracle 5: eps near 1 masks everything at level 1; the loss is the mean cross-entropy."""
    batch = [make_sample(i, 16, prompt=0) for i in range(2)]
    obj = objective(mask_id, min_noise=1 - 1e-12)
    prepared = obj.prepare(batch, RNG)
    assert (prepared.tensors["ids"][:, :16] == mask_id).all()
    torch.testing.assert_close(prepared.tensors["masked.weights"], torch.ones(32), rtol=0, atol=1e-6)
    masked, _ = step(qwen3, EfficientDLMObjective(obj.config, mask_id, sampler=FixedRate(1.0)), batch)
    weighted, _ = step(qwen3, obj, batch)
    torch.testing.assert_close(weighted, masked, rtol=0, atol=1e-6)
    backbone = HFBackbone(qwen3)
    tensors = prepared.tensors
    tokens = Tokens(**{name: tensors[name] for name in ("stream", "block", "position")})
    mask = Mask.self_attention(block_diffusion(), tokens)
    logits = backbone.head(
        backbone.hidden(tensors["ids"], positions=tokens["position"].expand_as(tensors["ids"]), mask=mask)
    )
    expected = F.cross_entropy(logits[:, :16].flatten(0, 1), torch.cat([s["ids"] for s in batch]))
    torch.testing.assert_close(weighted, expected, rtol=0, atol=1e-6)


def test_clean_half_of_the_hybrid_is_the_autoregressive_forward(qwen3, make_sample, mask_id: int) -> None:
    """Oracle 8: its logits are those of the same weights under a causal mask, whatever is hidden."""
    sample = make_sample(0, 18, prompt=0)
    obj = objective(mask_id, **HYBRID, document_mask=False)
    ids, index = sample["ids"][None], torch.arange(18)
    backbone = HFBackbone(qwen3)
    plain = backbone.head(
        backbone.hidden(ids, positions=index[None], mask=Mask.self_attention(causal(), Tokens(position=index)))
    )
    noisy = []
    for seed in (0, 1):
        prepared = obj.prepare([sample], SampleRng(seed))
        noisy.append(hybrid_logits(qwen3, prepared))
        torch.testing.assert_close(noisy[-1][:, 18:], plain, rtol=0, atol=1e-6)
    assert not torch.equal(noisy[0][:, :18], noisy[1][:, :18])
    torch.testing.assert_close(noisy[0][:, 18:], noisy[1][:, 18:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    "options", [{"clean": "token", "ar_weight": 1.0, "diffusion_weight": 0.0}, AR], ids=["2L", "L"]
)
def test_without_the_diffusion_term_it_is_autoregressive_training(
    model, make_sample, mask_id: int, options: dict, apart: bool
) -> None:
    """Oracle 9: alpha = 0 has the loss and gradient of AR fine-tuning."""
    batch = [make_sample(0, 9, 11), make_sample(1, 20)]
    plain = AutoregressiveObjective(AutoregressiveConfig(document_mask=apart, document_positions=apart))
    hybrid = objective(mask_id, document_mask=apart, **options)
    assert_same_step(step(model, hybrid, batch), step(model, plain, batch))


def test_without_the_autoregressive_term_it_is_diffusion(qwen3, make_sample, mask_id: int) -> None:
    """Oracle 9: the hybrid's loss is the weighted sum of the pure diffusion loss (same mask) and the pure AR loss."""
    batch = [make_sample(0, 9, 11), make_sample(1, 20)]
    diffusion = step(qwen3, objective(mask_id, clean="token"), batch)
    ar = step(qwen3, objective(mask_id, **AR), batch)
    both = step(qwen3, objective(mask_id, **HYBRID), batch)
    summed = 0.3 * diffusion[0] + ar[0], [0.3 * d + a for d, a in zip(diffusion[1], ar[1], strict=True)]
    assert_same_step(both, summed)
    assert objective(mask_id).coefficients == {"masked": 1.0}
    assert step(qwen3, objective(mask_id), batch)[0] != diffusion[0]


def test_one_block_needs_no_clean_half(qwen3, make_sample, mask_id: int) -> None:
    """Oracle 11: L' = L with [noised | clean] is the single bidirectional sequence, given the same draw."""
    batch = [make_sample(i, 16, prompt=0) for i in range(3)]
    pair = objective(mask_id, diffusion_block_size=16)
    single = objective(mask_id, diffusion_block_size=16, attention_pattern="bidirectional")
    assert single.prepare(batch, RNG).tensors["ids"].shape == (3, 16)
    assert pair.prepare(batch, RNG).tensors["ids"].shape == (3, 32)
    assert_same_step(step(qwen3, single, batch), step(qwen3, pair, batch), tolerance=1e-5)


@pytest.mark.parametrize("pattern", ["block_noisy", "bidirectional"])
def test_single_sequence_patterns(qwen3, make_sample, mask_id: int, pattern: str) -> None:
    """Noisy context: block-causal over one noised sequence; bidirectional: no mask at all, one level a sequence."""
    sample = make_sample(0, 18, prompt=0)
    obj = objective(mask_id, attention_pattern=pattern)
    ids = obj.prepare([sample], RNG).tensors["ids"]
    assert ids.shape == (1, 18)
    hidden, level = drawn(obj, sample)
    assert level.unique().numel() == {"block_noisy": 5, "bidirectional": 1}[pattern]
    index, backbone = torch.arange(18), HFBackbone(qwen3)
    block = index // 4 if pattern == "block_noisy" else torch.zeros(18, dtype=torch.int64)
    mask = Mask.self_attention(block_causal(), Tokens(block=block))
    logits = backbone.head(backbone.hidden(ids, positions=index[None], mask=mask))[0]
    losses = F.cross_entropy(logits[hidden], sample["ids"][hidden], reduction="none") / level[hidden].double()
    torch.testing.assert_close(step(qwen3, obj, [sample])[0], losses.mean().detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"clean": "token"}, {"attention_pattern": "block_noisy"}], ids=str)
def test_shifted_loss_is_that_of_a_model_rolled_by_one(qwen3, make_sample, mask_id: int, options: dict) -> None:
    """Oracle 18: `dream` on a model = `llada` on one whose outputs are rolled by one within a stream."""
    sample = make_sample(0, 19, prompt=0)
    length, streams = 19, 1 if options.get("attention_pattern") else 2

    shifted = objective(mask_id, token_shift=True, **options)
    plain = objective(mask_id, **options)
    loss, _ = step(qwen3, shifted, [sample])
    # The first token of the sequence has no predecessor: llada without it.
    prepared = plain.prepare([sample], RNG)
    kept = prepared.tensors["masked.rows"] % length != 0
    for name in ("rows", "labels", "weights"):
        prepared.tensors[f"masked.{name}"] = prepared.tensors[f"masked.{name}"][kept]
    handle = qwen3.model.register_forward_hook(_roll_streams(streams))
    rolled = plain.sums({"model": qwen3}, prepared)["masked"] / kept.sum()
    handle.remove()
    torch.testing.assert_close(loss, rolled.detach(), rtol=0, atol=1e-6)
    assert shifted.prepare([sample], RNG).weights["masked"] == kept.sum()


@pytest.mark.parametrize("normalisation", ["masked", "supervised", "tokens"])
def test_shifted_counts_leave_out_what_has_no_predecessor(make_sample, mask_id: int, normalisation: str) -> None:
    """The first token of each document, under `dream`; the number of all tokens stays."""
    samples = [make_sample(i, 7, 12, prompt=0) for i in range(4)]
    plain, shifted = (
        objective(mask_id, token_shift=shift, normalisation=normalisation).prepare(samples, RNG)
        for shift in (False, True)
    )
    hidden = plain.tensors["ids"][:, :19] == mask_id
    left_out = {"masked": hidden[:, [0, 7]].sum().item(), "supervised": 8, "tokens": 0}
    assert hidden[:, [0, 7]].any()
    assert plain.weights["masked"] - shifted.weights["masked"] == left_out[normalisation]


def _roll_streams(count: int):
    def roll(module, inputs, output):
        parts = output.last_hidden_state.chunk(count, dim=1)
        output.last_hidden_state = torch.cat([part.roll(1, dims=1) for part in parts], dim=1)
        return output

    return roll


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("options", PATTERNS, ids=str)
def test_splitting_a_batch_changes_nothing(qwen3, make_sample, mask_id: int, options: dict, apart: bool) -> None:
    """Oracle 17 and accumulation: the same noise, loss and gradient in one batch, in two, and one by one, ragged rows."""
    batch = [make_sample(i, 5 + i, 9 - i) for i in range(3)] + [make_sample(7, 21)]
    obj = objective(mask_id, document_mask=apart, **options)
    whole = step(qwen3, obj, batch)
    assert_same_step(step(qwen3, obj, batch[:1], batch[1:]), whole)
    assert_same_step(step(qwen3, obj, *[[sample] for sample in batch]), whole)


@pytest.mark.parametrize("apart", [True, False])
def test_noise_belongs_to_the_sample(make_sample, mask_id: int, apart: bool) -> None:
    """Oracle 17: any rank, worker or restarted process prepares sample i alike."""
    samples = [make_sample(i, 30) for i in range(6)]
    first = objective(mask_id, document_mask=apart).prepare(samples, RNG).tensors["ids"]
    again = objective(mask_id, document_mask=apart).prepare(samples[3:], SampleRng(seed=5)).tensors["ids"]
    assert torch.equal(first[3:], again)
    other = objective(mask_id, document_mask=apart).prepare(samples, SampleRng(seed=6)).tensors["ids"]
    assert not torch.equal(first, other)
    hidden = (first[:, :30] == mask_id).tolist()
    assert all(hidden[i] != hidden[j] for i in range(6) for j in range(i))


@pytest.mark.parametrize("options", PATTERNS, ids=str)
def test_documents_of_a_pack_are_trained_as_if_alone(qwen3, make_sample, mask_id: int, options: dict) -> None:
    """Same draw of a packed row, its documents cut apart by hand: the same sums."""
    lengths = (9, 4, 1, 14)
    obj = objective(mask_id, **options)
    packed = obj.prepare([make_sample(3, *lengths)], RNG)
    whole = obj.sums({"model": qwen3}, packed)
    tensors = packed.tensors
    streams = tensors["ids"].shape[1] // 28
    summed = dict.fromkeys(obj.coefficients, 0.0)
    for number in range(len(lengths)):
        own = (tensors["document"].reshape(-1) == number).nonzero().flatten()
        assert len(own) == streams * lengths[number]
        place = {int(row): i for i, row in enumerate(own)}
        names = [name for name in ("stream", "block", "position") if name in tensors]
        alone = {name: tensors[name].reshape(-1)[own] for name in names} | {"ids": tensors["ids"][:, own]}
        for term in obj.coefficients:
            kept = torch.tensor([int(row) in place for row in tensors[f"{term}.rows"]], dtype=torch.bool)
            alone[f"{term}.rows"] = torch.tensor(
                [place[int(row)] for row in tensors[f"{term}.rows"][kept]], dtype=torch.int64
            )
            for name in ("labels", "weights"):
                if f"{term}.{name}" in tensors:
                    alone[f"{term}.{name}"] = tensors[f"{term}.{name}"][kept]
        packed.tensors = alone
        for term, value in obj.sums({"model": qwen3}, packed).items():
            summed[term] += float(value.detach())
    for term, value in whole.items():
        torch.testing.assert_close(float(value.detach()), summed[term], rtol=0, atol=1e-6)


def test_a_batch_without_supervision_has_no_loss(qwen3, make_sample, mask_id: int) -> None:
    obj = objective(mask_id, **HYBRID)
    prepared = obj.prepare([make_sample(0, 12, prompt=12)], RNG)
    assert prepared.weights == {"masked": 0.0, "next_token": 0.0}
    assert all(value.item() == 0 for value in obj.sums({"model": qwen3}, prepared).values())


def test_only_masked_tokens_enter_the_head(qwen3, make_sample, mask_id: int) -> None:
    held: list[int] = []
    handle = qwen3.lm_head.register_forward_hook(lambda module, inputs, logits: held.append(len(logits)))
    obj = objective(mask_id)
    prepared = obj.prepare([make_sample(0, 40)], RNG)
    obj.sums({"model": qwen3}, prepared)
    handle.remove()
    assert held == [prepared.weights["masked"]]


def test_supervision_on_the_mask_token_is_refused(make_sample, mask_id: int) -> None:
    sample = make_sample(7, 10)
    sample["labels"][4] = mask_id
    with pytest.raises(DataError, match=r"sample 7 is supervised on the mask token \(id 49\), which must never be"):
        objective(mask_id).prepare([sample], RNG)
