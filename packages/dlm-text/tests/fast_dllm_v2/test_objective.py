"""The objective against plain recomputation, and against batching."""

import pytest
import torch
import torch.nn.functional as F
from ar_core.block_diffusion import block_diffusion_mask, block_grid
from ar_core.corruption import SampleRng, UniformRatePerBlock
from ar_core.errors import DataError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, block_diffusion
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.fast_dllm_v2.objective import FastDLLMv2Objective

RNG = SampleRng(seed=5)
PUBLISHED = {"document_mask": False, "document_positions": False, "views": "stacked"}


def objective(mask_id: int, **options) -> FastDLLMv2Objective:
    return FastDLLMv2Objective(FastDLLMv2Config(**{"diffusion_block_size": 4, "sub_block_size": 2, **options}), mask_id)


def loss_and_gradients(model, obj, *batches) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Loss of one optimiser step over the batches, divided by the global weight, and its gradients."""
    model.zero_grad()
    prepared = [obj.prepare(list(batch), RNG) for batch in batches]
    weight = sum(p.weights["masked"] for p in prepared)
    loss = sum(obj.sums({"model": model}, p)["masked"] for p in prepared) / weight
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters()]


def assert_same_step(model, first, second, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=tolerance)
    for got, wanted in zip(first[1], second[1]):
        torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance)


def noised_views(obj, sample) -> list[torch.Tensor]:
    """The noised ids of both views of one sample, as the model gets them."""
    prepared = obj.prepare([sample], RNG)
    ids = prepared.tensors["ids"]
    length = len(sample["ids"])
    assert torch.equal(ids[-1, -length:], sample["ids"])
    return [ids[0, :length], ids[0, length : 2 * length]] if len(ids) == 1 else [row[:length] for row in ids]


@pytest.mark.parametrize("views", ["shared", "stacked"])
def test_every_supervised_token_is_a_target_in_exactly_one_view(make_sample, mask_id: int, views: str) -> None:
    """Oracle 5: disjoint views that cover the supervised set; position 0 is no target."""
    sample = make_sample(0, 63, prompt=0)
    first, second = (view == mask_id for view in noised_views(objective(mask_id, views=views), sample))
    assert not (first & second).any()
    assert (first | second).all()
    prepared = objective(mask_id, views=views).prepare([sample], RNG)
    assert prepared.weights == {"masked": 62.0}
    assert sorted(prepared.tensors["labels"].tolist()) == sorted(sample["labels"][1:].tolist())


@pytest.mark.parametrize("views", ["shared", "stacked"])
def test_unsupervised_tokens_are_never_noised(make_sample, mask_id: int, views: str) -> None:
    """Oracle 6."""
    sample = make_sample(1, 21, 17, prompt=5)
    unsupervised = sample["labels"] < 0
    for view in noised_views(objective(mask_id, views=views), sample):
        assert torch.equal(view[unsupervised], sample["ids"][unsupervised])


def test_loss_is_the_shifted_mean_of_the_published_code(model, make_sample, mask_id: int) -> None:
    """Oracle 7: the loss recomputed from full logits of the published layout, one step shifted, labels where
    ids are M."""
    batch = [make_sample(i, 20) for i in range(3)]
    before = [{k: v.clone() if torch.is_tensor(v) else v for k, v in sample.items()} for sample in batch]
    obj = objective(mask_id, **PUBLISHED)
    prepared = obj.prepare(batch, RNG)
    ids = prepared.tensors["ids"]
    assert ids.shape == (6, 40)
    backbone = HFBackbone(model)
    stream = torch.arange(40) < 20
    index = torch.arange(40) % 20
    mask = Mask.self_attention(block_diffusion(), Tokens(stream=stream.long(), block=index // 4))
    logits = backbone.head(backbone.hidden(ids, positions=index.expand(6, -1), mask=mask))[:, :20]
    labels = torch.stack([s["labels"] for s in batch]).repeat(2, 1).where(ids[:, :20] == mask_id, -100)
    expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    loss, _ = loss_and_gradients(model, obj, batch)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    for sample, copy in zip(batch, before):
        assert all(torch.equal(sample[k], copy[k]) for k in ("ids", "labels", "document"))


@pytest.mark.parametrize("length", [16, 19], ids=["aligned", "tail"])
@pytest.mark.parametrize("block_first", ["noised", "clean"])
@pytest.mark.parametrize("documents", [True, False])
def test_shared_clean_stream_changes_nothing(
    model, make_sample, mask_id: int, length: int, block_first: str, documents: bool
) -> None:
    """Oracle 17: [view 1 | view 2 | clean] against two rows [view | clean], loss and gradients."""
    batch = [make_sample(0, length), make_sample(1, 7, length - 7)]
    options = {"block_first": block_first, "document_mask": documents, "document_positions": documents}
    shared = loss_and_gradients(model, objective(mask_id, views="shared", **options), batch)
    stacked = loss_and_gradients(model, objective(mask_id, views="stacked", **options), batch)
    assert_same_step(model, shared, stacked)


@pytest.mark.parametrize(
    "options", [{}, {"document_mask": False, "document_positions": False}], ids=["apart", "together"]
)
@pytest.mark.parametrize("block_first", ["noised", "clean"])
def test_splitting_a_batch_changes_nothing(llama, make_sample, mask_id: int, options: dict, block_first: str) -> None:
    """One batch of eight ragged rows, two of four, eight of one: the same corruption, loss and gradients."""
    samples = [make_sample(i, 9 + i, 5 + 2 * i % 7) for i in range(8)]
    obj = objective(mask_id, block_first=block_first, **options)
    whole = loss_and_gradients(llama, obj, samples)
    for size in (4, 1):
        assert_same_step(
            llama, whole, loss_and_gradients(llama, obj, *(samples[i : i + size] for i in range(0, 8, size)))
        )
    assert_same_step(llama, whole, loss_and_gradients(llama, obj, samples[::-1]))


def test_a_document_in_a_pack_is_trained_as_if_alone(model, make_sample, mask_id: int) -> None:
    """Oracle 19: logits of each document of a pack equal its logits alone, lengths off the block grid
    included."""
    lengths = (9, 4, 1, 14)
    obj = objective(mask_id)
    packed = obj.prepare([make_sample(3, *lengths)], RNG)
    backbone = HFBackbone(model)

    def logits(ids, positions, stream, block, document) -> torch.Tensor:
        tokens = Tokens(stream=stream, block=block, document=document)
        return backbone.head(
            backbone.hidden(ids, positions=positions.expand_as(ids), mask=block_diffusion_mask(tokens))
        )

    names = ("ids", "position", "stream", "block", "document")
    tensors = [packed.tensors[name].reshape(-1) for name in names]
    whole = logits(tensors[0][None], *tensors[1:])[0]
    for number in range(len(lengths)):
        own = tensors[4] == number
        length = lengths[number]
        grid = block_grid(length, 4)
        alone = logits(
            tensors[0][own][None],
            grid.positions.repeat(3),
            tensors[2][own],
            grid.blocks.repeat(3),
            torch.zeros(3 * length, dtype=torch.int64),
        )[0]
        torch.testing.assert_close(whole[own], alone, rtol=0, atol=1e-10)


def test_without_document_mask_only_the_index_counts(make_sample, mask_id: int) -> None:
    """Oracle 19, off: the mask and positions of a pack are those of the plain layout."""
    options = {"document_mask": False, "document_positions": False}
    packed = objective(mask_id, **options).prepare([make_sample(3, 8, 4, 8)], RNG).tensors
    single = objective(mask_id, **options).prepare([make_sample(3, 20)], RNG).tensors
    assert "document" not in packed
    for name in ("position", "stream", "block"):
        assert torch.equal(packed[name], single[name])


def test_block_firsts_from_the_clean_stream_are_never_noised(make_sample, mask_id: int) -> None:
    sample = make_sample(2, 30, prompt=0)
    obj = objective(mask_id, block_first="clean")
    for view in noised_views(obj, sample):
        assert torch.equal(view[::4], sample["ids"][::4])
    assert obj.prepare([sample], RNG).weights == {"masked": 29.0}


def test_hidden_block_firsts_are_targets_of_the_clean_stream_once(make_sample, mask_id: int) -> None:
    sample = make_sample(2, 30, prompt=0)
    obj = objective(mask_id, block_first="clean", hide_block_first=True)
    firsts = torch.stack([view[::4] == mask_id for view in noised_views(obj, sample)])
    assert torch.equal(firsts.sum(0), torch.ones(8, dtype=torch.int64))
    assert firsts.any(1).all()
    prepared = obj.prepare([sample], RNG)
    assert prepared.weights == {"masked": 29.0}
    clean = prepared.tensors["labels"][prepared.tensors["rows"] >= 60]
    assert torch.equal(clean, sample["ids"][4::4])


def test_a_single_view_hides_about_half(make_sample, mask_id: int) -> None:
    samples = [make_sample(i, 400, prompt=0) for i in range(20)]
    prepared = objective(mask_id, complementary=False).prepare(samples, RNG)
    assert prepared.tensors["ids"].shape == (20, 800)
    assert abs(prepared.weights["masked"] / (20 * 400) - 0.5) < 0.02


def test_a_batch_without_supervision_has_no_loss_and_no_gradient(llama, make_sample, mask_id: int) -> None:
    sample = make_sample(0, 12, prompt=12)
    prepared = objective(mask_id).prepare([sample], RNG)
    assert prepared.weights == {"masked": 0.0}
    loss = objective(mask_id).sums({"model": llama}, prepared)["masked"]
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in llama.parameters())


def test_chunks_of_the_loss_change_nothing(llama, make_sample, mask_id: int) -> None:
    batch = [make_sample(i, 40) for i in range(2)]
    whole = loss_and_gradients(llama, objective(mask_id), batch)
    assert_same_step(llama, whole, loss_and_gradients(llama, objective(mask_id, max_logits=7 * 50), batch))


def test_gradient_checkpointing_changes_nothing(llama, make_sample, mask_id: int) -> None:
    batch = [make_sample(i, 24) for i in range(2)]
    plain = loss_and_gradients(llama, objective(mask_id), batch)
    llama.gradient_checkpointing_enable()
    assert_same_step(llama, plain, loss_and_gradients(llama.train(), objective(mask_id), batch))


def test_supervision_on_the_mask_token_is_refused(make_sample, mask_id: int) -> None:
    sample = make_sample(7, 10)
    sample["labels"][4] = mask_id
    message = r"sample 7 is supervised on the mask token \(id 49\), which must never be generated: remove it"
    with pytest.raises(DataError, match=message):
        objective(mask_id).prepare([sample], RNG)


@pytest.mark.parametrize("apart", [(True, True), (True, False), (False, True), (False, False)])
def test_noise_is_drawn_on_the_blocks_of_the_layout(make_sample, mask_id: int, apart: tuple[bool, bool]) -> None:
    seen = []

    def sampler(maskable, blocks, generator):
        seen.append((maskable, blocks))
        return maskable

    config = FastDLLMv2Config(
        diffusion_block_size=4,
        sub_block_size=2,
        block_first="clean",
        document_mask=apart[0],
        document_positions=apart[1],
    )
    sample = make_sample(3, 9, 4, 14, prompt=0)
    prepared = FastDLLMv2Objective(config, mask_id, sampler=sampler).prepare([sample], RNG)
    block = prepared.tensors["block"].reshape(-1)[:27]
    ((maskable, blocks),) = seen
    assert torch.equal(blocks, block)
    firsts = torch.ones(27, dtype=torch.bool)
    firsts[1:] = block[1:] != block[:-1]
    assert torch.equal(maskable, ~firsts)


def test_min_noise_reaches_the_sampler(mask_id: int) -> None:
    assert objective(mask_id, min_noise=0.25).sampler == UniformRatePerBlock(0.25)


def test_max_logits_bounds_the_logits_of_the_head(llama, make_sample, mask_id: int) -> None:
    held: list[int] = []
    handle = llama.lm_head.register_forward_hook(lambda module, inputs, logits: held.append(logits.numel()))
    bounded = objective(mask_id, max_logits=7 * 50)
    bounded.sums({"model": llama}, bounded.prepare([make_sample(0, 40)], RNG))
    handle.remove()
    assert len(held) > 1
    assert max(held) <= 7 * 50
