"""Jacobi Forcing's packed training: noisy and clean copies of every block, each a causal model's view."""

from torch import Tensor

from ar_core.errors import MaskError
from ar_core.masks.rule import Ids, Rule

__all__ = ["noise_aware_causal"]


def _allows(q: Ids, k: Ids, window: int | None) -> Tensor:
    first_noisy = 0 if window is None else q["block"] // window * window
    noisy_query, noisy_key = q["stream"] > 0, k["stream"] > 0
    past = k["position"] <= q["position"]
    noisy = noisy_query & noisy_key & (k["block"] >= first_noisy) & past
    context = noisy_query & ~noisy_key & (k["block"] < first_noisy)
    clean = ~noisy_query & ~noisy_key & past
    return noisy | context | clean


def noise_aware_causal(window: int | None = None) -> Rule:
    """Causal attention over a prompt and the noisy and clean copies of its continuation (arXiv 2512.14681, Fig. 2).

    Needs ``stream`` (0 clean, 1 noisy), ``block`` (negative in the prompt, which is clean; then 0, 1, ...) and
    ``position`` (both copies of a token share it). Clean queries see only clean keys, so the clean copy is an ordinary
    AR forward. A noisy query sees its own noisy block up to itself, and earlier blocks as follows:

    - ``window=None``, the paper's default (noisy context): earlier blocks noisy, the prompt clean. Grouped layout
      [prompt | noisy | clean], two blocks of one token each after a prompt of four::

        noise_aware_causal()
        stream     0  0  0  0  1  1  0  0
        block     -1 -1 -1 -1  0  1  0  1
        position   0  1  2  3  4  5  4  5
                   #  .  .  .  .  .  .  .
                   #  #  .  .  .  .  .  .
                   #  #  #  .  .  .  .  .
                   #  #  #  #  .  .  .  .
                   #  #  #  #  #  .  .  .
                   #  #  #  #  #  #  .  .
                   #  #  #  #  .  .  #  .
                   #  #  #  #  .  .  #  #

    - ``window=1`` (clean context, as in CLLM): earlier blocks clean. Published interleaved layout::

        noise_aware_causal(1)
        stream     0  0  1  1  0  0  1  0
        block     -1 -1  0  0  0  0  1  1
        position   0  1  2  3  2  3  4  4
                   #  .  .  .  .  .  .  .
                   #  #  .  .  .  .  .  .
                   #  #  #  .  .  .  .  .
                   #  #  #  #  .  .  .  .
                   #  #  .  .  #  .  .  .
                   #  #  .  .  #  #  .  .
                   #  #  .  .  #  #  #  .
                   #  #  .  .  #  #  .  #

    - ``window=w`` (noisy in window): blocks are taken w at a time; those of its own group noisy, those before clean.

    Args:
        window: number of consecutive blocks that see each other noisy, at least 1; None for all.

    Raises:
        MaskError: ``window`` is below 1.
    """
    if window is not None and window < 1:
        raise MaskError(f"A noise window of {window} blocks was asked for; give at least 1, or None for all blocks.")
    needs = frozenset({"stream", "block", "position"})
    return Rule("noise_aware_causal", _allows, needs, needs, (window,))
