"""Tiny checkpoints in Hugging Face layout, and the command line as users call it."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_checkpoint(folder: Path, *, chat: bool, converted: bool, context: int = 160) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: number for number, symbol in enumerate(alphabet)}
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")
    if converted:
        tokenizer.add_special_tokens({"mask_token": "|<MASK>|"})
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
    )
    if converted:
        config.bd_size, config.small_block_size, config.mask_token_id = 8, 4, tokenizer.mask_token_id
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture
def scripted_output(monkeypatch):
    """Let every method write the same words, up to where the stop rule it is given ends them."""
    from ar_core.decoding import Decoded, DecodeStats, Finish
    from ar_decode.methods import Method
    from ar_decode.session import Session

    def script(*words: str) -> None:
        def text(session, ids):
            return "".join(words[number] for number in ids)

        def decode(method, session, prompts, generation, **named):
            rule = generation.stop(frozenset(), session.text)
            ends = (rule.check(list(range(count))) for count in range(1, len(words) + 1))
            end = next((found for found in ends if found is not None), Finish(len(words), "length"))
            stats = DecodeStats(generated=[end.length])
            with stats.forward("step", 1, 1):
                pass
            return Decoded([list(range(end.length))], [end.reason], stats)

        monkeypatch.setattr(Session, "text", text)
        monkeypatch.setattr(Method, "decode", decode)

    return script


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory) -> Path:
    """A byte-level Llama without a chat template, context 160."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    save_checkpoint(folder, chat=False, converted=False)
    return folder


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory) -> Path:
    """The same with a chat template, converted to block diffusion (D = 8, S = 4, a mask token)."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    save_checkpoint(folder, chat=True, converted=True)
    return folder


@pytest.fixture(scope="session")
def published_model(chat_model, tmp_path_factory) -> Path:
    """The converted model as published checkpoints are: its mask token is named by the tokenizer only."""
    folder = tmp_path_factory.mktemp("published") / "model"
    shutil.copytree(chat_model, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["mask_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """Passes are timed by a clock that every reading moves by a millisecond: what else runs here decides no test."""
    readings = itertools.count()
    monkeypatch.setattr("ar_core.verification.timing.perf_counter", lambda: next(readings) / 1000)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def ar_decode(monkeypatch, capsys) -> Callable[..., Outcome]:
    """Run ``ar-decode`` in this process as its entry point does."""
    from ar_decode.cli import main

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["ar-decode", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def jsonl(tmp_path) -> Callable[..., Path]:
    """Write lines (texts as they are, anything else as JSON) to a file."""

    def write(*lines: object, name: str = "prompts.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def refused(ar_decode):
    """Run a command that must fail with one sentence on the error stream, exit code 2, and nothing else."""

    def run(*arguments, says):
        outcome = ar_decode(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        lines = outcome.err.strip().splitlines()
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith("error: ")
        assert lines[0].endswith((".", "?"))
        assert not lines[0].endswith("?.")
        for part in says if isinstance(says, tuple) else (says,):
            assert part in lines[0]

    return run


@pytest.fixture
def copy(plain_model, tmp_path) -> Path:
    """A plain model to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(plain_model, folder)
    return folder
