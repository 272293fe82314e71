"""The losses against plain recomputation, and against batching."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.config import from_dict
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, causal, document, noise_aware_causal
from dlm_text.jacobi_forcing.config import JacobiForcingConfig
from dlm_text.jacobi_forcing.objective import JacobiForcingObjective
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory

RNG = SampleRng(seed=3)
STOP, PAD = 3, 0
REDUCTIONS = ("token_mean", "token_mean_over_blocks", "block_sum_mean")


def objective(stop_ids=frozenset({STOP}), **options) -> JacobiForcingObjective:
    options = {"schedule": {"window": 4}, "block_size": 4, **options}
    return JacobiForcingObjective(from_dict(JacobiForcingConfig, options), stop_ids=stop_ids, pad_id=PAD)


def samples(make_trajectory, *sizes: tuple[int, int]) -> list[dict]:
    return [
        {"index": i, "trajectory": make_trajectory(i, prompt=p, blocks=t)} for i, (p, t) in enumerate(sizes or [(5, 3)])
    ]


def means(model, obj, *batches) -> dict[str, torch.Tensor]:
    """The terms of one optimiser step over the batches, each sum over its global weight."""
    prepared = [obj.prepare(list(batch), RNG) for batch in batches]
    found = [obj.sums({"model": model}, one) for one in prepared]
    return {name: sum(one[name] for one in found) / sum(one.weights[name] for one in prepared) for name in found[0]}


def plain_logits(model, ids: torch.Tensor) -> torch.Tensor:
    """A causal forward with ordinary positions, [L, V]."""
    backbone = HFBackbone(model)
    positions = torch.arange(len(ids))
    mask = Mask.self_attention(causal(), Tokens(position=positions))
    return backbone.head(backbone.hidden(ids[None], positions=positions[None], mask=mask))[0]


def packed_logits(model, obj, sample) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the packed forward [L, V] and the ids [L]."""
    tensors = obj.prepare([sample], RNG).tensors
    backbone = HFBackbone(model)
    tokens = Tokens(**{name: tensors[name] for name in ("stream", "block", "position", "document")})
    mask = Mask.self_attention(noise_aware_causal(obj.config.mask_window) & document(), tokens)
    hidden = backbone.hidden(tensors["ids"][None], positions=tensors["position"][None], mask=mask)
    return backbone.head(hidden)[0], tensors["ids"]


@pytest.mark.parametrize("mask", ["noisy_context", "clean_context", "noisy_in_window"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_both_copies_are_plain_forwards(build_tiny, make_trajectory, family: str, mask: str) -> None:
    """Oracles 9 and 10: the clean copy is the AR forward, and noisy block j the forward over what it sees."""
    model = build_tiny(family)
    obj = objective(mask=mask, schedule={"window": 2})
    prompt, blocks, size = 5, 5, 4
    (sample,) = samples(make_trajectory, (prompt, blocks))
    with torch.no_grad():
        logits, ids = packed_logits(model, obj, sample)
        noisy = ids[prompt : prompt + blocks * size].view(blocks, size)
        clean = ids[prompt + blocks * size :].view(blocks, size)
        assert not torch.equal(noisy, clean)
        text = torch.cat([ids[:prompt], clean.flatten()])
        expected = plain_logits(model, text)
        torch.testing.assert_close(logits[:prompt], expected[:prompt], rtol=0, atol=1e-5)
        torch.testing.assert_close(logits[prompt + blocks * size :], expected[prompt:], rtol=0, atol=1e-5)
        for j in range(blocks):
            group = j // 2 * 2
            before = {
                "noisy_context": noisy[:j],
                "clean_context": clean[:j],
                "noisy_in_window": torch.cat([clean[:group], noisy[group:j]]),
            }[mask]
            alone = plain_logits(model, torch.cat([ids[:prompt], before.flatten(), noisy[j]]))
            start = prompt + j * size
            torch.testing.assert_close(logits[start : start + size], alone[-size:], rtol=0, atol=1e-5)


def recomputed(model, obj, sample) -> tuple[float, int, float, float]:
    """(sum of H over the kept tokens, their number, sum of the teachers' entropies, number of blocks), token by token."""
    tau = obj.config.temperature
    logits, ids = packed_logits(model, obj, sample)
    trajectory = sample["trajectory"]
    prompt, blocks = len(trajectory.prompt), len(trajectory.clean)
    size, total = obj.config.block_size, blocks * obj.config.block_size
    cross = entropy = kept = 0
    for j in range(blocks):
        noisy = ids[prompt + j * size : prompt + (j + 1) * size].tolist()
        wrong = [o for o in range(size) if noisy[o] != int(trajectory.clean[j, o])]
        for o in range(wrong[0], size) if wrong else ():
            student = logits[prompt + j * size + o] / tau
            teacher = (logits[prompt + total + j * size + o] / tau).softmax(0)
            cross += F.cross_entropy(student, teacher)
            entropy += -(teacher * teacher.log()).sum()
            kept += 1
    return float(cross), kept, float(entropy), blocks


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_consistency_loss_is_its_formula(model, make_trajectory, reduction: str, temperature: float) -> None:
    batch = samples(make_trajectory, (5, 3), (2, 4))
    obj = objective(pc_reduction=reduction, temperature=temperature)
    with torch.no_grad():
        found = means(model, obj, batch)
        parts = [recomputed(model, obj, sample) for sample in batch]
    scale = temperature**2
    wanted = {
        "token_mean": lambda which: scale * sum(p[which] for p in parts) / sum(p[1] for p in parts),
        "token_mean_over_blocks": lambda which: scale * sum(p[which] / p[1] / p[3] for p in parts) / len(parts),
        "block_sum_mean": lambda which: scale * sum(p[which] / p[3] for p in parts) / len(parts),
    }[reduction]
    assert float(found["consistency"]) == pytest.approx(wanted(0), abs=1e-6)
    assert float(found["divergence"]) == pytest.approx(wanted(0) - wanted(2), abs=1e-6)


def test_no_noise_no_consistency_loss(model, make_trajectory) -> None:
    """Oracle 11: exactly zero, and no gradient."""
    (sample,) = samples(make_trajectory)
    trajectory = sample["trajectory"]
    still = Trajectory(trajectory.prompt, trajectory.clean, tuple(trajectory.clean[:, None].unbind(0)))
    obj = objective()
    prepared = obj.prepare([{"index": 0, "trajectory": still}], RNG)
    found = obj.sums({"model": model}, prepared)["consistency"]
    found.backward()
    assert found.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert prepared.weights["consistency"] == 1


def test_gradient_of_the_consistency_loss_has_no_part_of_the_teacher(model, make_trajectory) -> None:
    """Oracle 12: against finite differences of the student alone, the teacher's probabilities held fixed."""
    (sample,) = samples(make_trajectory)
    obj = objective()
    prepared = obj.prepare([sample], RNG)
    obj.sums({"model": model}, prepared)["consistency"].backward()
    with torch.no_grad():
        teacher = packed_logits(model, obj, sample)[0][prepared.tensors["teacher"]].softmax(-1)

    def held() -> float:
        student = packed_logits(model, obj, sample)[0][prepared.tensors["student"]]
        return float((F.cross_entropy(student, teacher, reduction="none") * prepared.tensors["factors"]).sum())

    weight = model.model.layers[0].self_attn.v_proj.weight
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    # The norms of these models compute in float32 whatever the weights' dtype: a smaller step would drown in its rounding.
    step = 2e-3
    with torch.no_grad():
        weight.add_(step * direction)
        above = held()
        weight.sub_(2 * step * direction)
        below = held()
        weight.add_(step * direction)
    slope = (above - below) / (2 * step)
    assert float((weight.grad * direction).sum()) == pytest.approx(slope, rel=2e-3)
    assert abs(slope) > 1e-4


def test_autoregressive_loss_is_that_of_transformers(model, make_trajectory) -> None:
    """Oracle 13: the cross-entropy that Hugging Face computes over prompt and clean blocks."""
    batch = samples(make_trajectory)
    trajectory = batch[0]["trajectory"]
    text = torch.cat([trajectory.prompt, trajectory.clean.flatten()])[None]
    with torch.no_grad():
        found = means(model, objective(), batch)["autoregressive"]
        model.set_attn_implementation("eager")
        wanted = model(input_ids=text, labels=text).loss
    assert float(found) == pytest.approx(float(wanted), abs=1e-6)


@pytest.mark.parametrize("guess", [17, 19])
def test_nothing_behind_the_end_matters(model, make_trajectory, guess: int) -> None:
    """Oracle 15: any change behind the first end token, in the text and in all states, changes neither loss.

    The third block asks for a ratio of 2/5. Its second state is right up to the end token; if its last token counted, a right
    guess there (17) would make its ratio 0 instead of 1/4, and the first state, of 3/4, would be nearer.
    """
    (sample,) = samples(make_trajectory, (5, 4))
    trajectory = sample["trajectory"]
    trajectory.clean[2, 2] = STOP
    states = [*trajectory.states]
    states[2] = states[2][[1, 3]].clone()
    states[2][1, 2] = STOP
    obj = objective(schedule={"window": 6})

    def losses(clean: torch.Tensor) -> dict[str, float]:
        changed = Trajectory(trajectory.prompt, clean, tuple(state.clone() for state in states))
        return {name: term.item() for name, term in means(model, obj, [{"index": 0, "trajectory": changed}]).items()}

    with torch.no_grad():
        before = losses(trajectory.clean)
        changed = trajectory.clean.clone()
        changed[2, 3], changed[3] = 17, 18
        states[2][:, 3] = guess
        states[3] = states[3] * 0 + STOP
        assert losses(changed) == before
        states[2][:, 1] = 20
        assert losses(changed) != before, "before the end, guesses matter"


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_any_split_of_a_step_gives_the_same_loss_and_gradient(model, make_trajectory, reduction: str) -> None:
    batch = samples(make_trajectory, (5, 3), (2, 1), (7, 4), (1, 2))
    batch[2]["trajectory"].clean[1, 2] = STOP
    obj = objective(pc_reduction=reduction, schedule={"window": 3, "order": "random"})

    def step(*batches):
        model.zero_grad()
        terms = means(model, obj, *batches)
        loss = sum(obj.coefficients[name] * terms[name] for name in obj.coefficients)
        loss.backward()
        return loss.item(), [p.grad.clone() for p in model.parameters()]

    loss, gradients = step(batch)
    for split in ([batch[:1], batch[1:]], [batch[2:], batch[:2]], [[one] for one in batch]):
        again, others = step(*split)
        assert again == pytest.approx(loss, abs=1e-10)
        for one, other in zip(gradients, others, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_chunks_of_logits_change_nothing_and_bound_what_is_held(model, make_trajectory, monkeypatch) -> None:
    batch = samples(make_trajectory, (5, 3), (2, 4))
    most = 0
    head = HFBackbone.head

    def counted(self, hidden):
        nonlocal most
        logits = head(self, hidden)
        most = max(most, logits.numel())
        return logits

    monkeypatch.setattr(HFBackbone, "head", counted)

    def step(max_logits: int | None):
        nonlocal most
        most = 0
        model.zero_grad()
        terms = means(model, objective(max_logits=max_logits), batch)
        (terms["consistency"] + terms["autoregressive"]).backward()
        return {name: term.item() for name, term in terms.items()}, [p.grad.clone() for p in model.parameters()]

    whole, gradients = step(None)
    small, others = step(3 * 2 * 40)
    assert most <= 6 * 40
    for name in whole:
        assert small[name] == pytest.approx(whole[name], abs=1e-6)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_long_samples_lose_their_last_blocks(make_trajectory) -> None:
    batch = samples(make_trajectory, (5, 6), (30, 1))
    prepared = objective(max_length=37).prepare(batch, RNG)
    assert len(prepared.tensors["ids"]) == 5 + 2 * 4 * 4
    assert prepared.weights["consistency"] == 1, "a prompt that leaves no room for a block is left out"


def test_noise_belongs_to_the_sample(make_trajectory) -> None:
    obj = objective(schedule={"window": 4, "order": "random"})
    batch = samples(make_trajectory, (5, 9), (5, 9))
    together = obj.prepare(batch, RNG).tensors["ids"]
    alone = torch.cat([obj.prepare([one], RNG).tensors["ids"] for one in batch])
    assert torch.equal(together, alone)
    assert not torch.equal(together, obj.prepare(batch, SampleRng(seed=4)).tensors["ids"])


def test_the_reference_policy_needs_a_pad_token_of_its_own() -> None:
    with pytest.raises(ConfigError, match="the pad id 0 also ends a text"):
        objective(stop_ids=frozenset({PAD}), eos_policy="reference")
    objective(stop_ids=frozenset({PAD}))
