"""LlamaGen on the windowed cache: equal to the full forward, independent of batch mates, no more passes than needed."""

from collections.abc import Callable, Sequence

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.errors import ConfigError, DataError, NumericsError
from ar_core.sampling import guide
from ar_vision.backbones.llamagen import trunk as model_module
from ar_vision.backbones.llamagen.conditions import pad_texts
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate, text_condition
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.decoding.raster import RasterCondition, generate_raster, interval_guidance
from torch import Generator, Tensor

L = 9
Tiny = Callable[..., LlamaGen]


def _texts(*lengths: int, width: int = 12, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=generator) for length in lengths]


def _forced(model: LlamaGen, condition: RasterCondition, codes: Tensor, guidance: Sequence[float]) -> Tensor:
    """Guided logits [B, L, V] of decoding that is made to draw these codes."""
    seen = []

    def force(place: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        seen.append(logits)
        return codes[:, place : place + 1]

    generate_raster(model, condition, force, guidance=guidance, width=3)
    return torch.cat(seen, dim=1)


def _full(model: LlamaGen, condition: RasterCondition, codes: Tensor, scale: float) -> Tensor:
    with torch.no_grad():
        given = model.head(model.teacher_forced(condition.given, codes, condition.valid))
        if scale == 1:
            return given
        assert condition.null is not None
        return guide(given, model.head(model.teacher_forced(condition.null, codes, condition.valid)), scale)


def _codes(rows: int, seed: int = 3) -> Tensor:
    return torch.randint(24, (rows, L), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_cached_passes_equal_the_full_forward(tiny: Tiny, scale: float) -> None:
    model, codes = tiny(), _codes(3)
    condition = class_condition(model, [0, 4, 5])
    found = _forced(model, condition, codes, (scale,) * L)
    assert (found - _full(model, condition, codes, scale)).abs().max() <= 1e-4


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_cached_passes_equal_the_full_forward_with_ragged_texts(tiny: Tiny, scale: float) -> None:
    """Of 6 positions: one text that is cut, one that fills them, short ones, an empty one."""
    model, codes = tiny("text"), _codes(5)
    condition = text_condition(model, _texts(8, 6, 3, 1, 0))
    found = _forced(model, condition, codes, (scale,) * L)
    assert (found - _full(model, condition, codes, scale)).abs().max() <= 1e-4


def test_padding_of_a_text_changes_nothing(tiny: Tiny) -> None:
    """What stands in padded columns never reaches a code."""
    model, codes = tiny("text"), _codes(2)
    condition = text_condition(model, _texts(3, 2))
    assert condition.valid is not None
    noise = torch.randn(condition.given.shape, generator=torch.Generator().manual_seed(1))
    noisy = RasterCondition(torch.where(condition.valid[..., None], condition.given, noise), valid=condition.valid)
    assert (_forced(model, condition, codes, (1.0,) * L) - _forced(model, noisy, codes, (1.0,) * L)).abs().max() == 0


def test_texts_are_cut_and_padded_on_the_left(tiny: Tiny) -> None:
    config = tiny("text").config
    texts = _texts(8, 2)
    wide, valid = pad_texts(texts, config)
    assert torch.equal(wide[0], texts[0][:6])
    assert torch.equal(wide[1, 4:], texts[1])
    assert wide[1, :4].abs().max() == 0
    assert valid.tolist() == [[True] * 6, [False] * 4 + [True] * 2]


def test_later_codes_leave_earlier_logits_unchanged(tiny: Tiny) -> None:
    model, codes = tiny(), _codes(2)
    changed = codes.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 24
    condition = class_condition(model, [1, 2])
    before, after = (_full(model, condition, each, 1.0) for each in (codes, changed))
    assert torch.equal(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax() > 1e-3


def test_condition_positions_do_not_rotate_as_identity(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap: cosine 0, not 1. With the identity there, logits are others."""
    model, codes = tiny(), _codes(2)
    condition = class_condition(model, [1, 2])
    published = _full(model, condition, codes, 1.0)
    rotary_table = model_module.rotary_table

    def identity(*arguments: object) -> Tensor:
        table = rotary_table(*arguments).clone()
        assert table[0].abs().max() == 0
        table[0, :, 0] = 1.0
        return table

    monkeypatch.setattr(model_module, "rotary_table", identity)
    assert (published - _full(model, condition, codes, 1.0)).abs().max() > 1e-2


def test_keys_of_the_condition_are_zero(tiny: Tiny) -> None:
    """So every query gives each of them the logit 0."""
    model = tiny("text")
    stored: list[Tensor] = []

    class Spy(WindowedKVCache):
        def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            stored.append(k)
            return super().update(layer, k, v)

    cache = Spy(2, 1, 2, 16, 16)
    cache.window(6)
    with torch.no_grad():
        model.hidden(text_condition(model, _texts(6)).given, cache=cache)
    assert [float(keys.abs().max()) for keys in stored] == [0.0, 0.0]


def test_what_a_row_draws_does_not_depend_on_its_batch(tiny: Tiny) -> None:
    model = tiny()
    options = LlamaGenOptions(guidance=2.0, temperature=0.8, top_k=12, top_p=0.95)
    seeds, labels = [11, 12, 13], [0, 3, 4]
    together = generate(model, class_condition(model, labels), options, seed=seeds).codes
    for row, (seed, label) in enumerate(zip(seeds, labels)):
        alone = generate(model, class_condition(model, [label]), options, seed=[seed]).codes
        assert torch.equal(alone[0], together[row])
    assert len(together.unique(dim=0)) == 3


def test_what_a_text_draws_does_not_depend_on_longer_ones_beside_it(tiny: Tiny) -> None:
    model, texts = tiny("text"), _texts(1, 6, 3)
    options = LlamaGenOptions(guidance=2.0)
    together = generate(model, text_condition(model, texts), options, seed=[1, 2, 3]).codes
    for row, text in enumerate(texts):
        assert torch.equal(
            generate(model, text_condition(model, [text]), options, seed=[row + 1]).codes[0], together[row]
        )


def test_without_guidance_no_null_half_runs(tiny: Tiny) -> None:
    """Bit for bit the codes of passes over the condition alone, at half the operations of a guided run."""
    model = tiny()
    condition = class_condition(model, [1, 2])
    greedy = LlamaGenOptions(guidance=1.0, temperature=0.0)
    free = generate(model, condition, greedy, count_flops=True)
    alone = generate(model, RasterCondition(condition.given), greedy)
    assert torch.equal(free.codes, alone.codes)
    logits = _forced(model, condition, free.codes, (1.0,) * L)
    assert torch.equal(logits, _forced(model, RasterCondition(condition.given), free.codes, (1.0,) * L))
    guided = generate(model, condition, LlamaGenOptions(guidance=1.5, temperature=0.0), count_flops=True)
    assert free.flops is not None
    assert guided.flops is not None
    assert set(free.flops) == {"prefill", "step"}
    assert {phase: 2 * count for phase, count in free.flops.items()} == dict(guided.flops)
    assert dict(free.stats.row_forwards) == {"prefill": 2, "step": 2 * (L - 1)}
    assert dict(guided.stats.row_forwards) == {"prefill": 4, "step": 4 * (L - 1)}


def test_operations_are_those_of_the_shapes(tiny: Tiny) -> None:
    """Weights of linear maps and pairs of query and key, two operations each."""
    model = tiny()
    config = model.config
    run = generate(model, class_condition(model, [1, 2, 3]), LlamaGenOptions(), count_flops=True)
    layer = 4 * config.dim**2 + 3 * config.dim * config.ffn_dim
    token = 2 * (config.layers * layer + config.dim * config.vocab_size)
    pair = 4 * config.layers * config.dim
    assert run.flops is not None
    assert run.flops["prefill"] == 3 * (token + pair)
    assert run.flops["step"] == 3 * ((L - 1) * token + pair * sum(range(2, L + 1)))


def test_null_labels_make_guidance_without_effect(tiny: Tiny) -> None:
    model, codes = tiny(), _codes(2)
    condition = class_condition(model, [5, 5])
    assert (
        _forced(model, condition, codes, (4.0,) * L) - _forced(model, condition, codes, (1.0,) * L)
    ).abs().max() < 1e-5


def test_the_null_half_leaves_behind_the_last_guided_code(tiny: Tiny) -> None:
    model, codes = tiny(), _codes(2)
    condition = class_condition(model, [1, 2])
    guidance = interval_guidance(3.0, L, 2)
    assert guidance == (3.0,) * 4 + (1.0,) * 5
    found = _forced(model, condition, codes, guidance)
    assert (found[:, :4] - _full(model, condition, codes, 3.0)[:, :4]).abs().max() <= 1e-4
    assert (found[:, 4:] - _full(model, condition, codes, 1.0)[:, 4:]).abs().max() <= 1e-4
    run = generate(model, condition, LlamaGenOptions(guidance=3.0, guidance_interval=2))
    assert dict(run.stats.row_forwards) == {"prefill": 4, "step": 3 * 4 + 5 * 2}
    assert dict(run.stats.forwards) == {"prefill": 1, "step": L - 1}


def test_guidance_of_single_codes_keeps_the_null_half_up_to_them(tiny: Tiny) -> None:
    model, codes = tiny("text"), _codes(3)
    condition = text_condition(model, _texts(2, 6, 4))
    guidance = [1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    found = _forced(model, condition, codes, guidance)
    for place, scale in enumerate(guidance):
        assert (found[:, place] - _full(model, condition, codes, scale)[:, place]).abs().max() <= 1e-4


def test_rows_of_the_grid_are_handed_over_as_they_are_drawn(tiny: Tiny) -> None:
    model, rows = tiny(), []
    run = generate(
        model, class_condition(model, [1, 2]), LlamaGenOptions(), on_row=lambda r, codes: rows.append((r, codes))
    )
    assert [row for row, _ in rows] == [0, 1, 2]
    for row, codes in rows:
        assert torch.equal(codes, run.codes[:, : 3 * (row + 1)])
    assert run.stats.generated == [L, L]
    assert run.stats.tokens_per_forward == 1.0


def test_an_interval_beyond_the_image_guides_all() -> None:
    assert interval_guidance(2.0, 4, 3) == interval_guidance(2.0, 4, 90) == interval_guidance(2.0, 4) == (2.0,) * 4
    with pytest.raises(ConfigError, match="interval is -1"):
        interval_guidance(2.0, 4, -1)


@pytest.mark.parametrize("label", [-1, 6])
def test_classes_out_of_range_are_refused(tiny: Tiny, label: int) -> None:
    with pytest.raises(DataError, match=f"label {label} was given: classes run from 0 to 4, and 5 stands for no class"):
        class_condition(tiny(), [0, label])


def test_conditions_of_the_other_kind_are_refused(tiny: Tiny) -> None:
    with pytest.raises(DataError, match="give text features"):
        class_condition(tiny("text"), [0])
    with pytest.raises(DataError, match="give classes"):
        text_condition(tiny(), _texts(2))
    with pytest.raises(DataError, match=r"must be \[n, 12\]"):
        text_condition(tiny("text"), _texts(2, width=7))


def test_guidance_without_a_null_condition_is_refused(tiny: Tiny) -> None:
    model = tiny()
    condition = RasterCondition(class_condition(model, [0]).given)
    with pytest.raises(ConfigError, match="needs the null condition"):
        generate(model, condition, LlamaGenOptions(guidance=2.0))


def test_weights_that_are_no_numbers_are_refused(tiny: Tiny) -> None:
    model = tiny()
    with torch.no_grad():
        model.layers[1].ffn.down.weight[0, 0] = torch.nan
    with pytest.raises(NumericsError, match="not numbers"):
        generate(model, class_condition(model, [0, 1]), LlamaGenOptions())
