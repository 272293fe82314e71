"""The benchmark of image sampling: all arms agree, counters are exact, a wrong arm is not timed."""

import dataclasses

import pytest
import torch

L, BATCH = 9, 2


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"image_sampling.{name}")


@pytest.fixture
def case(module):
    return next(iter(module("parts").dry()))


def test_all_arms_agree_and_are_counted(module, case):
    row = module("measuring").measured(case, repeats=1, device="cpu", ceiling=None)
    assert row["error"] == ""
    counters = row["counters"]
    assert set(counters) == set(row["seconds"]) == {
        "windowed cache", "concatenating cache", "no cache", "windowed cache, no guidance",
    }  # fmt: skip
    for name, counted in counters.items():
        rows = BATCH if name == "windowed cache, no guidance" else 2 * BATCH
        assert counted["forwards"] == {"prefill": 1, "step": L - 1}
        assert counted["row_forwards"] == {"prefill": rows, "step": rows * (L - 1)}
    assert counters["concatenating cache"]["flops"] == counters["windowed cache"]["flops"]
    assert 2 * counters["windowed cache, no guidance"]["flops"] == counters["windowed cache"]["flops"]
    # Layers over 1 + 2 + ... + L positions in place of L; the head runs once a code in both.
    layers = {name: counted["flops"] - 2 * BATCH * L * 2 * 32 * 24 for name, counted in counters.items()}
    assert layers["no cache"] > 4.5 * layers["windowed cache"]
    assert module("measuring").markdown_table({"rows": [row]}).count("\n") == 2 + 4


def test_arms_of_next_scale_models_agree_and_are_counted(module):
    _, case = module("parts").dry()
    row = module("measuring").measured(case, repeats=1, device="cpu", ceiling=None)
    assert row["error"] == ""
    counters = row["counters"]
    for name, counted in counters.items():
        rows = BATCH if name == "windowed cache, no guidance" else 2 * BATCH
        assert counted["forwards"] == {"scale": 3}
        assert counted["row_forwards"] == {"scale": 3 * rows}
    assert counters["concatenating cache"]["flops"] == counters["windowed cache"]["flops"]
    # The head of scale 0 runs for the conditional half alone in both: there the ramp has no guidance yet.
    first = BATCH * (2 * 32 * 24 + 2 * 32 * 64)
    assert 2 * counters["windowed cache, no guidance"]["flops"] == counters["windowed cache"]["flops"] + first
    # 1 + 5 + 21 tokens through the layers in place of 1 + 4 + 16.
    assert counters["no cache"]["flops"] > 1.2 * counters["windowed cache"]["flops"]


def test_an_arm_that_draws_other_codes_has_no_times(module, case):
    right = case.arms["concatenating cache"]

    def wrong(count_flops):
        drawn = right(count_flops)
        return dataclasses.replace(drawn, codes=drawn.codes.flip(1))

    row = module("measuring").measured(
        dataclasses.replace(case, arms={**case.arms, "concatenating cache": wrong}),
        repeats=1,
        device="cpu",
        ceiling=None,
    )
    assert row["error"].endswith("codes with concatenating cache are not those of the windowed cache")
    assert not {"seconds", "ratios"} & row.keys()
    assert "not timed" in module("measuring").markdown_table({"rows": [row]})


def test_an_arm_that_runs_other_passes_has_no_times(module, case):
    arms = {**case.arms, "no cache": lambda count: more(case.arms["no cache"](count))}

    def more(drawn):
        with drawn.stats.forward("step", 1, 1):
            pass
        return drawn

    row = module("measuring").measured(dataclasses.replace(case, arms=arms), repeats=1, device="cpu", ceiling=None)
    assert row["error"] == "not timed: no cache runs other passes than the windowed cache"


def test_the_null_half_leaves_the_other_caches_too(module):
    """Arms agree where guidance ends before the image does."""
    from ar_vision.backbones.llamagen.config import LlamaGenConfig
    from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate
    from ar_vision.backbones.llamagen.model import LlamaGen

    arms = module("llamagen_arms")
    model = LlamaGen(LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=5)).eval()
    condition = class_condition(model, [0, 1])
    options = LlamaGenOptions(guidance=3.0, guidance_interval=2)
    expected = generate(model, condition, options).codes
    for wrapped in (arms.Concatenating(model, 2), arms._Recomputing(model, 2)):
        assert torch.equal(generate(wrapped, condition, options).codes, expected)


def test_the_command_line(module, benchmark_module, monkeypatch, capsys, tmp_path):
    parts = module("parts")
    monkeypatch.setattr(parts, "PARTS", {"tiny": ("cpu", parts.dry)})
    monkeypatch.setattr(benchmark_module("timing"), "ceilings", lambda device, dtype: {})
    monkeypatch.setattr("ar_core.allocator.keep_freed_memory", lambda: True)
    threads = str(torch.get_num_threads())
    for arguments in (
        ["run", "--part", "tiny", "--repeats", "1", "--threads", threads, "--results", str(tmp_path)],
        ["table", "--results", str(tmp_path)],
    ):
        monkeypatch.setattr("sys.argv", ["image_sampling", *arguments])
        assert module("__main__").main() == 0
    assert [file.name for file in tmp_path.iterdir()] == ["image_sampling_tiny.json"]
    assert "| concatenating cache |" in capsys.readouterr().out
