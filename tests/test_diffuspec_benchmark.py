"""The benchmark of DiffuSpec: what drafters are trained on, what is counted, and what the tables say."""

import json
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
import torch
from ar_core.errors import CheckpointError, DataError
from ar_core.hf import first_layers
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_core.verification import PassCost
from ar_decode.session import load_session
from ar_quickstart.shipped import shipped_weights
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint, save_checkpoint

COST = PassCost((1, 64), (1.0, 1.5), context=8)


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"diffuspec.{name}")


@pytest.fixture(scope="module")
def session():
    return load_session(str(shipped_weights("ar")), dtype="float32")


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The first two layers of the shipped conversion, with its mask token."""
    whole = load_checkpoint(shipped_weights("fast_dllm_v2"), dtype=torch.float32)
    folder = tmp_path_factory.mktemp("drafters") / "cut"
    save_checkpoint(
        first_layers(whole.model, 2),
        folder,
        diffusion_block_size=whole.diffusion_block_size,
        sub_block_size=whole.sub_block_size,
        mask_id=whole.mask_id,
        tokenizer=whole.tokenizer,
    )
    return folder


@pytest.fixture
def trained(module, cut, tmp_path):
    found = module("trained").Trained(
        name="toy",
        verifier=str(shipped_weights("ar")),
        drafters={"full": shipped_weights("fast_dllm_v2"), "cut": cut},
        layout="fast_dllm_v2",
        proxy=tmp_path / "proxy.safetensors",
        command="train toy",
    )
    module("trained").fit_in_domain([[1, 20, 21, 22, 2], [1, 20, 22, 2]], found.proxy, vocab_size=85)
    return found


def test_prompts_of_training_alternate_and_are_asked_nowhere_else(module, tmp_path):
    def write(name, *records):
        module("trained").write_jsonl(tmp_path / name, records)

    def instruction(text, given=""):
        return {"instruction": text, "instances": [{"input": given, "output": "-"}]}

    write("spec_bench.jsonl", {"turns": ["Asked in Spec-Bench. ", "a second turn"]})
    write(
        "instruct_seed_tasks.jsonl",
        instruction("Do.", "this"),
        instruction("Asked in Spec-Bench."),
        instruction("x" * 601),
    )
    write("instruct_user_oriented.jsonl", instruction("Last."), instruction("Last."))
    import gzip

    with gzip.open(tmp_path / "gsm8k_train.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps({"question": f"{n} + 1?"}) + "\n" for n in range(5)))
    prompts = module("answers").training_prompts(tmp_path, 6)
    assert prompts == ["Do.\n\nthis", "0 + 1?", "1 + 1?", "2 + 1?", "Last.", "3 + 1?"]
    assert module("answers").training_prompts(tmp_path, 2) == prompts[:2]


def test_only_an_answer_that_ended_teaches_the_end(module, session):
    record = module("answers").training_record
    ended = record(session.tokenizer, {"prompt": "12+34?", "output": "46", "finish": "stop_id"})
    assert ended == {"prompt": "<bos>12+34?\n", "completion": "46<eos>"}
    assert record(session.tokenizer, {"prompt": "1?", "output": "46", "finish": "length"})["completion"] == "46"


def test_the_verifier_answers_once(module, session, tmp_path):
    answers = tmp_path / "answers.jsonl"
    write, read = module("answers").write_answers, module("answers").answered
    write(
        session,
        ["size:52, item:lamps, order:48, name:kim, city:oslo?", "12+34?"],
        answers,
        max_new_tokens=4,
        batch_size=2,
    )
    found = read(answers)
    # The shorter one first; the commands's own file of prompts lies beside it.
    assert [line["prompt"][:2] for line in found] == ["12", "si"]
    assert all(len(line["tokens"]) == 4 for line in found)
    kept = answers.read_bytes()
    write(None, [], answers, max_new_tokens=4, batch_size=2)
    assert answers.read_bytes() == kept
    answers.write_text('{"output": "", "tokens": []}\n' + kept.decode())
    assert len(read(answers)) == 2


def test_both_drafters_of_the_tasks_come_from_one_base_by_one_recipe(module, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        module("tasks"), "train_conversion", lambda *given, **how: asked.append((given, how)) or ("b", "c")
    )
    assert module("tasks").train(3, tmp_path, method="efficient_dlm", overrides=("train.steps=5",))
    assert [given for given, _ in asked] == [(3, tmp_path / "tasks")] * 2
    assert [(how["method"], how["variant"], how["overrides"]) for _, how in asked] == [
        ("efficient_dlm", "", ("train.steps=5",)),
        ("efficient_dlm", "2_layers", ("model.layers=2", "train.steps=5")),
    ]
    paths = module("tasks").paths(3, tmp_path, method="efficient_dlm")
    assert paths.proxy.is_file()
    assert [folder.parent.name for folder in paths.drafters.values()] == ["efficient_dlm", "efficient_dlm-2_layers"]
    monkeypatch.setattr(module("tasks"), "train_conversion", lambda *given, **how: None)
    assert not module("tasks").train(3, tmp_path, method="efficient_dlm")


def test_the_configs_of_smollm2_are_valid_and_save_every_minute(module):
    smollm2 = module("smollm2")
    found = {
        name: read_run_config(
            recipe("fast_dllm_v2"), "smollm2_135m", [*smollm2.COMMON, "data.path=records.jsonl", *budget]
        )
        for name, budget in smollm2.BUDGETS.items()
    }
    assert found["full"].model.layers is None
    assert found["full"].model.lora is not None
    assert (found["cut"].model.layers, found["cut"].model.lora) == (10, None)
    found["assistant"] = read_run_config(
        recipe("autoregressive"),
        "smollm2_135m_finetune",
        [*smollm2.COMMON, "data.path=records.jsonl", *smollm2.ASSISTANT],
    )
    assert (found["assistant"].model.layers, found["assistant"].model.lora) == (10, None)
    for run in found.values():
        assert run.model.dtype == "float32"
        assert run.train.checkpoint_every_seconds == 60
        assert run.train.steps % run.train.eval_every == 0
        assert (run.data.append_eos, run.data.fields) == (False, {})


def test_every_arm_is_lossless_and_its_costs_add_up(module, session, trained, tmp_path):
    arms = module("arms").build_arms(
        session,
        trained,
        tree_nodes=6,
        proxies=module("arms").PROXIES,
        policies=module("arms").POLICIES,
        costs=dict.fromkeys(trained.drafters, (COST, COST)),
        settings={"draft_length": 8},
    )
    assert len(arms) == 3 + 2 * 2 * 2 * 2
    ticks = []
    results = module("measuring").measure(
        session,
        trained,
        arms,
        module("tasks").problems(session, 2),
        tmp_path / "journal.jsonl",
        max_new_tokens=24,
        data="toy",
        progress=lambda: ticks.append(1),
    )
    assert len(ticks) == 2 * len(arms)
    rows = {row["name"]: row for row in results["rows"]}
    assert all(row["identical"] == 1.0 for row in rows.values())
    ar = rows["ar"]
    assert ar["costs_per_token"]["drafter_forwards"] == 0
    assert ar["costs_per_token"]["verifier_forwards"] == pytest.approx(1, abs=0.05)
    full, small = (rows[f"path, {name}, in-domain n-gram, paper"] for name in ("full", "cut"))
    for row in (full, small):
        costs = row["costs_per_token"]
        assert costs["flops"] == costs["verifier_flops"] + costs["drafter_flops"]
        assert costs["drafter_forwards"] > 0
        assert costs["verifier_forwards"] == pytest.approx(row["nfe"] / row["generated_tokens"])
    assert full["tokens_per_forward"] > 2
    per_pass = [
        row["costs_per_token"]["drafter_flops"] / row["costs_per_token"]["drafter_tokens"] for row in (full, small)
    ]
    assert per_pass[1] < 0.7 * per_pass[0]
    assert results["drafters"]["cut"]["layers"] == 2
    kinds = ar["by_category"]
    assert all(kind["identical"] == 1.0 and kind["speed"] == 1.0 for kind in kinds.values())
    # Nothing in it is a folder of this machine.
    assert str(tmp_path.parent) not in json.dumps(results)
    tables = module("plotting")
    assert "| ar | 100.0 % | " in tables.markdown_table([results])
    assert tables.category_table([results]).count("\n") == 2 + len(arms)
    ElementTree.fromstring(tables.figure([results]))


def test_costs_are_timed_once_and_then_read(module, session, trained, monkeypatch, tmp_path):
    arms, notes = module("arms"), tmp_path / "costs.json"
    timed = []
    monkeypatch.setattr(arms, "measure_costs", lambda *models: timed.append(models) or (COST, PassCost((1,), (0.5,))))
    first = arms.known_costs(session, trained, {}, notes)
    assert first == dict.fromkeys(("full", "cut"), (COST, PassCost((1,), (0.5,))))
    assert [drafter.config.num_hidden_layers for _, drafter in timed] == [4, 2]
    monkeypatch.setattr(arms, "measure_costs", None)
    assert arms.known_costs(session, trained, {}, notes) == first


def result(tokens, flops, seconds):
    def row(name, **changed):
        part = {"tokens_per_forward": 1.0, "speed": 1.0, "identical": 1.0}
        costs = {"verifier_forwards": 1.0, "drafter_forwards": 0.0, "flops": 100.0}
        base = {**part, "name": name, "costs_per_token": costs, "seconds": 10.0, "seconds_by_phase": {"step": 10.0}}
        return {**base, "by_category": {"qa": part, "rag": {**part, "speed": tokens}}, **changed}

    drafted = row(
        "path, full, uniform, paper",
        tokens_per_forward=tokens,
        costs_per_token={"verifier_forwards": 1 / tokens, "drafter_forwards": 0.5, "flops": flops},
        seconds=seconds,
        seconds_by_phase={"draft": 4.0, "search": 1.0, "verify": 5.0},
    )
    return {"rows": [row("ar"), drafted]}


def test_tables_are_means_over_seeds(module):
    tables, results = module("plotting"), [result(2.0, 300.0, 10.0), result(4.0, 100.0, 10.0)]
    assert (
        "| path, full, uniform, paper | 100.0 % | 3.00 | 0.375 | 0.500 | 2.00 | 1.00 | 40 %, 10 %, 50 % |"
        in tables.markdown_table(results)
    )
    assert "| ar | 100.0 % | 1.00 | 1.000 | 0.000 | 1.00 | 1.00 | 0 %, 0 %, 100 % |" in tables.markdown_table(results)
    assert "| path, full, uniform, paper | 1.00, 1.00 | 1.00, 3.00 |" in tables.category_table(results)
    points = ElementTree.fromstring(tables.figure(results)).iter("{http://www.w3.org/2000/svg}circle")
    assert len(list(points)) == 2


def test_what_is_missing_is_named(module, monkeypatch, capsys, tmp_path):
    main = module("__main__").main
    for arguments, says in (
        (
            ["measure", "tasks", "--seed", "4"],
            "run `python -m benchmarks.diffuspec train tasks --seed 4 --method fast_dllm_v2` first",
        ),
        (["measure", "smollm2_135m"], "run `python -m benchmarks.diffuspec train smollm2_135m` first"),
        (["plot", "tasks", "--output", str(tmp_path / "none")], "measure first"),
    ):
        monkeypatch.setattr("sys.argv", ["diffuspec", *arguments, "--runs", str(tmp_path)])
        assert main() == 2
        assert says in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="is not there"):
        module("trained").require(SimpleNamespace(drafters={}, proxy=tmp_path / "no", command="x"))


def test_data_folder_is_asked_for(benchmark_module, monkeypatch):
    monkeypatch.delenv("AR_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="AR_DATA_DIR is not set"):
        benchmark_module("data").text_folder()
