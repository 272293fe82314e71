"""The command line: what it lists and copies, how it fails, and that it starts without torch."""

import json
import os
import subprocess
import sys

import pytest
from ar_core.registry import configs, converters, exporters, recipes
from ar_train.listing import summary

SHORT = ["train.steps=2", "train.warmup_steps=0", "train.batch_size=2", "train.eval_every=null", "data.count=40"]
HEAVY = ("torch", "transformers", "lightning", "numpy", "datasets")


def _heavy_modules(code: str) -> str:
    script = f"{code}\nprint('heavy:', *(m for m in {HEAVY!r} if m in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ran.stdout.rsplit("heavy:", 1)[1].strip()


PROBE = """
import sys
from ar_train.cli import main
sys.argv = ["ar-train", *{arguments!r}]
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["ls"], ["run", "--help"], ["fit", "--help"], ["export", "--help"], ["cat", "autoregressive/tiny"]],
    ids=" ".join,
)
def test_starts_without_torch(arguments) -> None:
    assert _heavy_modules(PROBE.format(arguments=arguments)) == ""


def test_the_import_probe_can_fail() -> None:
    assert _heavy_modules("import sys, numpy") == "numpy"


def test_ls_names_every_recipe_and_config_and_what_can_be_converted_and_exported(command) -> None:
    code, out, _ = command("ls")
    assert code == 0
    listed = [line.split("  ")[0] for line in out.splitlines()]
    expected = []
    for recipe in recipes().values():
        expected += [recipe.name, *(f"{recipe.name}/{name}" for name in configs(recipe))]
    expected += [f"convert {name}" for name in converters()]
    expected += [f"export {name}" for name in exporters()]
    assert listed == expected
    assert {"autoregressive", "autoregressive/tiny", "fast_dllm_v2", "fast_dllm_v2/tiny"} <= set(listed)
    assert all(len(line.split(maxsplit=1)) == 2 for line in out.splitlines()), "every line has a summary"


def test_export_writes_checks_and_prints_the_engines_command(command, checkpoint, tmp_path) -> None:
    code, out, _ = command("export", "sglang", str(checkpoint), str(tmp_path / "served"))
    assert code == 0
    wrote, launch = out.splitlines()
    assert "12 tensors as LlamaForCausalLM of sglang" in wrote
    assert launch == f"python -m sglang.launch_server --model-path {tmp_path / 'served'}"
    code, out, _ = command("export", "vllm", str(checkpoint), str(tmp_path / "two words"))
    assert (code, out.splitlines()[1]) == (0, f"vllm serve '{tmp_path / 'two words'}'")
    for folder in (tmp_path / "served", checkpoint):
        code, out, _ = command("verify-export", "vllm", str(folder))
        assert code == 0
        assert out.startswith("12 tensors as LlamaForCausalLM of vllm")


def test_what_cannot_be_exported_is_one_sentence(command, checkpoint, tmp_path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "config.json").write_text('{"kind": "var", "config": {}}')
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (
            ["export", "vllm", str(images), "out"],
            "holds a model of the kind 'var', and vllm 0.33.0 serves LlamaForCausalLM",
        ),
        (["export", "vllm", str(tmp_path / "empty"), "out"], "holds no config.json, and vllm 0.33.0 serves"),
        (["export", "vlm", str(checkpoint), "out"], "there is no layout for the engine 'vlm'; did you mean 'vllm'?"),
        (["export", "vllm", str(checkpoint), "out", "layout=own"], "no setting 'layout', it has none: drop it"),
        (["verify-export", "sglang", str(images)], "the architectures None are none whose loader in sglang"),
    ):
        code, out, error = command(*arguments)
        assert (code, out) == (2, "")
        assert message in error
        assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1


def test_summary_is_the_first_sentence(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# One thing,\n# in two lines. And more.\n#\n#   command\n\na: 1\n")
    assert summary(path) == "One thing, in two lines"
    path.write_text("# All of it.\na: 1\n")
    assert summary(path) == "All of it"
    path.write_text("a: 1\n")
    assert summary(path) == ""


def test_cat(command) -> None:
    recipe = recipes()["autoregressive"]
    assert command("cat", "autoregressive/tiny")[1] == configs(recipe)["tiny"].read_text()
    assert "recipe_main(RECIPE" in command("cat", "autoregressive")[1]


def test_cp(command, tmp_path) -> None:
    target = tmp_path / "new" / "mine.yaml"
    assert command("cp", "autoregressive/tiny", str(target))[0] == 0
    assert target.read_text() == command("cat", "autoregressive/tiny")[1]
    target.write_text("mine")
    code, _, error = command("cp", "autoregressive/tiny", str(target))
    assert code == 2
    assert "exists; give another destination or --force" in error
    assert target.read_text() == "mine"
    assert command("cp", "autoregressive/tiny", str(target), "--force")[0] == 0
    assert command("cp", "autoregressive", str(tmp_path))[0] == 0
    assert (tmp_path / "autoregressive.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lss"], "there is no command 'lss'; did you mean 'ls'?"),
        (["cat", "autoregresive"], "no installed package has a recipe 'autoregresive'; did you mean 'autoregressive'?"),
        (["cat", "autoregressive/tny"], "autoregressive ships no config 'tny'; did you mean 'tiny'?"),
        (["run", "autoregressive", "--config", "tny"], "ships no config 'tny'; did you mean 'tiny'?"),
        (["run", "./absent.py", "--config", "tiny"], "the recipe file './absent.py' does not exist"),
        (["run", "some/where/absent", "--config", "tiny"], "is no recipe of an installed package"),
        (["run", "autoregressive", "--config", "tiny", "train.lrr=1"], "unknown key 'train.lrr'; did you mean 'lr'?"),
        (["run", "autoregressive", "--config", "tiny", "train.lr"], "is not of the form key=value"),
        (
            ["validate", "autoregressive", "--config", "tiny", "trian.lr=1"],
            "unknown key 'trian'; did you mean 'train'?",
        ),
        (["validate", "autoregressive", "--config", "tiny", "train.lr=fast"], "train.lr is 'fast' (str)"),
        (["validate", "autoregressive", "--config", "./none.yaml"], "is no file here and no shipped config"),
        (["fit", "autoregressive", "--config", "tiny", "data.seq_len=1"], "data: seq_len is 1"),
        (["run", "autoregressive", "--config", "tiny", "--nproc", "0"], "--nproc is 0"),
        (["run", "autoregressive", "--nproc", "2", "--config", "tiny", "train.lrr=1"], "unknown key 'train.lrr'"),
        (["run", "fast_dllm_v2", "--config", "tiny", "data.seq_len=100"], "does not divide seq_len 100"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_exit_code_2(command, arguments, message) -> None:
    code, out, error = command(*arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1
    assert out == ""


@pytest.mark.parametrize("arguments", [["run", "autoregressive"], ["run", "autoregressive", "--confg", "tiny"]])
def test_bad_options_exit_with_2(command, arguments) -> None:
    code, _, error = command(*arguments)
    assert code == 2
    assert "--config" in error


def test_validate_prints_a_config_that_is_valid_itself(command, tmp_path) -> None:
    code, out, error = command("validate", "autoregressive", "--config", "tiny", "train.lr=5e-4")
    assert code == 0
    assert error.strip().endswith("valid")
    assert "lr: 0.0005" in out
    assert "shuffle_buffer: 1024" in out, "defaults are included"
    path = tmp_path / "full.yaml"
    path.write_text(out)
    assert command("validate", "autoregressive", "--config", str(path))[1] == out


@pytest.mark.parametrize(
    "reference", ["tiny", "tiny.yaml", "dlm_text/autoregressive/recipes/tiny.yaml", "absolute", "relative"]
)
def test_ways_to_name_a_config(command, tmp_path, monkeypatch, reference) -> None:
    command("cp", "autoregressive/tiny", str(tmp_path / "mine.yaml"))
    monkeypatch.chdir(tmp_path)
    config = {"absolute": str(tmp_path / "mine.yaml"), "relative": "mine.yaml"}.get(reference, reference)
    assert command("validate", "autoregressive", "--config", config)[0] == 0


def _losses(folder) -> list[float]:
    return [
        json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines() if '"loss"' in line
    ]


def test_run_and_fit_give_the_same_losses(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    losses = {}
    for verb in ("run", "fit"):
        folder = tmp_path / verb
        options = ["--config", "tiny", *SHORT, "train.log_every=1", f"train.checkpoint_dir={folder}"]
        code, _, error = command(verb, "autoregressive", *options)
        assert code == 0, error
        assert (folder / "final" / "model.safetensors").is_file()
        losses[verb] = _losses(folder)
    assert len(losses["run"]) == 2
    assert losses["run"] == pytest.approx(losses["fit"], abs=1e-6)


def test_a_run_continues_where_it_was(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ["--config", "tiny", *SHORT, f"train.checkpoint_dir={tmp_path / 'run'}"]
    assert command("run", "autoregressive", *options, "--resume", "must")[0] == 2
    assert command("run", "autoregressive", *options)[0] == 0
    code, out, _ = command("run", "autoregressive", *options, "--resume", "must")
    assert code == 0
    assert "step 2" in out


def test_a_copied_recipe_file_runs(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    command("cp", "autoregressive", "mine.py")
    for path in ("mine.py", "./mine.py", str(tmp_path / "mine.py")):
        code, out, error = command("run", path, "--config", "tiny", *SHORT)
        assert code == 0, error
        assert "finished at step 2" in out
    assert command("run", "mine.py", "--config", "tny")[0] == 2


def test_a_module_path_names_a_recipe(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, error = command("run", "dlm_text/autoregressive/recipes/autoregressive.py", "--config", "tiny", *SHORT)
    assert code == 0, error
    assert "finished at step 2" in out


def _process(*arguments: str, cwd, cache) -> subprocess.CompletedProcess:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=550)


CALL = [sys.executable, "-c", "from ar_train.cli import main; main()"]


@pytest.mark.slow
def test_one_by_eight_two_by_four_and_two_processes(command, tmp_path, monkeypatch) -> None:
    """Eight samples at once, in two micro-batches, or over two processes: the same corruption, the same losses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = ["--config", "tiny", *SHORT, "train.batch_size=8", "train.steps=4", "train.log_every=1"]
    losses = []
    for name, options in (("1x8", []), ("2x4", ["train.micro_batch_size=4"]), ("ranks", ["--nproc", "2"])):
        arguments = ["run", "fast_dllm_v2", *options, *common, f"train.checkpoint_dir={tmp_path / name}"]
        if name == "ranks":
            ran = _process(*CALL, *arguments, cwd=tmp_path, cache=tmp_path / "cache")
            assert ran.returncode == 0, ran.stderr
        else:
            code, _, error = command(*arguments)
            assert code == 0, error
        losses.append(_losses(tmp_path / name))
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0] == pytest.approx(losses[2], abs=1e-5)


@pytest.mark.slow
def test_what_fails_in_a_process_is_the_exit_code_of_all(tmp_path) -> None:
    options = ["--nproc", "2", "--config", "tiny", *SHORT, "train.batch_size=3"]
    ran = _process(*CALL, "run", "autoregressive", *options, cwd=tmp_path, cache=tmp_path / "c")
    assert ran.returncode == 2, ran.stderr
    assert "error: batch_size is 3 and the run has 2 ranks" in ran.stderr


@pytest.mark.slow
def test_tune_run_gives_the_losses_of_lightning(command, tmp_path, monkeypatch) -> None:
    """Twenty steps of one config under `tune run` and under `ar-train fit`."""
    pytest.importorskip("torchtune", reason="the package torchtune is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ["--config", "tiny", *SHORT, "train.steps=20", "train.log_every=1"]
    # Ray, too, installs a command `tune`.
    tune = (sys.executable, "-m", "torchtune._cli.tune")
    recipe = "dlm_text/fast_dllm_v2/recipes/fast_dllm_v2.py"
    ran = _process(
        *tune, "run", recipe, *options, f"train.checkpoint_dir={tmp_path / 'tune'}",
        cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "finished at step 20" in ran.stdout
    code, _, error = command("fit", "fast_dllm_v2", *options, f"train.checkpoint_dir={tmp_path / 'fit'}")
    assert code == 0, error
    losses = _losses(tmp_path / "tune")
    assert len(losses) == 20
    assert losses == pytest.approx(_losses(tmp_path / "fit"), abs=1e-6)
