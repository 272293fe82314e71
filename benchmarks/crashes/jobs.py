"""The jobs that are killed: every recipe, other ways to drive them, and everything else that says it can be continued.

The kill harness loads this file in a process of its own and calls :func:`work` in a fork of it for every start of a job.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ar_core.registry import recipes  # noqa: E402

from benchmarks.tiny_runs import prepare, result_of, run_config, tiny_runs  # noqa: E402

__all__ = ["JOBS", "CrashJob", "work"]

CHECKPOINTS = (
    "train.checkpoint_every_steps=2",
    "train.checkpoint_every_seconds=null",
    "train.keep=2",
    "train.ema=0.9",
    "train.eval_every=3",
)
PROMPTS = ("one", "two and", "three", "four", "five", "six")


@dataclass(frozen=True)
class CrashJob:
    """A job that can be killed.

    Attributes:
        kind: what sort of job it is.
        like: tiny runs whose inputs it takes.
        after: tiny runs whose results it takes.
        start: starts or continues it; takes the folder of what is ready and the job's own.
        left: what it left, told apart from what only says how fast it was; None takes all files and metrics.
    """

    kind: str
    start: Callable[[Path, Path], None]
    like: Sequence[str] = ()
    after: Sequence[str] = ()
    left: Callable[[Path], Any] | None = None


def _recipe(name: str, home: Path, directory: Path, *, more: Sequence[str] = (), lightning: bool = False) -> None:
    from ar_core.training import run_recipe, train

    run = tiny_runs()[name].record
    overrides = [*CHECKPOINTS, *more] if run.makes == "model" else list(more)
    driver = train
    if lightning:
        from ar_core.training.lightning_task import fit as driver
    run_recipe(run, run_config(name, home, directory, overrides), driver=driver)


def _of_recipe(name: str, kind: str = "training", **how: Any) -> CrashJob:
    return CrashJob(kind, partial(_recipe, name, **how), like=[name])


def _two_processes(name: str, home: Path, directory: Path) -> None:
    """Train as two ranks of one group. The first, which writes, is the one that is killed; the other then finds itself alone."""
    import torch.distributed as dist

    second = os.fork()
    store = f"file://{directory.parent}/{directory.name}.store-{second or os.getpid()}"
    try:
        dist.init_process_group("gloo", init_method=store, rank=int(not second), world_size=2)
        _recipe(name, home, directory)
        dist.destroy_process_group()
    finally:
        if not second:
            os._exit(0)
    os.waitpid(second, 0)


def _two_shards(name: str, home: Path, directory: Path) -> None:
    for shard in ("2/2", "1/2"):
        _recipe(name, home, directory, more=[f"stage.shard={shard}"])


def _ar_decode(*arguments: Any) -> None:
    from ar_decode.cli import app

    try:
        app([str(argument) for argument in arguments], standalone_mode=False)
    except SystemExit as ended:
        if ended.code:
            raise


def _draw(home: Path, directory: Path) -> None:
    from ar_core.training import StageConfig
    from ar_vision.evaluation.generation import open_generator
    from ar_vision.evaluation.protocol import ProtocolConfig, draw

    generator = open_generator(str(result_of(home, "var")), str(result_of(home, "image_tokenizer")), {})
    draw(
        generator, ProtocolConfig((0, 1, 2), 20), StageConfig(str(directory), chunk_size=4, device="cpu"), batch_size=4
    )


def _evaluate(home: Path, directory: Path) -> None:
    report = directory / "report.json"
    if not report.exists():
        quick = ("--limit", 3, "-n", 6, "--protocol", "arithmetic", "--dtype", "float32")
        _ar_decode("eval", result_of(home, "autoregressive"), "exact_answers", *quick, "--output", report)


def _evaluated(directory: Path) -> Any:
    pieces = [json.loads(line) for line in (directory / "report.jsonl").read_text().splitlines()][1:]
    rows = json.loads((directory / "report.json").read_text())["rows"]
    counted = ("name", "problems", "accuracy", "generated_tokens", "forwards", "identical")
    return {
        "pieces": [(piece["arm"], piece["id"], piece["tokens"]) for piece in pieces],
        "rows": [{name: row.get(name) for name in counted} for row in rows],
    }


def _generate(home: Path, directory: Path) -> None:
    from ar_decode.output import write_text

    # Made by the first run of all, before boundaries are counted.
    source, target = home / "prompts.jsonl", directory / "texts.jsonl"
    if not source.exists():
        write_text(source, "".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS))
    if not target.exists():
        sampled = ("-n", 5, "--temperature", 1, "-b", 2, "--dtype", "float32", "--no-chat")
        _ar_decode("text", result_of(home, "autoregressive"), "-i", source, "-o", target, *sampled, "--resume")


def _generated(directory: Path) -> Any:
    return (directory / "texts.jsonl").read_text()


STAGES = {
    "jacobi_trajectories": "trajectories",
    "noise_code_pairs": "pairs",
    "cca_log_probs": "log-probabilities",
    "glotok_teacher": "histograms",
    "image_codes": "pre-encoding",
}


def _jobs() -> Mapping[str, CrashJob]:
    found: dict[str, CrashJob] = {}
    for name in sorted({*recipes(), "nsarm_joint", "vq_tokenizer"}):
        makes_data = tiny_runs()[name].record.makes == "data"
        found[name] = _of_recipe(name, STAGES.get(name, "data") if makes_data else "training")
    return {
        **found,
        "fast_dllm_v2, Lightning": _of_recipe("fast_dllm_v2", "training, another driver", lightning=True),
        "var, best model kept": _of_recipe(
            "var", "training, other settings", more=["train.best_by=held_out_nll", "train.eval_every=1"]
        ),
        "vq_tokenizer, checkpoints beside the steps": _of_recipe(
            "vq_tokenizer", "training, other settings", more=["train.checkpoint_async=true", "train.keep=1"]
        ),
        "llamagen, 2 processes": CrashJob(
            "training, 2 processes", partial(_two_processes, "llamagen"), like=["llamagen"]
        ),
        "image_codes, two shards": CrashJob("pre-encoding", partial(_two_shards, "image_codes"), like=["image_codes"]),
        "images drawn for eval-image": CrashJob("drawing", _draw, after=["var", "image_tokenizer"]),
        "ar-decode eval": CrashJob("evaluation", _evaluate, after=["autoregressive"], left=_evaluated),
        "ar-decode text --resume": CrashJob("decoding", _generate, after=["autoregressive"], left=_generated),
    }


JOBS: Mapping[str, CrashJob] = _jobs()


def work(directory: Path, home: str, names: Sequence[str]) -> None:
    """Start or continue one job in a folder, what it starts from being made first; given several, each in a folder below it."""
    for name in names:
        prepare(Path(home), JOBS[name].like)
        prepare(Path(home), JOBS[name].after, itself=True)
        JOBS[name].start(Path(home), directory / name if len(names) > 1 else directory)
