"""Tiny generators of each kind in folders with their tokenizers and codes, and log-probabilities that are a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ar_core.training import read_run_config, run_recipe
from ar_kernels import sequence_logprob
from ar_vision.backbones.flexvar.config import FlexVarConfig
from ar_vision.backbones.flexvar.model import FlexVar
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.model import Var
from ar_vision.cca.likelihood import Laid, Likelihood
from ar_vision.checkpoint import fingerprint, save_checkpoint
from ar_vision.data.codes import RECIPE as IMAGE_CODES
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from ar_vision.tokenizers.vq.config import VqTokenizerConfig
from ar_vision.tokenizers.vq.model import VqTokenizer
from torch import Tensor, nn

CLASSES = 4
SCALES = {"var": "[1, 2, 3]", "flexvar": "[1, 2, 3]", "llamagen": "null"}
SHAPE = AutoencoderConfig(
    channels=8, channel_multipliers=(1, 2, 2), blocks_per_level=1, latent_channels=8, norm_groups=4
)


@dataclass(frozen=True)
class Start:
    """Folders of a generator, its tokenizer and 40 pictures' codes."""

    kind: str
    model: Path
    tokenizer: Path
    codes: Path

    @property
    def overrides(self) -> list[str]:
        """Of a config, with the smallest run that has several steps."""
        return [f"model={self.model}", f"tokenizer={self.tokenizer}", f"data.path={self.codes}"]


def _generator(kind: str) -> nn.Module:
    shape: dict[str, Any] = {
        "vocab_size": 24,
        "code_dim": 8,
        "num_classes": CLASSES,
        "depth": 2,
        "width": 32,
        "heads": 2,
    }
    if kind == "llamagen":
        return LlamaGen(LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=CLASSES))
    scales = (1, 2, 3)
    if kind == "var":
        return Var(VarConfig(**shape, scales=scales))
    return FlexVar(FlexVarConfig(**shape, scales=scales, position_side=4))


@pytest.fixture(scope="session")
def encoded() -> Callable[[Start], None]:
    """Fill the folder of codes of a start."""

    def encode(start: Start) -> None:
        data = "data={kind: shapes, count: 40, size: 12, cache: false}"
        stage = f"stage={{directory: {start.codes}, chunk_size: 20}}"
        making = [f"tokenizer={start.tokenizer}", data, stage, f"method.scales={SCALES[start.kind]}"]
        run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", making))

    return encode


@pytest.fixture(scope="session")
def starts(tmp_path_factory: pytest.TempPathFactory, encoded: Callable[[Start], None]) -> Callable[[str], Start]:
    """Given a kind: its start, made once. Weights are far from even guesses, and differ by class."""
    made: dict[str, Start] = {}

    def make(kind: str) -> Start:
        if kind in made:
            return made[kind]
        folder = tmp_path_factory.mktemp(kind)
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            model = _generator(kind)
            tokenizer: Any = (
                VarTokenizer(VarTokenizerConfig(autoencoder=SHAPE, vocab_size=24))
                if kind == "var"
                else VqTokenizer(VqTokenizerConfig(autoencoder=SHAPE, vocab_size=24, code_dim=8))
            )
        tokenizer.initialize(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, 0.2, generator=generator)
        save_checkpoint(folder / "tokenizer", tokenizer)
        save_checkpoint(folder / "model", model, tokenizer=fingerprint(tokenizer))
        made[kind] = Start(kind, folder / "model", folder / "tokenizer", folder / "codes")
        encoded(made[kind])
        return made[kind]

    return make


@pytest.fixture(params=["var", "flexvar", "llamagen"])
def start(request: pytest.FixtureRequest, starts: Callable[[str], Start]) -> Start:
    """The start of each kind in turn."""
    return starts(request.param)


class Table(nn.Module):
    """A model that is its logits: [2, B, L, V], of both classes of each of B samples."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())


class TableLikelihood(Likelihood):
    """Log-probabilities of the targets under a table; the code of a sample is its row."""

    def __init__(self, targets: Tensor, num_classes: int) -> None:
        self.targets, self.num_classes = targets, num_classes

    def lay(self, batch: Sequence[Mapping[str, Any]], rng: Any) -> Laid:
        return Laid(torch.tensor([[sample["index"]] for sample in batch]))

    def log_probs(
        self, model: nn.Module, tokenizer: nn.Module, laid: Laid, labels: Tensor, max_logits: int | None
    ) -> Tensor:
        rows, logits = laid.codes[:, 0], model.logits
        hidden = logits[:, rows].flatten(0, 1)
        weight = torch.eye(logits.shape[-1], dtype=logits.dtype)
        targets = self.targets[rows].repeat(len(labels), 1)
        return sequence_logprob(hidden, weight, targets, max_logits=max_logits).view(labels.shape)


@pytest.fixture
def table() -> tuple[type[Table], type[TableLikelihood]]:
    """Both classes."""
    return Table, TableLikelihood
