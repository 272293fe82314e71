"""Tiny teachers with their tokenizers, their students, and recorded cases."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from ar_core.registry import recipe
from ar_core.training import read_run_config, run_recipe
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.decode import LlamaGenOptions
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.decode import VarDecoding
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.distilled_decoding.initialisation import build_student
from ar_vision.distilled_decoding.teacher import LlamaGenTeacher, VarTeacher
from ar_vision.text.encoder import build_text_encoder, encoded_alone
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from torch import nn

KINDS = ("var", "llamagen")
CAPTIONS = ("a red heart", "grinning cat", "flag", "a left arrow")
CODES, CLASSES = 24, 5


def _shaken(model: nn.Module, amount: float) -> Any:
    """Every parameter matters: fresh gates are nearly shut and fresh heads nearly zero."""
    generator = torch.Generator().manual_seed(5)
    model.initialize(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * amount)
    return model.eval().requires_grad_(False)


@pytest.fixture
def make_tokenizer(tiny_autoencoder: AutoencoderConfig) -> Callable[[str], Any]:
    """From the kind of a teacher to a tokenizer of 24 codes: of dimension 8 for VAR, unit codes of dimension 4 for LlamaGen."""

    def make(kind: str) -> Any:
        if kind == "var":
            tokenizer: Any = VarTokenizer(VarTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=CODES))
        else:
            tokenizer = VqTokenizer(VqTokenizerConfig(autoencoder=tiny_autoencoder, vocab_size=CODES, code_dim=4))
        tokenizer.initialize(torch.Generator().manual_seed(3))
        return tokenizer.eval().requires_grad_(False)

    return make


@pytest.fixture
def make_teacher(make_tokenizer) -> Callable[..., Any]:
    """A teacher of 16 x 16 pixels and 5 classes: VAR with scales 1, 2, 3, 4, or LlamaGen with 16 codes, of classes or
    (``texts``) of four captions; settings of its decoder."""

    def make(kind: str, **options: Any) -> Any:
        if kind == "var":
            shape = {"vocab_size": CODES, "code_dim": 8, "num_classes": CLASSES, "depth": 2, "width": 32, "heads": 2}
            return VarTeacher(
                _shaken(Var(VarConfig(**shape, scales=(1, 2, 3, 4))), 0.15),
                make_tokenizer(kind),
                VarDecoding(**options),
            )
        of_texts = {"condition": "text", "text_encoder": "hashed", "text_dim": 6, "text_tokens": 5}
        condition = of_texts if kind == "texts" else {"num_classes": CLASSES}
        config = LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=CODES, grid=4, **condition)
        texts = encoded_alone(build_text_encoder(config.texts), CAPTIONS) if kind == "texts" else None
        return LlamaGenTeacher(_shaken(LlamaGen(config), 0.2), make_tokenizer(kind), LlamaGenOptions(**options), texts)

    return make


@pytest.fixture
def make_student() -> Callable[..., Any]:
    """The student of a teacher, begun with its weights and then shaken, so that every part matters."""

    def make(teacher: Any, *, amount: float = 0.1, **settings: Any) -> Any:
        chosen = {"timesteps": (0, 2), "split": teacher.units.count, **settings}
        student = build_student(teacher.model, teacher.tokenizer, **chosen)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * amount)
        return student.eval().requires_grad_(False)

    return make


@pytest.fixture
def folders(make_teacher, tmp_path) -> Callable[[str], SimpleNamespace]:
    """Checkpoint folders of a teacher and its tokenizer: `teacher`, `tokenizer`; `more`, entries of the stage that it needs."""

    def make(kind: str) -> SimpleNamespace:
        found = SimpleNamespace(teacher=tmp_path / f"{kind}_teacher", tokenizer=tmp_path / f"{kind}_tokenizer")
        found.more = [f"texts={{file: {tmp_path / 'captions.txt'}}}"] if kind == "texts" else []
        if not found.teacher.exists():
            teacher = make_teacher(kind)
            (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS) + "\n\n")
            save_checkpoint(found.tokenizer, teacher.tokenizer)
            save_checkpoint(found.teacher, teacher.model, tokenizer=fingerprint(teacher.tokenizer))
        return found

    return make


@pytest.fixture
def pairs(folders, pairs_config, tmp_path) -> Callable[..., Path]:
    """The folder of 24 pairs of a teacher; further entries of the recipe's config."""

    def make(kind: str, *overrides: str, name: str = "pairs") -> Path:
        where, directory = folders(kind), tmp_path / f"{kind}_{name}"
        run_recipe(recipe("noise_code_pairs"), pairs_config(where, directory, *overrides))
        return directory

    return make


@pytest.fixture
def pairs_config() -> Callable[..., Any]:
    """From folders and a directory to the config of the stage, shrunk to 24 pairs in chunks of 8; further entries of it."""

    def make(where: SimpleNamespace, directory: Path, *overrides: str, config: str = "tiny") -> Any:
        small = ["method.count=24", "method.batch_size=4", "method.checked=0", "stage.chunk_size=8", "stage.device=cpu"]
        small.append("method.solver={kind: heun, steps: 6}")
        places = [f"teacher={where.teacher}", f"tokenizer={where.tokenizer}", f"stage.directory={directory}"]
        return read_run_config(recipe("noise_code_pairs"), config, [*places, *small, *where.more, *overrides])

    return make


@pytest.fixture(scope="session")
def kills() -> ModuleType:
    """The kill harness of ar-core's tests."""
    name = "ar_core_tests_training_kills"
    if name not in sys.modules:
        path = Path(__file__).parents[3] / "ar-core" / "tests" / "training" / "kills.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
