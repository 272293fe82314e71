"""The problems of an evaluation: which benchmark, under which protocol, and which of them are asked."""

from collections.abc import Sequence
from typing import Any

from ar_core.config import did_you_mean
from ar_core.errors import ConfigError, DataError
from ar_core.evaluation import EvalProblem, evaluation_records
from ar_core.registry import Evaluation, resolve

from .evaluation import EvalArm
from .fitting import check_fit, longest_prompt
from .prompts import Prompt, first_that_fit

__all__ = ["build_benchmark", "select"]


def build_benchmark(record: Evaluation, data: str | None, protocol: str | None, examples: str | None) -> Any:
    """Read the data of an evaluation and build it.

    Args:
        record: as the registry lists it.
        data: file or hub id; None: its own set on the hub.
        protocol: one of its protocols; None: the first.
        examples: file or hub id of few-shot examples.

    Returns:
        ``ar_core.evaluation.Benchmark`` or ``LikelihoodBenchmark``.

    Raises:
        ConfigError: no such protocol, or data for problems that are generated.
        DataError: data that are missing or malformed.
    """
    chosen = record.protocols[0] if protocol is None else protocol
    if chosen not in record.protocols:
        raise ConfigError(
            f"the evaluation {record.name!r} has no protocol {chosen!r}; {did_you_mean(chosen, record.protocols)}"
        )
    if record.generated and data is not None:
        raise ConfigError(f"the problems of {record.name!r} are generated; leave --data out.")
    records = [] if record.generated else evaluation_records(data, record.data, record.name)
    shown = []
    if examples is not None:
        shown = evaluation_records(examples, record.examples, record.name)
    elif chosen in record.needs_examples:
        if data is not None:
            raise DataError(
                f"the protocol {chosen!r} of {record.name!r} shows solved problems; give a JSON Lines file of them with --examples."
            )
        shown = evaluation_records(None, record.examples, record.name)
    return resolve(record.build)(records, protocol=chosen, examples=shown)


def select(
    arms: Sequence[EvalArm],
    problems: Sequence[EvalProblem],
    max_new_tokens: int | None,
    *,
    limit: int | None,
    per_category: int | None,
    chat: bool | None,
) -> list[tuple[EvalProblem, list[int]]]:
    """The problems that are asked, with the ids of their prompts.

    Args:
        arms: all of them must be able to take every problem, and to read it alike.
        problems: in their order.
        max_new_tokens: N; None where nothing is generated, and then prompts are not encoded.
        limit: the first so many; a problem that does not fit the context is an error.
        per_category: the first so many of each category that fit, categories one after another.
        chat: see ``Session.encode``.

    Raises:
        DataError: a prompt is empty or does not fit; models of the arms encode it differently.
    """
    chosen = list(problems[:limit])
    if max_new_tokens is None:
        if per_category is not None:
            chosen = [p for name in dict.fromkeys(p.category for p in chosen) for p in _of(chosen, name)[:per_category]]
        return [(problem, []) for problem in chosen]
    session = arms[-1].session
    prompts = [Prompt(one.id, one.prompt, one.category, one.where) for one in chosen]
    ids = [session.encode(prompt, chat=chat) for prompt in prompts]
    if per_category is not None:
        room = min(longest_prompt(arm.session, [arm.method], max_new_tokens) for arm in arms)
        by_id = {problem.id: problem for problem in chosen}
        kept = first_that_fit(prompts, ids, per_category=per_category, room=room)
        order = {name: place for place, name in enumerate(dict.fromkeys(prompt.category for prompt in prompts))}
        kept.sort(key=lambda pair: order[pair[0].category])
        prompts, ids = [prompt for prompt, _ in kept], [one for _, one in kept]
        chosen = [by_id[prompt.id] for prompt in prompts]
    for arm in arms:
        if arm.session is not session and arm.session.encode(prompts[0], chat=chat) != ids[0]:
            raise DataError(
                f"the models {arm.session.source!r} and {session.source!r} write {prompts[0].label} with different tokens; give a "
                "--baseline with the same tokenizer and chat template."
            )
        check_fit(arm.session, arm.method, max_new_tokens, prompts, ids)
    return list(zip(chosen, ids, strict=True))


def _of(problems: Sequence[EvalProblem], category: str) -> list[EvalProblem]:
    return [problem for problem in problems if problem.category == category]
