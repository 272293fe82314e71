"""The command that measures answers."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ar_core.command_result import CommandResult
from ar_core.config import expand_path
from ar_core.environment import environment
from ar_core.errors import ConfigError
from ar_core.io import atomic_file
from ar_core.result_files import require_apart

from ..decoding.options import DecodingOptions
from ..decoding.requests import read_requests
from ..decoding.session import open_session
from ..decoding.vlm_command import answer_requests, journal_of, summary, write_answers
from .caption_metrics import caption_metrics
from .references import references_of
from .vqa_accuracy import exact_match, published_cut, soft_accuracy

__all__ = ["EvalVlmOptions", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class EvalVlmOptions(DecodingOptions):
    """What is asked, and how answers are judged."""

    input: Path
    """A file of questions, as of `ar-decode vlm`, each with its references: one of `answer`, `answers`, `caption`, `captions` and
    `reference`, or the assistant's last turn."""
    output: Path
    """The report, JSON, with OUTPUT.answers.jsonl beside it. An interrupted run leaves OUTPUT.partial; the same command goes on."""
    image_root: Path | None = None
    """Folder of relative image paths; null: the input's own."""
    metric: Literal["vqa", "captions"] = "vqa"
    """`vqa`: exact match, and VQA's soft accuracy over several annotators. `captions`: BLEU and chrF of sacrebleu, ROUGE-L of
    rouge-score (extra `eval`)."""
    cut: Literal["none", "first_line"] = "none"
    """`first_line`: an answer ends at its first line break and loses one final full stop, as in the published evaluation."""


def evaluate(options: EvalVlmOptions) -> CommandResult:
    """Answer all questions, judge, and write the report.

    Raises:
        ArError: whatever cannot be used.
    """
    output = expand_path(str(options.output))
    answers, partial = output.with_name(f"{output.name}.answers.jsonl"), journal_of(output)
    require_apart(
        {"output": output, "the answers beside output": answers, "the unfinished output": partial},
        {"input": expand_path(str(options.input))},
    )
    if output.exists():
        raise ConfigError(f"the file {str(output)!r} exists already: move it away, or give another output")
    session = open_session(options)
    requests = read_requests(options.input, options.image_root, limit=session.processor.config.max_images)
    references = [references_of(one.data, one.place) for one in requests]
    if options.metric == "captions":
        # What is not installed is said before anything is decoded.
        caption_metrics(["one"], [["one"]])
    # Answers beside a journal are those of a run that ended before its report was written.
    if answers.exists() and not partial.exists():
        raise ConfigError(f"the file {str(answers)!r} exists already: move it away, or give another output")
    records = answer_requests(session, requests, partial)
    stats = write_answers(records, answers)
    texts = [published_cut(one["output"]) if options.cut == "first_line" else one["output"].strip() for one in records]
    if options.metric == "captions":
        figures = caption_metrics(texts, references)
    else:
        figures = {
            "exact_match": fmean(map(exact_match, texts, references)),
            "vqa_soft_accuracy": fmean(map(soft_accuracy, texts, references)),
        }
    report: dict[str, Any] = {
        "settings": {**session.describe(), "batch_size": options.batch_size, "cut": options.cut},
        "questions": len(requests),
        "metrics": figures,
        "decoding": stats.to_dict(),
        "environment": environment(str(session.backbone.device)),
    }
    with atomic_file(output) as temporary:
        temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.unlink()
    found = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return CommandResult(
        f"{len(requests)} questions: {found}; {summary(stats)}; written to {output}", {"output": str(output), **report}
    )
