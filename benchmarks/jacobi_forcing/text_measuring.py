"""A real language model before and after: forwards of every decoder, and the text itself."""

from typing import Any

from ar_core.environment import environment
from ar_decode.bench import Arm, agreement
from ar_decode.methods import Generation, build_method
from ar_decode.session import load_session

from benchmarks.language.measuring import chosen_prompts, decode_in_turn, text_rows

from .decoders import DECODERS, settings
from .record import described
from .training import SETUPS, Trained

__all__ = ["measure"]


def measure(name: str, trained: Trained, *, rounds: int, per_category: int, limit: int | None = None) -> dict[str, Any]:
    """Decode real prompts greedily with every decoder of every model in turn.

    Args:
        name: of a setup.
        trained: base, trained model and what else there is.
        rounds: timed runs of each decoder, interleaved; minima are compared.
        per_category: of Spec-Bench, the first prompts of each category that fit.
        limit: only the first of the prompts.

    Returns:
        JSON-able: environment, what was collected and how training went, and the rows of ``benchmarks.language``, beside them
        ``equal_outputs``, those that are its own model's AR output token by token, and the ``first_differences`` of the others.
    """
    setup = SETUPS[name]
    sessions = {model: load_session(source, dtype=setup.dtype) for model, source in trained.models.items()}
    prompts = chosen_prompts(
        setup.prompts, sessions["base"], max_new_tokens=setup.max_new_tokens, per_category=per_category
    )[:limit]
    arms = {f"AR {model}": Arm(session, build_method("ar", session, {}, {})) for model, session in sessions.items()}
    baselines = dict(zip(arms, arms.values()))
    for model, session in sessions.items():
        for decoder in DECODERS:
            method = build_method("jacobi_forcing", session, settings(decoder, setup.block_length), {})
            label = f"{decoder}, n={setup.block_length}, {model}"
            arms[label], baselines[label] = Arm(session, method), arms[f"AR {model}"]
    decode_in_turn(arms, prompts, Generation(setup.max_new_tokens), rounds=rounds, name=name)
    rows = text_rows(arms, prompts, reference="AR base")
    for row in rows:
        agreed = agreement(baselines[row["name"]], arms[row["name"]], prompts)
        differences = agreed["first_differences"]
        assert isinstance(differences, list)
        row |= {"equal_outputs": len(prompts) - len(differences), "first_differences": differences}
    return {
        "kind": "jacobi_forcing_text",
        "model": name,
        "method": "jacobi_forcing",
        "data": {
            "prompts": [prompt.id for prompt, _ in prompts],
            "max_new_tokens": setup.max_new_tokens,
        },
        "batch": 1,
        "rounds": described(trained),
        "environment": environment("cpu"),
        "rows": rows,
        "samples": [
            {
                "prompt": prompt.id,
                **{
                    f"AR {model}": arms[f"AR {model}"].session.text(arms[f"AR {model}"].outputs[row])
                    for model in sessions
                },
            }
            for row, (prompt, _) in enumerate(prompts[:3])
        ],
    }
