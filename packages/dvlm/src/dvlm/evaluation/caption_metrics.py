"""Metrics of captions, by maintained libraries (extra ``eval``)."""

from collections.abc import Sequence
from typing import Any

from ar_core.errors import MissingPackageError

__all__ = ["caption_metrics"]


def caption_metrics(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU and chrF of the whole corpus (sacrebleu) and the mean ROUGE-L F-measure (rouge-score, the best reference of each), in 0 to 100.

    CIDEr, METEOR and SPICE, whose reference implementation runs Java, are not computed; these are no substitutes for them.

    Args:
        captions: the model's.
        references: of each caption, at least one.

    Raises:
        MissingPackageError: the extra is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingPackageError(
            "caption metrics need sacrebleu and rouge-score, which are not installed: pip install 'dvlm[eval]'"
        ) from error
    most = max(map(len, references))
    # None stands for a reference that a caption lacks; the library's annotation leaves that out.
    streams: Any = [[refs[number] if number < len(refs) else None for refs in references] for number in range(most)]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [
        max(scorer.score(reference, caption)["rougeL"].fmeasure for reference in refs)
        for caption, refs in zip(captions, references, strict=True)
    ]
    return {
        "bleu": BLEU().corpus_score(list(captions), streams).score,
        "chrf": CHRF().corpus_score(list(captions), streams).score,
        "rouge_l": 100 * sum(rouge) / len(rouge),
    }
