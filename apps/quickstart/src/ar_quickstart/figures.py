"""What the acts measured, for programs."""

from dataclasses import asdict
from typing import Any

from .methods_act import MethodsAct
from .model_act import ModelAct
from .task_act import TaskAct

__all__ = ["figures"]


def figures(task: TaskAct, methods: MethodsAct, model: ModelAct | None) -> dict[str, Any]:
    """Return the figures of the tables that the terminal shows, JSON-able, by act."""
    return {
        "task": {
            name: {
                "accuracy": score.accuracy,
                "standard_error": score.standard_error,
                "tokens_per_forward": score.stats.tokens_per_forward,
                "tokens_per_second": score.stats.tokens_per_second,
            }
            for name, score in task.scores.items()
        },
        "live": [asdict(point) for point in task.live],
        "methods": {
            title: {
                "problems": len(answers),
                "right": sum(answer.right for answer in answers),
                "forwards": methods.total(title).nfe,
                "tokens_per_forward": methods.total(title).tokens_per_forward,
                "same_tokens": sum(answer.tie is None for answer in answers) if answers[0].lossless else None,
            }
            for title, answers in methods.answers.items()
        },
        "model": None if model is None else {name: _of_model(model, name) for name in model.methods},
    }


def _of_model(act: ModelAct, name: str) -> dict[str, Any]:
    stats = act.total(name)
    return {
        "prompts": len(act.answers),
        "same_tokens": sum(name not in answer.near_ties for answer in act.answers),
        "tokens_per_forward": stats.tokens_per_forward,
        "tokens_per_second": stats.tokens_per_second,
    }
