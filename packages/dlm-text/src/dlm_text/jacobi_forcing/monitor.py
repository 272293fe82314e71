"""Has training collapsed the model, and does it decode faster? Measured on greedy samples.

Source: ours.
"""

from collections.abc import Iterable, Mapping, Set

from ar_core.decoding import StopRule
from ar_core.decoding.collapse import COLLAPSED_BELOW, collapse_columns, distinct
from ar_core.hf import HFBackbone
from torch import nn

from .decode import JacobiForcingDecodeConfig, generate
from .trajectories.trajectory import Trajectory

__all__ = ["Monitor"]


class Monitor:
    """Continues held-out prompts greedily by Jacobi decoding, and holds the text against that of the data.

    Models trained on their own trajectories are known to fall into repetition in the middle of a run: distinct-3, the share of
    different trigrams, then drops below that of the text they are trained on.

    Args:
        trajectories: held-out ones; their clean text is the reference.
        block_size: n of the decoder, at least 2.
        stop_ids: end-of-sequence ids.
        max_new_tokens: most tokens of a sample, and of a reference.
        batch_size: prompts decoded at a time; memory only.
    """

    def __init__(
        self,
        trajectories: Iterable[Trajectory],
        *,
        block_size: int,
        stop_ids: Set[int],
        max_new_tokens: int,
        batch_size: int,
    ) -> None:
        chosen = list(trajectories)
        self._prompts = [one.prompt.tolist() for one in chosen]
        self._options = JacobiForcingDecodeConfig(block_length=block_size, blocks=1, pool=0)
        self._stop = StopRule(frozenset(stop_ids), max_new_tokens)
        self._batch_size = batch_size
        texts = [one.text(stop_ids)[:max_new_tokens] for one in chosen]
        self.distinct_3_of_data = distinct(texts, 3)

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Measure the model, in eval mode.

        Returns:
            `tokens_per_forward` of Jacobi decoding, prefill included; `distinct_3` of the samples and `distinct_3_data` of
            the data; `longest_repeated_span`, `eos_rate`; `collapsed`, 1 where distinct-3 is below 0.9 times that of the data.
        """
        backbone = HFBackbone(model)
        outputs: list[list[int]] = []
        finish: list[str] = []
        row_forwards = 0
        for start in range(0, len(self._prompts), self._batch_size):
            batch = self._prompts[start : start + self._batch_size]
            decoded = generate(backbone, batch, self._options, stop=self._stop)
            outputs += decoded.tokens
            finish += decoded.finish
            row_forwards += sum(decoded.stats.row_forwards.values())
        found = collapse_columns(outputs, finish)
        return {
            "tokens_per_forward": sum(map(len, outputs)) / row_forwards,
            "distinct_3": found.distinct_3,
            "distinct_3_data": self.distinct_3_of_data,
            "longest_repeated_span": found.longest_repeated_span,
            "eos_rate": found.eos_rate,
            "collapsed": float(found.distinct_3 < COLLAPSED_BELOW * self.distinct_3_of_data),
        }
