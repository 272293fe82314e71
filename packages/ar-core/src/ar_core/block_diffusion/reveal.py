"""Which masked positions a pass may fix."""

from collections.abc import Sequence

__all__ = ["reveal"]


def reveal(confidences: Sequence[float], *, threshold: float, strict: bool = False, floor: int = 1) -> list[int]:
    """Choose the positions to accept: all that reach the threshold, and in any case the `floor` most confident ones.

    On the host, because the one read that a pass must make anyway (the stop rule needs the tokens) brings the
    confidences along; rows then need no common shape.

    Args:
        confidences: probability of the picked token at each candidate, left to right; not empty.
        threshold: tau. At 1 or more no candidate passes by it, not even one whose probability rounds to 1, so that
            exactly `floor` are accepted.
        strict: compare with > instead of >=.
        floor: candidates accepted whatever their confidence, at least 1; among equals the leftmost first.

    Returns:
        Indices of the accepted candidates, ascending.
    """
    best = (
        {max(range(len(confidences)), key=confidences.__getitem__)}
        if floor == 1
        else set(sorted(range(len(confidences)), key=lambda i: -confidences[i])[:floor])
    )
    if threshold >= 1:
        return sorted(best)
    if strict:
        return [i for i, confidence in enumerate(confidences) if confidence > threshold or i in best]
    return [i for i, confidence in enumerate(confidences) if confidence >= threshold or i in best]
