"""Bad input: one sentence on the error stream, exit code 2, no traceback, and nothing written."""

import json
import shutil

import pytest


@pytest.fixture
def refused(ar_decode):
    def run(*arguments, says):
        outcome = ar_decode(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        lines = outcome.err.strip().splitlines()
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith("error: ")
        for part in says if isinstance(says, tuple) else (says,):
            assert part in lines[0]

    return run


@pytest.fixture
def copy(plain_model, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(plain_model, folder)
    return folder


def test_missing_checkpoint(refused, tmp_path):
    refused("text", tmp_path / "nothing", "Hi", says=("no checkpoint at", "nothing"))


def test_truncated_checkpoint(refused, copy):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refused("text", copy, "Hi", says="model.safetensors")


def test_checkpoint_of_another_architecture(refused, copy):
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    (copy / "config.json").write_text(json.dumps(config))
    refused("text", copy, "Hi", says=("does not fit its config", "does not know"))


def test_recurrent_base(refused, copy):
    (copy / "config.json").write_text(json.dumps({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}))
    refused("text", copy, "Hi", says=("'mamba'", "cannot express"))


def test_model_without_a_tokenizer(refused, copy):
    (copy / "tokenizer.json").unlink()
    refused("text", copy, "Hi", says="comes without a tokenizer")


def test_block_method_on_a_model_that_was_never_converted(refused, plain_model):
    pytest.importorskip("dlm_text")
    refused("text", plain_model, "Hi", "--method", "fast_dllm_v2", says="never converted to block diffusion")


def test_tokenizer_without_a_mask_token(refused, copy):
    pytest.importorskip("dlm_text")
    config = json.loads((copy / "config.json").read_text()) | {"bd_size": 8}
    (copy / "config.json").write_text(json.dumps(config))
    refused("text", copy, "Hi", "--method", "fast_dllm_v2", says="names no mask token")


def test_block_size_that_does_not_divide(refused, chat_model):
    pytest.importorskip("dlm_text")
    options = ("--method", "fast_dllm_v2", "--block-size", 10, "--sub-block-size", 4)
    refused("text", chat_model, "Hi", *options, says=("4", "does not divide the block size 10"))


def test_prompt_longer_than_the_context(refused, plain_model):
    refused("text", plain_model, "x" * 300, says=("300 tokens", "context is 160"))


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_empty_prompt(refused, plain_model, prompt):
    refused("text", plain_model, prompt, says="is empty")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{broken", "line 2 of"),
        ("[1]", "line 2 of"),
        ('{"text": "x"}', "exactly one of"),
        ('{"prompt": "x", "turns": ["y"]}', "exactly one of"),
        ('{"prompt": 5}', "it must be text"),
        ('{"turns": []}', "it must be a list of texts"),
        ('{"messages": [{"role": "user"}]}', "it must be a list of objects"),
    ],
)
def test_malformed_jsonl_names_the_line(refused, plain_model, jsonl, line, says):
    source = jsonl({"prompt": "fine"}, line)
    refused("text", plain_model, "-i", source, says=("line 2 of", says))


def test_other_faults_of_the_prompt_file(refused, plain_model, tmp_path, jsonl):
    refused("text", plain_model, "-i", tmp_path / "no.jsonl", says="does not exist")
    refused("text", plain_model, "-i", jsonl(""), says="holds no prompts")
    broken = tmp_path / "latin.jsonl"
    broken.write_bytes(b'{"prompt": "\xe9"}\n')
    refused("text", plain_model, "-i", broken, says="no UTF-8 text")
    talk = jsonl({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    refused("text", plain_model, "-i", talk, "--no-chat", says="which only a chat template can render")


def test_chat_without_a_template(refused, plain_model):
    refused("text", plain_model, "Hi", "--chat", says="has no chat template")


def test_unknown_method_setting_dtype_and_device(refused, plain_model):
    refused("text", plain_model, "Hi", "--method", "lookpu", says="did you mean 'lookup'")
    refused("text", plain_model, "Hi", "--threshold", 0.9, says="unknown key 'threshold'")
    refused("text", plain_model, "Hi", "-m", "lookup", "--set", "draft_lenght=3", says="'draft_length'")
    refused("text", plain_model, "Hi", "--dtype", "float8", says="give one of stored, float32")
    refused("text", plain_model, "Hi", "-n", 0, says="must be at least 1")
    refused("text", plain_model, "Hi", "-t", -1, says="temperature is -1")


def test_a_method_whose_package_is_missing_names_it(refused, plain_model, monkeypatch):
    from ar_core import registry

    monkeypatch.setattr(registry, "decoders", dict)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    refused("text", plain_model, "Hi", "--method", "fast_dllm_v2", says="pip install dlm-text")


def test_contradictions_on_the_command_line(refused, plain_model, jsonl, tmp_path):
    source = jsonl({"prompt": "x"})
    refused("text", plain_model, "Hi", "-i", source, says="both given")
    refused("text", plain_model, says="no prompt was given")
    refused("text", plain_model, "Hi", "-o", tmp_path / "o.jsonl", says="--output was given without --input")
    refused("text", plain_model, "-i", source, "--stream", says="--stream was given with --input")


def test_existing_files_are_kept(refused, plain_model, jsonl, tmp_path):
    source, target = jsonl({"prompt": "x"}), tmp_path / "kept.jsonl"
    target.write_text("precious")
    refused("text", plain_model, "-i", source, "-o", target, says=("kept.jsonl", "--force"))
    assert target.read_text() == "precious"


def test_nothing_is_written_when_a_later_prompt_is_bad(refused, plain_model, jsonl, tmp_path):
    source, target = jsonl({"prompt": "x"}, {"prompt": "y" * 400}), tmp_path / "out.jsonl"
    refused("text", plain_model, "-i", source, "-o", target, says="context is 160")
    assert not target.exists()


def test_a_profile_that_is_none(refused, plain_model, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text("{")
    refused("text", plain_model, "Hi", "-m", "lookup", "--profile", path, says="ar-decode tune")
    path.write_text('{"model": "m"}')
    refused("text", plain_model, "Hi", "-m", "lookup", "--profile", path, says="'dtype' is missing")
