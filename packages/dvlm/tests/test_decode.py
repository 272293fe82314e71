"""Decoding with images, held against a decoder without cache. Numbers of oracles are those of the method's specification."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.decoding import DecodeStats, StopRule, autoregressive
from ar_core.errors import DataError
from ar_core.hf import build_backbone
from ar_core.masks import Mask, Tokens, block_causal
from ar_core.registry import decoder, resolve
from ar_core.sampling import Sampler
from dvlm.data.shapes import shape_picture
from dvlm.decoding.backbone import VisionBackbone
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from dvlm.inputs import expand
from dvlm.prompt import VisionPrompt
from recomputed_decoding import recomputed
from tiny_vision_language import MASK, assembled, qwen2_5_vl

FOUR = DiffusionVLDecodeConfig(mask_id=MASK, diffusion_block_size=4, steps=4, commit="separate")
EIGHT = replace(FOUR, diffusion_block_size=8, steps=3)


@pytest.fixture
def prompt(images):
    """Makes a prompt of some text, images, and text behind them."""

    def make(model, seed=0, *, before=3, pictures=1, after=2, mrope=False, share=None) -> VisionPrompt:
        words = torch.randint(250, (before + after,), generator=torch.Generator().manual_seed(seed)).tolist()
        processor = model.processor(images)
        inputs = share or [processor(shape_picture(seed + number)) for number in range(pictures)]
        ids = [*words[:before], *[-200] * len(inputs), *words[before:]]
        return VisionPrompt(expand(ids, None, [image.layout for image in inputs], mrope=mrope), tuple(inputs))

    return make


def decode(model, prompts, config=FOUR, *, n=14, stop=frozenset(), **more):
    seen = VisionBackbone(model, prompts)
    return generate(seen, seen.ids, config, stop=StopRule(stop, n), **more)


@pytest.mark.parametrize(
    "config",
    [FOUR, EIGHT, replace(EIGHT, strategy="dynamic", threshold=0.3), replace(FOUR, clean="token")],
    ids=["D4", "D8", "dynamic", "token-causal"],
)
def test_the_cache_changes_nothing(model, prompt, config):
    """Oracle 11: P mod D in {0, 1, D-1} and P < D; images also in the block that the prompt ends in. Oracle 13 counts passes."""
    size = config.diffusion_block_size
    image = prompt(model).images[0].layout.tokens
    for rest in (0, 1, size - 1):
        before = (rest - image - 1) % size + size
        one = prompt(model, rest, before=before, after=1)
        assert len(one) % size == rest
        expected, passes = recomputed(model, one, config, 14)
        for commit in ("separate", "fused") if config.clean == "block" else ("separate",):
            found = decode(model, [one], replace(config, commit=commit))
            assert found.tokens == [expected]
            blocks = math.ceil((rest + 14) / size)
            # The last block is never stored; stored by the next one's first pass, the others cost nothing.
            assert found.stats.nfe == 1 + passes + (blocks - 1 if commit == "separate" else 0)
    short = prompt(model, before=2, pictures=0, after=1)
    assert decode(model, [short], config).tokens == [recomputed(model, short, config, 14)[0]]


def test_only_finished_blocks_are_stored(model, prompt):
    """Oracle 12: denoising leaves the cache's length alone, a commit adds D; also where the cache begins empty."""
    for one in (prompt(model), prompt(model, before=2, pictures=0, after=1)):
        seen = VisionBackbone(model, [one])
        lengths = []
        plain = seen.hidden

        def hidden(ids, *, cache, plain=plain, lengths=lengths, **rest):
            lengths.append(cache.lengths[0])
            return plain(ids, cache=cache, **rest)

        seen.hidden = hidden
        decoded = generate(seen, seen.ids, FOUR, stop=StopRule(frozenset(), 14), trace=True)
        phases = [entry["phase"] for entry in decoded.trace.to_list()]
        assert lengths[0] == 0
        for phase, before, after in zip(phases, lengths, lengths[1:]):
            grown = {"denoise": 0, "commit": 4, "prefill": len(one) // 4 * 4}[phase]
            assert after == before + grown
        assert phases.count("commit") == lengths[-1] // 4 - len(one) // 4


@pytest.mark.parametrize(("size", "steps"), [(8, 8), (8, 3), (8, 1), (4, 6), (1, 1)])
def test_forwards_of_static_unmasking(prompt, size, steps):
    """Oracle 13: [P >= D] + sum over blocks of (passes used + 1), less the last commit, which nothing reads. Dynamic with tau >= 1 is
    static; with tau < 0 a block takes one pass."""
    model = assembled()
    config = replace(FOUR, diffusion_block_size=size, steps=steps, whole_last_block=True)
    for before in (1, 8):
        one = prompt(model, before=before, pictures=0, after=1)
        found = decode(model, [one], config, n=-(len(one) + 20) % size + 20)
        first = size - len(one) % size
        # How many passes reveal so many tokens.
        floors = [max(1, size // steps + (i < size % steps)) for i in range(size)]
        used = [
            next(i for i in range(size + 1) if sum(floors[:i]) >= masked)
            for masked in [first, *[size] * ((20 + len(one) - (len(one) + first)) // size + 9)]
        ]
        blocks = math.ceil((len(one) + len(found.tokens[0])) / size) - len(one) // size
        assert found.stats.nfe == int(len(one) >= size) + sum(used[:blocks]) + blocks - 1
        certain = decode(model, [one], replace(config, strategy="dynamic", threshold=1.0), n=len(found.tokens[0]))
        assert certain.tokens == found.tokens
        assert certain.stats.nfe == found.stats.nfe
        open_ = decode(model, [one], replace(config, strategy="dynamic", threshold=-1.0), n=len(found.tokens[0]))
        assert open_.stats.forwards["denoise"] == blocks


@pytest.mark.parametrize("strategy", ["static", "dynamic"])
def test_fused_commits_save_a_pass_a_block(model, prompt, strategy):
    """Oracle 14: the same tokens in one pass less for every block but the last."""
    one = prompt(model, before=5)
    config = replace(EIGHT, strategy=strategy, threshold=0.3)
    separate, fused = (decode(model, [one], replace(config, commit=commit), n=21) for commit in ("separate", "fused"))
    assert fused.tokens == separate.tokens
    assert (
        separate.stats.nfe - fused.stats.nfe == separate.stats.forwards["commit"] == fused.stats.forwards["fused"] > 0
    )
    assert fused.stats.forwards["commit"] == 0


def test_a_fused_pass_computes_what_two_do(model, prompt):
    """Oracle 14: hidden states of every commit with the next block's first pass, against both one after another."""

    def passes(one: VisionPrompt, commit: str) -> list[tuple[str, torch.Tensor]]:
        seen = VisionBackbone(model, [one])
        plain, states = seen.hidden, []
        seen.hidden = lambda *ids, **more: states.append(plain(*ids, **more)) or states[-1]
        decoded = generate(seen, seen.ids, replace(FOUR, commit=commit), stop=StopRule(frozenset(), 14), trace=True)
        return list(zip([entry["phase"] for entry in decoded.trace.to_list()], states, strict=True))

    for one in (prompt(model, before=7), prompt(model, before=2, pictures=0, after=1)):
        expected = []
        for phase, states in passes(one, "separate"):
            if expected and expected[-1][0] == "commit":
                expected[-1] = ("fused", torch.cat([expected[-1][1], states], dim=1))
            else:
                expected.append((phase, states))
        fused = passes(one, "fused")
        assert [phase for phase, _ in fused] == [phase for phase, _ in expected]
        assert any(phase == "fused" for phase, _ in fused)
        for (_, found), (_, states) in zip(fused, expected, strict=True):
            torch.testing.assert_close(found, states, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mrope", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_ragged_batch_gives_each_row_what_it_gets_alone(model, prompt, mrope, temperature):
    """Oracle 15: images of different numbers, or none; rows that stop in different blocks; rows that wait for a place."""
    mrope = mrope and model.takes_mrope
    shapes = [(3, 1, 2), (9, 0, 1), (1, 2, 0), (2, 1, 7), (1, 0, 1), (6, 1, 0)]
    prompts = [prompt(model, seed, before=b, pictures=p, after=a, mrope=mrope) for seed, (b, p, a) in enumerate(shapes)]
    config = replace(FOUR, commit="fused")
    stop = frozenset(range(0, 250, 9))
    more = {"n": 18, "stop": stop, "sampler": Sampler(temperature=temperature)}
    alone = [decode(model, [one], config, seed=[40 + row], **more) for row, one in enumerate(prompts)]
    for size in (None, 2):
        batch = decode(model, prompts, replace(config, batch_size=size), seed=list(range(40, 46)), **more)
        assert batch.tokens == [one.tokens[0] for one in alone]
        assert batch.finish == [one.finish[0] for one in alone]
    assert len({len(one.tokens[0]) // 4 for one in alone}) > 1
    assert any(one.finish == ["stop_id"] for one in alone)


def test_the_mask_is_never_generated(model, prompt):
    """Oracle 16: with its logit forced above all others."""
    seen = VisionBackbone(model, [prompt(model)])
    plain = seen.head

    def head(hidden):
        logits = plain(hidden)
        logits[..., MASK] = 1e4
        return logits

    seen.head = head
    for temperature in (0.0, 1.0):
        found = generate(seen, seen.ids, FOUR, stop=StopRule(frozenset(), 14), sampler=Sampler(temperature=temperature))
        assert MASK not in found.tokens[0]
        assert len(found.tokens[0]) == 14


def test_a_prompt_may_hold_the_mask(model, prompt):
    """What is masked is no matter of ids: the published code would decode the prompt anew."""
    one = prompt(model)
    ids = one.expanded.ids.clone()
    ids[-1] = MASK
    one = replace(one, expanded=replace(one.expanded, ids=ids))
    assert decode(model, [one]).tokens == [recomputed(model, one, FOUR, 14)[0]]


def test_the_tower_runs_once_over_what_is_distinct(model, prompt, monkeypatch):
    calls = []
    plain = type(model).image_features
    monkeypatch.setattr(
        type(model),
        "image_features",
        lambda self, pixels, layouts: calls.append(layouts) or plain(self, pixels, layouts),
    )
    first = prompt(model, 0)
    # Equal, though read twice.
    again = prompt(model, 1, share=[replace(image, pixels=image.pixels.clone()) for image in first.images])
    other = prompt(model, 2, pictures=2)
    seen = VisionBackbone(model, [first, again, other])
    found = generate(seen, seen.ids, FOUR, stop=StopRule(frozenset(), 14))
    assert [len(layouts) for layouts in calls] == [3]
    assert seen.stats.encoder == {"forwards": 1, "images": 3}
    assert (seen.stats + found.stats).nfe == found.stats.nfe
    assert DecodeStats.from_dict((seen.stats + found.stats).to_dict()).encoder == seen.stats.encoder
    assert found.tokens[1] == decode(model, [prompt(model, 1, share=list(first.images))]).tokens[0]
    assert found.tokens[0] != decode(model, [prompt(model, 0, share=list(other.images[:1]))]).tokens[0]


@pytest.mark.parametrize("mrope", [False, True])
def test_other_decoders_take_images_too(model, prompt, mrope):
    """One token a pass, in a ragged batch and alone, equals a decoder without cache; drafts from the context are lossless."""
    mrope = mrope and model.takes_mrope
    prompts = [
        prompt(model, seed, before=b, pictures=p, after=2, mrope=mrope)
        for seed, (b, p) in enumerate([(3, 1), (5, 0), (2, 2)])
    ]
    seen = VisionBackbone(model, prompts)
    rule = StopRule(frozenset(), 12)
    plain = autoregressive(seen, seen.ids, stop=rule, sampler=Sampler())
    for number, one in enumerate(prompts):
        # With blocks of one token, a block diffusion that predicts the next token is autoregression.
        assert plain.tokens[number] == _next_tokens(model, one, 12)
    for name in ("lookup", "jacobi"):
        record = decoder(name)
        found = resolve(record.decode)(seen, seen.ids, resolve(record.options)(), stop=rule, sampler=Sampler())
        assert found.tokens == plain.tokens


@torch.no_grad()
def _next_tokens(model, prompt, n):
    ids = prompt.expanded.ids.clamp(min=0).tolist()
    places = prompt.expanded.positions
    following = int(places.max()) + 1
    features = None
    if prompt.images:
        pixels = torch.cat([image.pixels for image in prompt.images]).double()
        features = model.image_features(pixels, [image.layout for image in prompt.images])
    for extra in range(n):
        rows = torch.cat([prompt.expanded.image_rows, torch.full((extra,), -1)])
        later = torch.arange(following, following + extra).expand(*places.shape[:-1], -1)
        rope = torch.cat([places, later], dim=-1)
        index = torch.arange(len(ids))
        embeds, more = model.embed(torch.tensor([ids]), rows[None], features)
        mask = Mask.self_attention(block_causal(), Tokens(block=index, position=index))
        rope = rope[None] if rope.ndim == 1 else rope[:, None]
        hidden = model.backbone.hidden(None, embeds=embeds, positions=rope, mask=mask, more=more)
        ids.append(int(model.backbone.head(hidden[0, -1]).argmax()))
    return ids[len(prompt) :]


def test_the_base_decodes_as_transformers_does(prompt):
    """The AR arm: Qwen2.5-VL with three-part positions, against `generate`."""
    from dvlm.qwen_vl import QwenVL

    base = qwen2_5_vl()
    model = QwenVL(base)
    one = prompt(model, before=4, after=3, mrope=True)
    pad = base.config.image_token_id = 290
    ids = one.expanded.ids.masked_fill(one.is_image, pad)[None]
    kinds = one.is_image.long()[None]
    grid = torch.tensor([[1, *image.layout.patches] for image in one.images])
    pixels = torch.cat([image.pixels for image in one.images]).double()
    expected = base.generate(
        input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=kinds, attention_mask=torch.ones_like(ids),
        max_new_tokens=10, do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    seen = VisionBackbone(model, [one])
    found = autoregressive(seen, seen.ids, stop=StopRule(frozenset(), 10), sampler=Sampler())
    assert found.tokens == [expected[0, ids.shape[1] :].tolist()]


def test_streams_and_exact_ends(model, prompt):
    """Tokens are handed over once and in order; N is exact for any N; an end token is not part of the output."""
    one = prompt(model)
    whole = decode(model, [one], n=23).tokens[0]
    for n in (1, 3, 4, 9):
        got: list[int] = []
        found = decode(
            model, [one], replace(FOUR, whole_last_block=True), n=n, on_token=lambda _, new, got=got: got.extend(new)
        )
        assert len(found.tokens[0]) == n
        assert got == found.tokens[0]
    end = whole[9]
    stopped = decode(model, [one], n=23, stop=frozenset({end}))
    assert stopped.tokens[0] == whole[: whole.index(end)]
    assert stopped.finish == ["stop_id"]


@pytest.mark.parametrize("mrope", [False, True])
def test_passes_of_fixed_shapes(model, prompt, mrope):
    """Passes over text take the shapes of the engine, those that hold images stay plain; the tokens are the same. Three-part
    positions do not keep passes behind the prompt from it."""
    mrope = mrope and model.takes_mrope
    prompts = [
        prompt(model, seed, before=b, pictures=p, mrope=mrope) for seed, (b, p) in enumerate([(3, 1), (9, 0), (1, 2)])
    ]
    fixed = build_backbone(model.language, "eager")
    seen = VisionBackbone(model, prompts, fixed)
    config = replace(FOUR, commit="fused")
    rule = StopRule(frozenset(range(0, 250, 9)), 14)
    assert (
        generate(seen, seen.ids, config, stop=rule).tokens == decode(model, prompts, config, stop=rule.stop_ids).tokens
    )
    assert fixed.static_passes > 0
    before = fixed.static_passes
    found = autoregressive(seen, seen.ids, stop=StopRule(frozenset(), 6), sampler=Sampler())
    plain = VisionBackbone(model, prompts)
    assert found.tokens == autoregressive(plain, plain.ids, stop=StopRule(frozenset(), 6), sampler=Sampler()).tokens
    assert fixed.static_passes - before >= 5


def test_features_that_are_kept_are_not_encoded_again(model, prompt):
    first, again, other = prompt(model, 0), prompt(model, 0, before=7), prompt(model, 1, pictures=2)
    known: dict = {}
    assert VisionBackbone(model, [first], known=known).stats.encoder == {"forwards": 1, "images": 1}
    seen = VisionBackbone(model, [other, again], known=known)
    assert seen.stats.encoder == {"forwards": 1, "images": 2}
    assert VisionBackbone(model, [again, other], known=known).stats.encoder == {}
    found = generate(seen, seen.ids, FOUR, stop=StopRule(frozenset(), 10))
    assert found.tokens == [recomputed(model, one, FOUR, 10)[0] for one in (other, again)]


def test_rows_that_end_together(prompt):
    """Parity of batches: every row is cut where the block ends in which the first row stopped."""
    model = assembled()
    prompts = [prompt(model, seed, pictures=0, before=5, after=1) for seed in range(3)]
    free = decode(model, prompts, n=20)
    end = free.tokens[1][7]
    assert end not in free.tokens[1][:7]
    together = decode(model, prompts, replace(FOUR, stop_together=True), n=20, stop=frozenset({end}))
    single = decode(model, prompts, n=20, stop=frozenset({end}))
    first = min(len(row) for row, reason in zip(single.tokens, single.finish) if reason == "stop_id")
    room = (6 + first) // 4 * 4 + 4 - 6
    assert together.tokens == [row[:room] for row in single.tokens]
    with pytest.raises(DataError, match="prompts of one length"):
        decode(model, [*prompts, prompt(model)], replace(FOUR, stop_together=True))
