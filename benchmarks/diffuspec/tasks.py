"""The task model as verifier: its conversions draft, and a trigram model of its training problems scores."""

from pathlib import Path

from ar_core.evaluation import EvalProblem
from ar_decode.session import Session
from dlm_text.tasks import build_tokenizer, encode_answer, encode_prompt, held_out, stream
from dlm_text.tasks.evaluate import MAX_ANSWER_TOKENS

from benchmarks.recipes import FINAL, conversion_name
from benchmarks.tasks.measuring import HELD_OUT_SEED
from benchmarks.tasks.training import train_conversion

from .trained import Trained, fit_in_domain

__all__ = ["ANSWER_TOKENS", "CUT", "paths", "problems", "train"]

CUT = 2
"""Layers of the small drafter; the verifier has four."""
ANSWER_TOKENS = MAX_ANSWER_TOKENS
CORPUS = 5000
"""Training problems that the n-gram model is fitted on."""
_VARIANTS = {"full": "", "cut": f"{CUT}_layers"}
"""Names of the conversions beside each other."""


def paths(seed: int, runs: Path, *, method: str) -> Trained:
    """Where the models of a seed are.

    Args:
        seed: of training.
        runs: folder of all runs; what ``benchmarks.tasks`` trains there is used.
        method: recipe of the conversions.
    """
    home = runs / "tasks" / f"seed{seed}"
    return Trained(
        name=f"tasks_seed{seed}",
        verifier=str(home / "base" / FINAL),
        drafters={name: home / conversion_name(method, variant) / FINAL for name, variant in _VARIANTS.items()},
        layout=method,
        proxy=runs / "diffuspec" / f"tasks_seed{seed}" / "proxy.safetensors",
        command=f"python -m benchmarks.diffuspec train tasks --seed {seed} --method {method}",
    )


def train(seed: int, runs: Path, *, method: str, overrides: tuple[str, ...] = ()) -> bool:
    """Convert the task base of a seed whole and cut, and fit the n-gram model; continues what was interrupted.

    A finished conversion that is there, such as one that ``benchmarks.tasks`` trained, is used as it is.

    Args:
        seed: of weights, order, corruption and problems.
        runs: folder of all runs.
        method: recipe of the conversions.
        overrides: further ``key=value`` entries of both.

    Returns:
        Whether all of it is there; a signal may have stopped one of the runs.
    """
    found = paths(seed, runs, method=method)
    for name, variant in _VARIANTS.items():
        if found.drafters[name].is_dir():
            print(f"{found.drafters[name]} is there and is used as it is", flush=True)
            continue
        more = ((f"model.layers={CUT}",) if name == "cut" else ()) + overrides
        if train_conversion(seed, runs / "tasks", method=method, variant=variant, overrides=more) is None:
            return False
    tokenizer = build_tokenizer()
    solved = (problem for _, problem in zip(range(CORPUS), stream("mixed", "train", seed)))
    fit_in_domain(
        ([*encode_prompt(tokenizer, one.prompt), *encode_answer(tokenizer, one.answer)] for one in solved),
        found.proxy,
        vocab_size=len(tokenizer),
    )
    return True


def problems(session: Session, count: int) -> list[tuple[EvalProblem, list[int]]]:
    """The first held-out problems of every task in turn, with their ids; the kind of a problem is its category."""
    return [
        (EvalProblem(str(number), problem.prompt, problem.task), encode_prompt(session.tokenizer, problem.prompt))
        for number, problem in enumerate(held_out("mixed", count, HELD_OUT_SEED))
    ]
