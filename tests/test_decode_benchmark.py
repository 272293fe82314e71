"""The benchmark of decode speed: every kind of row is as scripted, a wrong one is not timed."""

import dataclasses

import pytest
import torch
from ar_core.hf import build_backbone

CEILING = {"bytes_per_second": 1e9, "flops_per_second": 1e9}


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"decode.{name}")


@pytest.fixture
def cases(module):
    """The dry run's, by label, in the engine of fixed shapes, one batch size each."""
    found = [case for case in module("parts").dry() if case.engine == "eager" or "without" in case.name]
    return {getattr(case, "label", None) or case.method.label: case for case in found}


def measured(module, case):
    return module("parts").measured(case, repeats=1, device="cpu", ceiling=CEILING)


def test_every_method_does_what_its_script_says(module, cases):
    rows = {name: measured(module, case) for name, case in cases.items() if case.name.startswith("method")}
    assert set(rows) == {
        "ar", "ar without fixed shapes", "fast_dllm_v2", "fast_dllm_v2, sub-block cache", "fast_dllm_v2, fused commit",
        "efficient_dlm", "efficient_dlm, fused commit", "efficient_dlm, self-speculation", "lookup", "jacobi", "recycling",
        "multi_block", "multi_block, recycling", "diffuspec", "diffuspec, tree of 32",
    }  # fmt: skip
    for row in rows.values():
        assert row["error"] == ""
        assert row["tokens_per_forward"] == pytest.approx(row["scripted_tokens_per_forward"])
        assert row["tokens_per_second"] > 0
    assert rows["ar"]["of_bandwidth"] > 0
    assert "speedup" not in rows["ar"]
    assert rows["lookup"]["tokens_per_forward"] == 2
    assert rows["lookup"]["conversion"] == pytest.approx(rows["lookup"]["speedup"] / 2, abs=1e-3)
    # Blocks of 8 in 4 passes each, a commit behind each but the last; the first token is the prefill's.
    assert rows["fast_dllm_v2"]["tokens_per_forward"] == pytest.approx(15 / 9)
    assert rows["efficient_dlm, fused commit"]["tokens_per_forward"] == 2
    assert rows["diffuspec"]["drafter"]["forwards"] > 0
    assert module("rendering").markdown_table({"rows": list(rows.values())}).count("\n") == 2 + len(rows)


def test_every_pass_is_what_hugging_face_computes(module, cases):
    rows = [measured(module, case) for case in cases.values() if case.name.startswith("pass")]
    assert len(rows) == 14
    for row in rows:
        assert row["error"] == ""
        assert row["one_token_passes"] > 0
        assert row["of_huggingface"] > 0
        assert row["seconds"].keys() == {"one token", "pass", "Hugging Face"}
    assert {row["tokens"] for row in rows} >= {1, 4, 8, 16}
    assert module("rendering").markdown_table({"rows": rows}).count("\n") == 2 + len(rows)


@pytest.mark.parametrize(
    "label", ["lookup or Jacobi, verification of 8", "Fast-dLLM v2 block of 8", "Jacobi, recycling tree"]
)
def test_a_pass_with_one_key_too_many_or_too_few_has_no_times(module, cases, label):
    case = cases[label]

    def build(backbone, context, batch):
        asked = case.build(backbone, context, batch)
        n = asked.length
        allowed = torch.ones(n, context + n, dtype=torch.bool).tril(context)
        allowed = allowed if asked.allowed is None else asked.allowed.clone()
        allowed[0, context + n - 1] ^= True
        return dataclasses.replace(asked, allowed=allowed)

    row = measured(module, dataclasses.replace(case, build=build))
    assert row["error"].startswith("not timed: logits ")
    assert not {"seconds", "one_token_passes", "of_huggingface"} & row.keys()
    assert "not timed" in module("rendering").markdown_table({"rows": [row]})


def test_a_method_with_other_tokens_or_another_rate_has_no_times(module, cases):
    case = cases["lookup"]

    def other(backbone, prompts, count):
        decoded = case.method.decode(backbone, prompts, count)
        decoded.tokens[0][-1] += 1
        return decoded

    for change, message in (
        ({"decode": other}, "1 of 2 outputs are not AR's"),
        ({"tokens_per_forward": 2.5}, "2.000 tokens per forward, and the script says 2.500"),
    ):
        row = measured(module, dataclasses.replace(case, method=dataclasses.replace(case.method, **change)))
        assert message in row["error"]
        assert not {"seconds", "speedup", "conversion"} & row.keys()
        assert "not timed" in module("rendering").markdown_table({"rows": [row]})


def test_scripted_drafts_are_right_for_so_many_tokens(module):
    scripted = module("script").scripted
    for parents in (None, (-1, 0, -1, 2, -1), (-1, -1, -1), (-1, 0, 1, 2, 0, 4)):
        length = 5 if parents is None else len(parents)
        for right in range(7):
            draft = scripted(length, parents, right, 7, 61)
            assert len(draft.accepted([7] * (len(draft) + 1))) == right
            assert len(draft) >= length
            assert draft.tokens == scripted(length, parents, right, 7, 61).tokens


def test_bytes_of_a_step_leave_out_an_embedding_that_is_only_looked_up(module):
    models, parts = module("models"), module("parts")
    bytes_of = {}
    for tied in (True, False):
        sizes = dataclasses.replace(parts.TINY, tied=tied)
        bytes_of[tied] = models.weight_bytes(build_backbone(models.random_model(sizes, torch.float32, "cpu"), "plain"))
    assert bytes_of[True] == bytes_of[False]
    assert bytes_of[True] > 4 * parts.TINY.vocab * parts.TINY.hidden


def test_the_twin_has_the_same_weights_and_its_own_attention(module):
    models = module("models")
    model = models.random_model(module("parts").TINY, torch.float32, "cpu")
    other = models.twin(model)
    build_backbone(model, "plain")
    assert [one.data_ptr() for one in model.parameters()] == [one.data_ptr() for one in other.parameters()]
    assert (model.config._attn_implementation, other.config._attn_implementation) == ("ar_core", "sdpa")


def test_the_command_line_measures_rows_of_both_kinds(module, benchmark_module, monkeypatch, capsys, tmp_path):
    parts = module("parts")
    few = [
        case for case in parts.dry() if case.engine == "plain" and case.name.startswith(("method: lookup", "pass: AR"))
    ]
    monkeypatch.setattr(parts, "PARTS", {"tiny": ("cpu", lambda: few)})
    monkeypatch.setattr("ar_core.allocator.keep_freed_memory", lambda: True)
    monkeypatch.setattr(benchmark_module("timing"), "ceilings", lambda device, dtype: CEILING)
    threads = str(torch.get_num_threads())
    for arguments in (
        ["run", "--part", "tiny", "--repeats", "1", "--threads", threads, "--results", str(tmp_path)],
        ["table", "--results", str(tmp_path)],
    ):
        monkeypatch.setattr("sys.argv", ["decode", *arguments])
        assert module("__main__").main() == 0
    assert [file.name for file in tmp_path.iterdir()] == ["decode_speed_tiny.json"]
    shown = capsys.readouterr().out
    assert "pass: AR step, tiny, float32, plain, packed, batch 1, context 32: " in shown
    assert "| lookup | tiny | float32, plain, packed | 2 | 2.00 | 2.00 |" in shown
