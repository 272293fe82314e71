"""Bad input: one sentence on the error stream, exit code 2, no traceback, and nothing written."""

import json

import pytest


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
    refused(
        "text", plain_model, "Hi", "--threshold", 0.9, says="the method 'ar' has no setting 'threshold', nor any other"
    )
    refused("text", plain_model, "Hi", "-m", "lookup", "--block-size", 4, says="'lookup' has no setting 'block_size'")
    refused("text", plain_model, "Hi", "-m", "lookup", "--set", "draft_lenght=3", says="'draft_length'")
    refused("text", plain_model, "Hi", "--dtype", "float8", says="give one of stored, float32")
    for device in ("foo", "mps", "meta", "cpu:7", "cuda:-2"):
        refused("text", plain_model, "Hi", "--device", device, says=(repr(device), "give cpu, cuda, or cuda:N"))
    refused("text", plain_model, "Hi", "-n", 0, says="must be at least 1")
    refused("text", plain_model, "Hi", "-t", -1, says="temperature is -1")


def test_cuda_devices_that_are_not_there(monkeypatch):
    import torch
    from ar_core.errors import ConfigError
    from ar_decode.session import parse_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        parse_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="torch sees 2 CUDA devices, counted from 0"):
        parse_device("cuda:2")
    assert [str(parse_device(name)) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]


def test_one_setting_given_twice(refused, chat_model):
    pytest.importorskip("dlm_text")
    block = ("text", chat_model, "Hi", "-m", "fast_dllm_v2")
    twice = (*block, "--threshold", 0.9, "--set", "threshold=0.1")
    refused(*twice, says="'threshold' was given twice, by --threshold and by --set")
    refused(*block, "--set", "threshold=1", "--set", "threshold=0.1", says="by --set and by --set")
    spellings = (*block, "--block-size", 16, "--set", "diffusion_block_size=8")
    refused(*spellings, says="'diffusion_block_size' was given twice, once as 'block_size'")


def test_options_that_would_do_nothing(refused, plain_model):
    for name, value in (("--top-p", 0.9), ("--top-k", 5), ("--min-p", 0.1)):
        refused("text", plain_model, "Hi", name, value, says=(f"{name} was given at temperature 0", "leave it out"))
    refused("text", plain_model, "Hi", "-b", 4, says="--batch-size 4 was given for a single prompt")


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


@pytest.fixture
def decoded(monkeypatch):
    """Batches that were decoded."""
    from ar_decode.methods import Method

    decode, batches = Method.decode, []

    def noted(method, session, prompts, *arguments, **how):
        batches.append(prompts)
        return decode(method, session, prompts, *arguments, **how)

    monkeypatch.setattr(Method, "decode", noted)
    return batches


@pytest.mark.parametrize("output", [True, False])
def test_nothing_is_decoded_when_a_later_prompt_does_not_fit(refused, plain_model, jsonl, tmp_path, decoded, output):
    source, target = jsonl({"prompt": "x"}, "", {"prompt": "y" * 158, "id": "long"}), tmp_path / "new" / "out.jsonl"
    to = ("-o", target) if output else ()
    says = (
        "the prompt 'long' (line 3 of",
        "158 tokens; with 3 new ones it needs 161",
        "context is 160",
        "fewer new tokens",
    )
    refused("text", plain_model, "-i", source, *to, "-n", 3, says=says)
    assert not decoded
    assert not target.parent.exists()
    refused("trace", plain_model, "x", "y" * 158, "-n", 3, "-o", target, says="the prompt '2' has 158 tokens")
    assert not decoded


def test_the_last_block_must_fit_too(refused, chat_model, jsonl, decoded):
    pytest.importorskip("dlm_text")
    source = jsonl({"prompt": "x"}, {"prompt": "y" * 130})
    block = ("text", chat_model, "-i", source, "-n", 9, "-m", "fast_dllm_v2", "--block-size", 64)
    refused(
        *block, says=("line 2 of", "130 tokens; with 9 new ones and its last block completed it needs 192 positions")
    )
    assert not decoded


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"prompt": "  "}, "is empty"),
        ({"messages": [{"role": "assistant", "content": "I am"}]}, 'has no message of the role "user"'),
    ],
)
def test_prompts_without_a_question_are_named_by_their_line(refused, chat_model, jsonl, decoded, line, says):
    refused("text", chat_model, "-i", jsonl({"prompt": "x"}, "", line), says=("the prompt '3' (line 3 of", says))
    assert not decoded


def test_a_line_with_many_keys_is_not_listed_in_full(refused, plain_model, jsonl):
    line = {f"k{number}": 0 for number in range(9)}
    refused(
        "text", plain_model, "-i", jsonl(line), says="has the keys 'k0', 'k1', 'k2', 'k3', 'k4' and 4 more; it needs"
    )


def test_a_checkpoint_with_foreign_keys_names_each_of_them(refused, copy):
    import torch
    from safetensors.torch import load_file, save_file

    weights = copy / "model.safetensors"
    foreign = {f"extra_{letter}": torch.ones(1) for letter in "abcdefgh"}
    save_file(load_file(weights) | foreign, weights, metadata={"format": "pt"})
    refused(
        "text", copy, "Hi", says="it has extra_a, extra_b, extra_c, extra_d, extra_e, extra_f, extra_g, extra_h, which"
    )


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("/proc/nowhere/out", "nothing can be written for '/proc/nowhere/out' in '/proc'"),
        ("{tmp}", "is a folder"),
        ("{tmp}/prompts.jsonl/out", "nothing can be written for"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_the_model_is_loaded(refused, jsonl, tmp_path, where, says):
    source, target = jsonl({"prompt": "x"}), where.format(tmp=tmp_path)
    refused("text", "no such model", "-i", source, "-o", target, says=says)
    for command in (("tune",), ("verify",), ("bench", "-i", source)):
        refused(command[0], "no such model", *command[1:], "-o", target, says=says)
    same = tmp_path / "same"
    refused("text", "no such model", "-i", source, "-o", same, "--statistics", same, says="was given for two results")
    around = tmp_path / "folder" / ".." / "same"
    for other in (around, f"{same}.partial"):
        refused("text", "no such model", "-i", source, "-o", same, "--statistics", other, says="given for two results")


def test_no_result_takes_the_place_of_what_is_read(refused, jsonl, tmp_path):
    """With --force neither, which is about results of earlier runs."""
    source = jsonl({"prompt": "x"})
    before = source.read_bytes()
    for places in (("-o", source), ("-o", tmp_path / "a", "--statistics", source)):
        refused("text", "no model", "-i", source, *places, "--force", says="--input, and --")
    for command in (("bench",), ("tune", "-m", "fast_dllm_v2")):
        refused(*command[:1], "no model", *command[1:], "-i", source, "-o", source, "--force", says="is --input, and")
    refused("bench", "no model", "-i", source, "--profile", "p", "-o", "p", "--force", says="is --profile, and")
    refused("trace", "no model", "Hi", "--profile", "p", "-o", "p", "--force", says="is --profile, and")
    partial = tmp_path / "b.jsonl.partial"
    partial.write_bytes(before)
    refused("text", "no model", "-i", partial, "-o", tmp_path / "b.jsonl", "--force", says="the unfinished --output")
    assert source.read_bytes() == partial.read_bytes() == before


@pytest.mark.parametrize("method", ["ar", "lookup", "jacobi"])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_model_whose_weights_are_no_numbers(refused, copy, method, temperature):
    from safetensors.torch import load_file, save_file

    weights = copy / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})
    refused("text", copy, "Hi", "-m", method, "-t", temperature, "-n", 4, says="logits are not numbers")


def test_bench_without_room_for_a_prompt(refused, plain_model, jsonl, tmp_path):
    bench = ("bench", plain_model, "-i", jsonl({"prompt": "x"}), "-o", tmp_path / "r.json", "--dtype", "float32")
    refused(*bench, "-n", 600, says=("leave no room for a prompt", "lower --max-new-tokens"))
    refused("verify", plain_model, "-n", 600, says=("600 new tokens were asked for", "context of 160"))
