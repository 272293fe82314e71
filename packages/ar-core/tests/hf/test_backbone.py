"""The backbone's promises beyond plain decoding: trees, poison, adapters, checkpointing, compilation, refusals."""

import math

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone, StopRule, autoregressive, causal_pass
from ar_core.errors import BackendError, CacheError, MaskError, UnsupportedModelError
from ar_core.hf import HFBackbone, check_agreement, use_backend
from ar_core.masks import Mask, Tokens, bidirectional, block_causal, causal, padding, prefix, tree, tree_intervals
from ar_core.sampling import Sampler
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def randomise(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.02, 0.2, generator=generator)
    return model.eval()


@pytest.fixture
def qwen() -> Qwen2ForCausalLM:
    return randomise(Qwen2ForCausalLM(Qwen2Config(**SIZES)))


def ids_of(batch: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 61, (batch, n), generator=torch.Generator().manual_seed(seed))


def test_implements_the_protocol(qwen):
    backbone = HFBackbone(qwen)
    assert isinstance(backbone, Backbone)
    assert (backbone.vocab_size, backbone.context_length, backbone.dtype) == (61, 64, torch.float32)
    cache = backbone.new_cache(2, 7)
    assert (cache.num_layers, cache.batch, cache.capacity) == (2, 2, 7)


@torch.no_grad()
def test_no_mask_sees_everything(qwen):
    backbone, ids = HFBackbone(qwen), ids_of(2, 9)
    positions = torch.arange(9).expand(2, 9)
    full = Mask.self_attention(bidirectional(), Tokens(position=positions[0]))
    free = backbone.hidden(ids, positions=positions, mask=None)
    assert torch.equal(free, backbone.hidden(ids, positions=positions, mask=full))
    causal_mask = Mask.self_attention(causal(), Tokens(position=positions[0]))
    assert (free - backbone.hidden(ids, positions=positions, mask=causal_mask)).abs().max() > 0.01


@torch.no_grad()
def test_embeddings_do_as_ids(qwen):
    backbone, ids = HFBackbone(qwen), ids_of(2, 5)
    positions = torch.arange(5).expand(2, 5)
    by_ids = backbone.hidden(ids, positions=positions, mask=None)
    assert torch.equal(by_ids, backbone.hidden(None, embeds=backbone.embed(ids), positions=positions, mask=None))


@torch.no_grad()
def test_block_of_cached_passes_equals_one_full_pass(qwen):
    """Block-causal prompt, then a block refined twice and committed, ragged over two rows."""
    backbone, size = HFBackbone(qwen), 4
    ids = ids_of(2, 12)
    positions = torch.arange(12)
    tokens = Tokens(position=positions, block=positions // size)
    expected = backbone.hidden(ids, positions=positions.expand(2, 12), mask=Mask.self_attention(block_causal(), tokens))
    cache = backbone.new_cache(2, 12)
    cache.window(8)
    mask = Mask.self_attention(block_causal(), tokens.slice(0, 8))
    backbone.hidden(ids[:, :8], positions=cache.query_positions(), mask=mask, cache=cache)
    cache.keep([8, 4])
    for guess in (ids_of(2, size, 1), ids_of(2, size, 2)):
        cache.window(size)
        mask = Mask(padding(), Tokens(position=cache.query_positions()), cache.key_tokens())
        backbone.hidden(guess, positions=cache.query_positions(), mask=mask, cache=cache)
    cache.window(size)
    mask = Mask(padding(), Tokens(position=cache.query_positions()), cache.key_tokens())
    final = torch.stack([ids[0, 8:], ids[1, 4:8]])
    got = backbone.hidden(final, positions=cache.query_positions(), mask=mask, cache=cache)
    assert (got[0] - expected[0, 8:]).abs().max() <= 2e-6 * expected.abs().max()
    assert (got[1] - expected[1, 4:8]).abs().max() <= 2e-6 * expected.abs().max()


@torch.no_grad()
def test_tree_nodes_and_kept_branch_equal_plain_sequences(qwen):
    r"""Root 0 with children 1 and 2, 1 with children 3 and 4; two rows keep different branches."""
    backbone = HFBackbone(qwen)
    prompts, parents, depth = [[4, 8, 15, 16], [23, 42]], [-1, 0, 0, 1, 1], torch.tensor([0, 1, 1, 2, 2])
    nodes, paths = ids_of(2, 5, 5), [[0, 1, 4], [0, 2]]
    cache = backbone.new_cache(2, 16)
    causal_pass(backbone, cache, prompts)
    cache.keep([4, 2])
    cache.window(5)
    starts = torch.tensor(cache.starts)[:, None]
    enter, leave = tree_intervals(parents)
    slot = torch.arange(cache.span)
    node = slot - starts  # [B, span]: which node lies in a slot; negative: prompt
    inside = (node >= 0) & (node < 5)
    keys = Tokens(
        position=slot,
        valid=cache.key_tokens()["valid"],
        enter=torch.where(inside, torch.as_tensor(enter)[node.clamp(0, 4)], -1),
        exit=torch.where(inside, torch.as_tensor(leave)[node.clamp(0, 4)], 10**6),
    )
    queries = Tokens(position=starts + depth, enter=torch.as_tensor(enter), exit=torch.as_tensor(leave))
    mask = Mask(tree() & padding(), queries, keys)
    got = backbone.hidden(nodes, positions=starts + depth, mask=mask, cache=cache)
    for row, prompt in enumerate(prompts):
        for leaf in range(5):
            path = [leaf]
            while parents[path[0]] >= 0:
                path.insert(0, parents[path[0]])
            fresh = backbone.new_cache(1, 16)
            plain = causal_pass(backbone, fresh, [prompt + nodes[row, path].tolist()])[0, -1]
            assert (got[row, leaf] - plain).abs().max() <= 5e-6 * plain.abs().max()
    cache.keep_path([path + [0] * (3 - len(path)) for path in paths], [3, 2])
    after = causal_pass(backbone, cache, [[7], [9]])
    for row, (prompt, last) in enumerate(zip(prompts, (7, 9))):
        fresh = backbone.new_cache(1, 16)
        plain = causal_pass(backbone, fresh, [[*prompt, *nodes[row, paths[row]].tolist(), last]])[0, -1]
        assert (after[row, 0] - plain).abs().max() <= 1e-5 * plain.abs().max()


class Poisoned:
    """Passes through to a backbone with every slot behind the span full of NaN while the pass runs."""

    def __init__(self, backbone: HFBackbone) -> None:
        self._backbone = backbone

    def __getattr__(self, name: str):
        return getattr(self._backbone, name)

    def hidden(self, ids, *, cache: WindowedKVCache, **rest):
        stored = [*cache._keys, *cache._values]
        kept = [t[:, :, cache.span :].clone() for t in stored]
        for t in stored:
            t[:, :, cache.span :] = math.nan
        out = self._backbone.hidden(ids, cache=cache, **rest)
        for t, old in zip(stored, kept):
            t[:, :, cache.span :] = old
        return out


@torch.no_grad()
def test_slots_behind_the_visible_end_do_not_matter(qwen):
    prompts = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10, 11]]
    settings = {"stop": StopRule(frozenset(), 9), "sampler": Sampler()}
    plain = autoregressive(HFBackbone(qwen), prompts, **settings)
    assert autoregressive(Poisoned(HFBackbone(qwen)), prompts, **settings).tokens == plain.tokens


@torch.no_grad()
def test_bfloat16_and_float64(qwen):
    for dtype, bound in ((torch.float64, 1e-12), (torch.bfloat16, 0.06)):
        backbone = HFBackbone(randomise(Qwen2ForCausalLM(Qwen2Config(**SIZES))).to(dtype))
        ids, cache = ids_of(2, 10), backbone.new_cache(2, 10)
        assert cache.dtype == dtype
        positions = torch.arange(10).expand(2, 10)
        whole = backbone.hidden(
            ids, positions=positions, mask=Mask.self_attention(causal(), Tokens(position=positions[0]))
        )
        parts = []
        for a, b in ((0, 4), (4, 5), (5, 10)):
            parts.append(causal_pass(backbone, cache, ids[:, a:b]))
            cache.keep(b - a)
        assert (torch.cat(parts, 1) - whole).abs().max() <= bound * whole.abs().max()


def test_training_through_the_cache_is_refused(qwen):
    backbone = HFBackbone(qwen)
    cache = backbone.new_cache(1, 4)
    with pytest.raises(CacheError, match=r"need a gradient .* decode under torch\.no_grad"):
        causal_pass(backbone, cache, [[1, 2]])


def loss_and_gradients(model: nn.Module, trained: nn.Module | None = None):
    backbone, ids = HFBackbone(model), ids_of(2, 11)
    positions = torch.arange(11)
    mask = Mask.self_attention(block_causal(), Tokens(position=positions, block=positions // 3))
    logits = backbone.head(backbone.hidden(ids, positions=positions.expand(2, 11), mask=mask))
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.detach(), gradients


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_nothing(qwen, reentrant):
    expected = loss_and_gradients(qwen)
    qwen.train()
    qwen.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        qwen.enable_input_require_grads()
    loss, gradients = loss_and_gradients(qwen)
    assert torch.equal(loss, expected[0])
    assert all(torch.equal(gradients[n], g) for n, g in expected[1].items())


def test_lora_trains_and_decodes_through_the_cache(qwen):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(qwen, peft.LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    _, gradients = loss_and_gradients(adapted)
    assert gradients
    assert all("lora" in name for name in gradients)
    backbone, ids = HFBackbone(adapted), ids_of(1, 8)
    positions = torch.arange(8)[None]
    with torch.no_grad():
        mask = Mask.self_attention(causal(), Tokens(position=positions[0]))
        whole = backbone.hidden(ids, positions=positions, mask=mask)
        cache = backbone.new_cache(1, 8)
        first = causal_pass(backbone, cache, ids[:, :5])
        cache.keep(5)
        second = causal_pass(backbone, cache, ids[:, 5:])
        plain = adapted(ids, use_cache=False).logits
    assert (torch.cat([first, second], 1) - whole).abs().max() <= 2e-6 * whole.abs().max()
    assert (backbone.head(whole) - plain).abs().max() <= 3e-5 * plain.abs().max()


def test_compiles_into_one_graph_and_a_second_mask_does_not_recompile():
    model = randomise(LlamaForCausalLM(LlamaConfig(**SIZES)))
    backbone = HFBackbone(model)
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    ids, positions = ids_of(2, 10), torch.arange(10)
    compiled = torch.compile(
        lambda mask: backbone.hidden(ids, positions=positions.expand(2, 10), mask=mask), fullgraph=True, backend=count
    )
    for size in (3, 5):
        mask = Mask.self_attention(block_causal(), Tokens(position=positions, block=positions // size))
        mask.dense()
        expected = backbone.hidden(ids, positions=positions.expand(2, 10), mask=mask)
        assert (compiled(mask) - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert len(graphs) == 1


@torch.no_grad()
def test_backend_of_choice(qwen):
    ids, positions = ids_of(1, 10), torch.arange(10)
    mask = Mask.self_attention(block_causal(), Tokens(position=positions, block=positions // 4))
    backbone = HFBackbone(qwen)
    expected = backbone.hidden(ids, positions=positions[None], mask=mask)
    use_backend(qwen, "segments")
    got = backbone.hidden(ids, positions=positions[None], mask=mask)
    assert (got - expected).abs().max() <= 2e-6 * expected.abs().max()
    assert mask.has_segments()
    with pytest.raises(BackendError, match="no attention backend 'warp'; choose sdpa"):
        use_backend(qwen, "warp")


def test_unknown_attention_arguments_are_refused_by_name(qwen):
    backbone, ids, positions = HFBackbone(qwen), ids_of(1, 3), torch.arange(3)[None]
    mask = Mask.self_attention(causal(), Tokens(position=positions[0]))
    with pytest.raises(UnsupportedModelError, match=r"Qwen2Attention asks its attention for softcap=30\.0"):
        qwen.model(ids, attention_mask=mask, position_ids=positions, softcap=30.0)
    with pytest.raises(UnsupportedModelError, match=r"s_aux=a tensor of shape \[4\]"):
        qwen.model(ids, attention_mask=mask, position_ids=positions, s_aux=torch.zeros(4))
    backbone.hidden(ids, positions=positions, mask=mask)


def test_dropout_and_foreign_masks_are_refused():
    model = randomise(Qwen2ForCausalLM(Qwen2Config(**SIZES, attention_dropout=0.1)))
    HFBackbone(model)
    ids, dense = ids_of(1, 3), torch.ones(1, 1, 3, 3, dtype=torch.bool)
    with pytest.raises(MaskError, match="handed its attention a mask of type Tensor; pass an ar_core Mask"):
        model(ids, attention_mask=dense)
    with pytest.raises(UnsupportedModelError, match=r"dropout=0\.1.* set attention_dropout to 0"):
        model.train()(ids)


def test_sliding_window_narrows_any_mask_and_needs_positions():
    config = Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=4, layer_types=["sliding_attention"] * 2)
    backbone = HFBackbone(randomise(Gemma3ForCausalLM(config)))
    ids, positions = ids_of(1, 9), torch.arange(9)[None]
    mask = Mask.self_attention(causal(), Tokens(position=positions[0]))
    with torch.no_grad():
        out = backbone.hidden(ids, positions=positions, mask=mask)
        changed = ids.clone()
        changed[0, 0] = (ids[0, 0] + 1) % 61
        moved = (backbone.hidden(changed, positions=positions, mask=mask) - out).abs().amax(-1)[0]
        # Two layers of a window of 4 reach 6 tokens back.
        assert (moved[:7] > 0).all()
        assert not moved[7:].any()
        blind = Mask.self_attention(prefix(), Tokens(prefix=torch.ones(9, dtype=torch.long)))
        with pytest.raises(MaskError, match="needs the ids position"):
            backbone.hidden(ids, positions=positions, mask=blind)


def test_models_without_replaceable_attention_are_refused():
    model = BloomForCausalLM(BloomConfig(vocab_size=61, hidden_size=32, n_layer=1, n_head=4))
    with pytest.raises(UnsupportedModelError, match="BloomForCausalLM computes attention in code of its own"):
        HFBackbone(model)


def test_agreement_finds_a_part_that_we_do_not_know():
    model = randomise(LlamaForCausalLM(LlamaConfig(**SIZES)))
    check_agreement(model)
    forward = type(model).forward

    class Scaled(LlamaForCausalLM):
        def forward(self, *args, **settings):
            out = forward(self, *args, **settings)
            out.logits = out.logits * 1.5
            return out

    model.__class__ = Scaled
    with pytest.raises(
        UnsupportedModelError, match=r"'llama' computes other logits .* has a part that ar_core does not"
    ):
        check_agreement(model)
