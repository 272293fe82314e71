"""The stage that collects trajectories: prompts in, chunks of trajectories out."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ar_core.corruption import SampleRng
from ar_core.data import Record, TextDataConfig, held_out, prompt_encoder, read_records
from ar_core.decoding.collapse import distinct
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone, ModelConfig, stop_ids
from ar_core.training import Chunk, StageConfig, StageJob
from ar_core.training.device import choose_device

from dlm_text.text_model import build_text_model

from .collect import collect
from .config import JacobiTrajectoriesConfig
from .store import encode
from .trajectory import Trajectory

__all__ = ["JacobiTrajectoriesRun", "build"]


@dataclass(frozen=True)
class JacobiTrajectoriesRun:
    """A whole stage, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: ModelConfig
    """Whose trajectories: the base model in round 1, what round 1 trained in round 2."""
    data: TextDataConfig
    """Where the prompts come from; `seq_len` bounds prompt and continuation together. Packing is not used."""
    stage: StageConfig
    """Where the trajectories go, and which share of them."""
    method: JacobiTrajectoriesConfig = field(default_factory=JacobiTrajectoriesConfig)
    """The collection."""

    def __post_init__(self) -> None:
        if (self.data.kind == "text") != (self.method.prompt_length is not None):
            raise ConfigError(
                f"method.prompt_length is {self.method.prompt_length} and data.kind {self.data.kind!r}: plain text needs a "
                "prompt_length, and other kinds have prompts of their own"
            )


@dataclass(frozen=True)
class _Prompts:
    """The records of the training split, in their order."""

    config: TextDataConfig

    def __iter__(self) -> Iterator[Record]:
        return islice(iter(read_records(self.config, "train")), self.config.count)


def build(run: JacobiTrajectoriesRun) -> StageJob:
    """Load the model and open the prompts.

    Raises:
        ConfigError: there is no tokenizer, or `data.seq_len` is longer than the model's context.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_text_model(run.model, run.data, seed=run.method.seed)
    model.to(choose_device(run.stage.device)).eval()  # type: ignore[arg-type]  # transformers wraps `to`
    backbone, ends = HFBackbone(model), stop_ids(model, tokenizer)
    encode_prompt = prompt_encoder(run.data, tokenizer)
    records = read_records(run.data, "train")
    rng = SampleRng(run.method.seed)

    def make(first: int, items: Sequence[Record]) -> Chunk:
        counts: Counter[str] = Counter()
        prompts: dict[int, list[int]] = {}
        for number, record in enumerate(items, first):
            if run.data.held_out and held_out(record.data, run.data.held_out):
                counts["held out"] += 1
                continue
            ids = encode_prompt(record)[: run.method.prompt_length]
            if len(ids) + run.method.block_size > run.data.seq_len:
                counts["too long"] += 1
                continue
            prompts[number] = ids
        found = _collected(run, backbone, prompts, ends, rng)
        kept = [one for one in found if not _repetitive(one, ends, run.method.min_distinct_3)]
        counts["trajectories"] += len(kept)
        counts["repetitive"] += len(found) - len(kept)
        counts["blocks"] += sum(len(one.clean) for one in kept)
        return Chunk(encode(kept, run.method.block_size), counts)

    return StageJob(
        items=_Prompts(run.data),
        make=make,
        total=run.data.count or records.total,
        identity={"data": _described(run.data), "records": records.fingerprint, "stop_ids": sorted(ends)},
    )


def _collected(
    run: JacobiTrajectoriesRun,
    backbone: HFBackbone,
    prompts: dict[int, list[int]],
    ends: frozenset[int],
    rng: SampleRng,
) -> list[Trajectory]:
    """Trajectories in the order of the prompts, decoded in batches of similar length."""
    size = run.method.block_size
    found: dict[int, Trajectory] = {}
    order = sorted(prompts, key=lambda number: (len(prompts[number]), number))
    for start in range(0, len(order), run.method.batch_size):
        batch = order[start : start + run.method.batch_size]
        rows = [prompts[number] for number in batch]
        trajectories = collect(
            backbone,
            rows,
            block_size=size,
            blocks=[min(run.method.max_new_tokens, run.data.seq_len - len(row)) // size for row in rows],
            stop_ids=ends,
            generators=[rng.row(number, "draft") for number in batch],
        )
        found.update(zip(batch, trajectories, strict=True))
    return [found[number] for number in sorted(found)]


def _repetitive(trajectory: Trajectory, ends: Set[int], least: float | None) -> bool:
    text = trajectory.text(ends)
    return least is not None and len(text) >= 3 and distinct([text], 3) < least


def _described(data: TextDataConfig) -> dict[str, Any]:
    """The settings that decide what is collected."""
    unused = {"path", "packing", "streaming", "shuffle_buffer", "cache_dir", "append_eos"}
    return {name: value for name, value in vars(data).items() if name not in unused}
