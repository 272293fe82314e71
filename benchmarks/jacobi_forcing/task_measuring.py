"""One seed of the task model before and after: accuracy of the autoregressive path, forwards of every decoder."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ar_core.decoding import Decoded, StopRule
from ar_core.environment import environment
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.verification import first_difference
from dlm_text.jacobi_forcing.decode import JacobiForcingDecodeConfig
from dlm_text.tasks import Problem, held_out
from dlm_text.tasks.evaluate import MAX_ANSWER_TOKENS, Arm, arm, evaluate
from dlm_text.tasks.tokenizer import encode_prompt
from rich.progress import Progress

from benchmarks.tasks.measuring import HELD_OUT_SEED, scored

from .decoders import DECODERS, CountingDecoder, settings
from .record import described
from .training import Trained

__all__ = ["measure_seed"]


def measure_seed(seed: int, trained: Trained, *, problems: int, block_lengths: Sequence[int]) -> dict[str, Any]:
    """Decode held-out problems one at a time, every decoder of every model in turn on each of them.

    Args:
        seed: of the models.
        trained: base, trained model and what else there is.
        problems: how many; 200 give a standard error of one and a half points near 95 %.
        block_lengths: n of decoding.

    Returns:
        JSON-able: environment, what was collected and how training went, and one row per decoder and model: accuracy and cost,
        ``speed`` against the base's AR from the same interleaved pass over the problems, ``equal_outputs``, those that are its
        own model's AR output token by token, with the ``first_differences`` of the others, ``promoted`` blocks and
        ``forwards_by_problem``.
    """
    loaded = {name: load_causal_lm(folder) for name, folder in trained.models.items()}
    tokenizer = loaded["base"].tokenizer
    assert tokenizer is not None
    stop = StopRule(frozenset({tokenizer.eos_token_id}), MAX_ANSWER_TOKENS)
    backbones = {name: HFBackbone(one.model) for name, one in loaded.items()}
    control = HFBackbone(load_causal_lm(trained.control).model) if trained.control is not None else None

    def arms() -> dict[str, Arm]:
        made: dict[str, Arm] = {_name(model): arm(backbone, tokenizer) for model, backbone in backbones.items()}
        if control is not None:
            made[_name("control")] = arm(control, tokenizer)
        for model, decoder, length in _grid(backbones, block_lengths):
            options = JacobiForcingDecodeConfig(**settings(decoder, length))
            made[_name(model, decoder, length)] = CountingDecoder(backbones[model], stop, options)
        return made

    # One problem more that is not counted: the first passes of a process are slow.
    evaluate(arms(), held_out("mixed", 1, HELD_OUT_SEED + 1), tokenizer)
    timed, chosen = arms(), held_out("mixed", problems, HELD_OUT_SEED)
    answers: dict[str, list[Decoded]] = {name: [] for name in timed}
    with Progress() as bar:
        solving = bar.add_task(f"seed {seed}", total=problems * len(timed))

        def note(name: str, problem: Problem, right: bool, decoded: Decoded) -> None:
            answers[name].append(decoded)
            bar.advance(solving)

        scores = evaluate(timed, chosen, tokenizer, on_answer=note)

    figures = {name: scored(score, scores[_name("base")]) for name, score in scores.items()}
    autoregressive = [*backbones, *(["control"] if control is not None else [])]
    rows = [
        {"name": _name(model), "model": model, "decoder": "AR", **figures[_name(model)]} for model in autoregressive
    ]
    prompts = [encode_prompt(tokenizer, problem.prompt) for problem in chosen]
    for model, decoder, length in _grid(backbones, block_lengths):
        name = _name(model, decoder, length)
        found, decoding = answers[name], timed[name]
        assert isinstance(decoding, CountingDecoder)
        differences = [
            {"problem": number, **asdict(difference)}
            for number, (ids, one, other) in enumerate(zip(prompts, answers[_name(model)], found, strict=True))
            if (
                difference := first_difference(
                    backbones[model], ids, one.tokens[0], other.tokens[0], stop_ids=stop.stop_ids
                )
            )
        ]
        rows.append(
            {
                "name": name,
                "model": model,
                "decoder": decoder,
                **settings(decoder, length),
                **figures[name],
                "equal_outputs": problems - len(differences),
                "first_differences": differences,
                "promoted": decoding.promoted,
                "forwards_by_problem": [decoded.stats.nfe for decoded in found],
            }
        )
    return {
        "kind": "jacobi_forcing_tasks",
        "seed": seed,
        "method": "jacobi_forcing",
        "parameters": sum(p.numel() for p in loaded["base"].model.parameters()),
        "data": {"task": "mixed", "split": "held_out", "seed": HELD_OUT_SEED, "problems": problems},
        "batch": 1,
        "rounds": described(trained),
        "environment": environment("cpu"),
        "rows": rows,
    }


def _grid(models: Iterable[str], block_lengths: Sequence[int]) -> list[tuple[str, str, int]]:
    return [(model, decoder, length) for length in block_lengths for model in models for decoder in DECODERS]


def _name(model: str, decoder: str = "AR", length: int | None = None) -> str:
    return f"{decoder} {model}" if length is None else f"{decoder}, n={length}, {model}"
