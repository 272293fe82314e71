"""What must hold of VAR and FlexVAR whatever their weights are."""

import math
from collections import Counter

import pytest
import torch
from ar_core.attention import attend
from ar_core.errors import ConfigError
from ar_vision.backbones import adaln
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.scale_history import teacher_inputs

SCHEDULE = ScaleSchedule.square(1, 2, 3, 4)
OTHER = ScaleSchedule.of([[1, 1], [2, 2], [2, 3], [5, 5]])

CASES = {
    "var": ("var", SCHEDULE, {}),
    "var, no l2 norm": ("var", SCHEDULE, {"l2_norm": False, "width": 64, "heads": 1}),
    "var, shared adaLN": ("var", SCHEDULE, {"shared_adaln": True}),
    "flexvar": ("flexvar", SCHEDULE, {}),
    "flexvar, another schedule": ("flexvar", OTHER, {}),
}


@pytest.fixture(params=CASES)
def case(request, make_var, make_flexvar, var_tokenizer, vq_tokenizer):
    """A model, its tokenizer and a schedule."""
    kind, schedule, settings = CASES[request.param]
    if kind == "var":
        return make_var(**settings), var_tokenizer, schedule
    return make_flexvar(**settings), vq_tokenizer, schedule


def teacher_logits(model, tokenizer, schedule, codes, labels):
    condition = model.condition(labels)
    inputs = teacher_inputs(tokenizer.history(len(labels), schedule), codes)
    return schedule.split(model.head(model.teacher_forced(condition, inputs, schedule), condition))


def forced_logits(model, tokenizer, schedule, codes, labels, guidance=None, null=None, flops=None):
    """Logits of cached passes, scale by scale, while codes are given."""
    seen = []

    def pick(scale, logits, generators):
        seen.append(logits)
        return codes[scale]

    null = model.null_condition(len(labels)) if null is None else null
    passes = ScalePasses(model, model.condition(labels), null, schedule, guidance or [1.0] * schedule.count)
    _, stats = generate_scales(passes, tokenizer.history(len(labels), schedule), pick, flops=flops)
    return seen, stats


LABELS = torch.tensor([1, 4, 5])


@torch.no_grad()
def test_cached_passes_give_the_logits_of_one_masked_pass(case, random_codes):
    model, tokenizer, schedule = case
    codes = random_codes(schedule, 3)
    whole = teacher_logits(model, tokenizer, schedule, codes, LABELS)
    cached, _ = forced_logits(model, tokenizer, schedule, codes, LABELS)
    assert whole[0].std() > 0.1
    for one, other in zip(whole, cached, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@torch.no_grad()
def test_codes_of_a_scale_change_no_logits_up_to_it(case, random_codes):
    model, tokenizer, schedule = case
    codes = random_codes(schedule, 3)
    before = teacher_logits(model, tokenizer, schedule, codes, LABELS)
    for k in range(schedule.count):
        changed = [c if i != k else (c + 1) % 24 for i, c in enumerate(codes)]
        after = teacher_logits(model, tokenizer, schedule, changed, LABELS)
        for i in range(schedule.count):
            assert torch.equal(before[i], after[i]) == (i <= k)


@torch.no_grad()
def test_flexvar_feeds_a_scale_with_the_one_before_it_alone(vq_tokenizer, var_tokenizer, random_codes):
    codes = random_codes(SCHEDULE, 2)
    for tokenizer, remembers in ((vq_tokenizer, False), (var_tokenizer, True)):
        before = teacher_inputs(tokenizer.history(2, SCHEDULE), codes)
        changed = [(codes[0] + 1) % 24, *codes[1:]]
        after = teacher_inputs(tokenizer.history(2, SCHEDULE), changed)
        assert [not torch.equal(one, other) for one, other in zip(before, after)] == [True, remembers, remembers]


@torch.no_grad()
def test_all_backends_agree(case, random_codes, monkeypatch):
    model, tokenizer, schedule = case
    codes, found = random_codes(schedule, 3), {}
    for backend in ("sdpa", "segments", "flex_uncompiled"):
        monkeypatch.setattr(
            adaln, "attend", lambda q, k, v, mask, *, scale, b=backend: attend(q, k, v, mask, scale=scale, backend=b)
        )
        found[backend] = torch.cat(teacher_logits(model, tokenizer, schedule, codes, LABELS), dim=1)
    torch.testing.assert_close(found["segments"], found["sdpa"], atol=1e-4, rtol=0)
    torch.testing.assert_close(found["flex_uncompiled"], found["sdpa"], atol=1e-4, rtol=0)


def test_the_mask_is_made_once_a_schedule():
    mask = scale_mask(SCHEDULE, torch.device("cpu"))
    assert mask is scale_mask(ScaleSchedule.square(1, 2, 3, 4), torch.device("cpu"))
    ids = SCHEDULE.scale_ids()
    assert torch.equal(mask.dense()[0, 0], ids[:, None] >= ids[None, :])


@torch.no_grad()
def test_shut_gates_make_every_block_the_identity(case):
    model, _, schedule = case
    for block in model.blocks:
        if hasattr(block.modulation, "linear"):
            for tensor in (block.modulation.linear.weight, block.modulation.linear.bias):
                tensor.unflatten(0, (6, -1))[:2] = 0
        else:
            for part in (model.shared.linear.weight, model.shared.linear.bias):
                part.unflatten(0, (6, -1))[:2] = 0
            block.modulation.offset[:, :, :2] = 0
    x = torch.randn(3, schedule.total, model.config.width)
    mask = scale_mask(schedule, x.device)
    assert torch.equal(model.hidden(x, model.condition(LABELS), scale=None, schedule=schedule, mask=mask), x)


@torch.no_grad()
def test_temperatures_are_cut_off_at_a_hundred(make_var, var_tokenizer, random_codes):
    codes, logits = random_codes(SCHEDULE, 3), {}
    for log_scale in (math.log(50), math.log(100), math.log(101), 30.0):
        model = make_var()
        for block in model.blocks:
            block.attention.log_scale.fill_(log_scale)
        logits[log_scale] = torch.cat(teacher_logits(model, var_tokenizer, SCHEDULE, codes, LABELS), dim=1)
    assert torch.equal(logits[math.log(101)], logits[30.0])
    torch.testing.assert_close(logits[math.log(100)], logits[30.0], atol=1e-5, rtol=0)
    assert not torch.allclose(logits[math.log(50)], logits[30.0], atol=1e-3)


@torch.no_grad()
def test_without_guidance_the_null_half_is_never_run(case, random_codes):
    model, tokenizer, schedule = case
    codes, ones = random_codes(schedule, 3), [1.0] * schedule.count
    alone, stats = forced_logits(model, tokenizer, schedule, codes, LABELS, ones)
    assert stats.row_forwards == {"scale": 3 * schedule.count}
    passes = ScalePasses(model, model.condition(LABELS), None, schedule, ones)
    seen = []
    generate_scales(passes, tokenizer.history(3, schedule), lambda k, logits, g: (seen.append(logits), codes[k])[1])
    assert all(torch.equal(one, other) for one, other in zip(seen, alone, strict=True))
    guided, stats = forced_logits(model, tokenizer, schedule, codes, LABELS, [1.0] * (schedule.count - 1) + [2.0])
    assert stats.row_forwards == {"scale": 6 * schedule.count}
    for k, (one, other) in enumerate(zip(guided, alone, strict=True)):
        close = torch.allclose(one, other, atol=1e-4)
        assert close == (k < schedule.count - 1)


@torch.no_grad()
def test_the_null_half_leaves_behind_the_last_guided_scale(case, random_codes):
    model, tokenizer, schedule = case
    codes, null = random_codes(schedule, 3), torch.full((3,), 5)
    found, stats = forced_logits(model, tokenizer, schedule, codes, LABELS, [1.0, 3.0, 1.0, 1.0])
    assert stats.row_forwards == {"scale": 2 * 6 + 2 * 3}
    given, free = (teacher_logits(model, tokenizer, schedule, codes, labels) for labels in (LABELS, null))
    expected = [given[0], free[1] + 3 * (given[1] - free[1]), *given[2:]]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@torch.no_grad()
def test_without_guidance_half_the_operations_run(case, random_codes):
    model, tokenizer, schedule = case
    codes, counted = random_codes(schedule, 3), {}
    for scale in (1.0, 2.0):
        counted[scale] = Counter()
        forced_logits(model, tokenizer, schedule, codes, LABELS, [scale] * schedule.count, flops=counted[scale])
    assert counted[1.0]["scale"] > 0
    assert 2 * counted[1.0]["scale"] == counted[2.0]["scale"]


@torch.no_grad()
def test_guidance_changes_nothing_where_both_halves_have_no_class(case, random_codes):
    model, tokenizer, schedule = case
    codes, null = random_codes(schedule, 2), torch.tensor([5, 5])
    weak, _ = forced_logits(model, tokenizer, schedule, codes, null, [1.5] * schedule.count)
    strong, _ = forced_logits(model, tokenizer, schedule, codes, null, [7.0] * schedule.count)
    for one, other in zip(weak, strong, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_the_first_loss_is_that_of_chance(case, random_codes):
    model, tokenizer, schedule = case
    model.initialize(torch.Generator().manual_seed(1))
    codes = random_codes(schedule, 8)
    labels = torch.arange(8) % 6
    with torch.no_grad():
        logits = torch.cat(teacher_logits(model, tokenizer, schedule, codes, labels), dim=1)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.cat(codes, dim=1).flatten())
    assert loss.item() == pytest.approx(math.log(24), abs=0.05)


def test_fresh_weights_depend_on_the_generator_alone(make_var):
    models = [make_var(shared_adaln=shared) for shared in (True, True, False)]
    for model in models:
        model.initialize(torch.Generator().manual_seed(5), gate=1e-5)
    first, second, separate = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    std = (1 / 32 / 3) ** 0.5
    assert separate["word_embed.weight"].std().item() == pytest.approx(std, rel=0.2)
    assert separate["blocks.0.ffn.fc2.weight"].std().item() == pytest.approx(std / 2, rel=0.1)
    assert separate["head.linear.weight"].std().item() == pytest.approx(std * 0.02, rel=0.1)
    gates, others = separate["blocks.1.modulation.linear.weight"].unflatten(0, (6, -1)).split([2, 4])
    assert gates.std().item() == pytest.approx(std * 1e-5, rel=0.1)
    assert others.std().item() == pytest.approx(std / 2, rel=0.1)
    assert first["blocks.1.modulation.offset"][0, 0, :2].std().item() == pytest.approx(32**-0.5 * 1e-5, rel=0.4)
    assert not separate["blocks.0.attention.proj.bias"].any()


def test_a_var_is_tied_to_its_schedule(make_var):
    model = make_var()
    with pytest.raises(ConfigError, match="the scales 1,2,4 were asked of a VAR that was made for 1,2,3,4"):
        model.embed(0, None, model.condition(LABELS), ScaleSchedule.square(1, 2, 4))


def test_the_head_as_one_matrix_gives_its_logits(case):
    model, _, _ = case
    hidden, condition = torch.randn(3, 7, model.config.width), model.condition(LABELS)
    states, matrix = model.head.as_matrix(hidden, condition)
    torch.testing.assert_close(matrix(states), model.head(hidden, condition), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("autocast", torch.bfloat16)])
def test_the_precision_of_the_head_under_autocast(make_var, precision, dtype):
    model = make_var(head_precision=precision)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = model.new_cache(3, 1)
        cache.window(1)
        condition = model.condition(LABELS)
        x = model.embed(0, None, condition, SCHEDULE)
        with torch.no_grad():
            hidden = model.hidden(x, condition, scale=0, schedule=SCHEDULE, cache=cache)
        assert cache.dtype == torch.bfloat16
        assert model.head(hidden, condition).dtype == dtype
        states, matrix = model.head.as_matrix(hidden, condition)
        with model.head.autocast(hidden):
            assert matrix.operands(states)[0].dtype == dtype


def test_drop_path_rises_over_the_blocks_and_rests_outside_training(make_var):
    model = make_var(depth=3, drop_path=0.5)
    assert [block.drop_path.rate for block in model.blocks] == [0, 0.25, 0.5]
    other = make_var(depth=3)
    other.set_drop_path(0.5)
    assert other.config == model.config
    assert [block.drop_path.rate for block in other.blocks] == [0, 0.25, 0.5]
    branch = torch.ones(4000, 2, 3)
    drop = model.blocks[2].drop_path
    assert drop(branch) is branch
    torch.manual_seed(0)
    dropped = drop.train()(branch)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped.amin(dim=(1, 2)), dropped.amax(dim=(1, 2)))
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
