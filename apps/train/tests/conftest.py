"""The command line as users call it, and a checkpoint for it."""

import sys
from pathlib import Path

import pytest
from ar_train import cli


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``ar-train`` in this process: ``command("ls")`` -> (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ar-train", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        captured = capsys.readouterr()
        return ending.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A tiny Llama as a run saves it."""
    from ar_core.data import find_task
    from ar_core.hf import save_pretrained
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = find_task("mixed").tokenizer()
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, max_position_embeddings=64))
    save_pretrained(model, tmp_path / "final", tokenizer=tokenizer)
    return tmp_path / "final"
