"""DiffuSpec as a proposer of the lossless loop: lattice, pruning, path search, draft length."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from ar_core.sampling import row_generators, row_seed
from ar_core.verification import Draft
from torch import Generator, Tensor

from .draft_length import DraftLength
from .draft_stats import DraftStats, mark, seconds_between
from .drafter import Drafter
from .drawn import draw
from .path_search import search
from .proxy import Proxy
from .pruning import Candidates, EosRule, prune
from .tree import build_trees

__all__ = ["DiffuSpecProposer", "SearchSettings"]


@dataclass(frozen=True)
class SearchSettings:
    """Constants of pruning and path search (paper: 0.5, 0.8, 15, 3)."""

    drafter_weight: float = 0.5
    """λ: share of the drafter's log-probability in the score of a token, beside that of the proxy."""
    mass: float = 0.8
    """τ: probability that the candidates of a position hold together."""
    max_candidates: int = 15
    """M_max: most candidates of a position."""
    beam: int = 3
    """B: paths that the search keeps."""
    eos_rule: EosRule = "argmax"
    """Where a stop id may end a path; see :func:`prune`."""
    eos_probability: float = 0.5
    """Of the rule `prob`."""
    tree_nodes: int | None = None
    """N: verify a tree of so many tokens; None: the best path."""
    draft_temperature: float | None = None
    """T_d: draw every token from the drafter's marginal in place of any search; None: search."""


@dataclass(frozen=True)
class _Pending:
    draft: Draft
    generated: int


class DiffuSpecProposer:
    """Drafts the best path through a diffusion model's lattice (arXiv 2510.02358), or a tree of its best beginnings.

    See :class:`ar_core.verification.Proposer`.

    A searched draft is a function of the context, so that comparing it with the verifier's draws is exactly lossless sampling
    (`delta` rule); the paper's acceptance by a left-to-right drafter probability is not, for a path that was searched. A
    draft that is drawn from the marginals carries them as its densities, for the ratio rule (`marginal`).

    Args:
        drafter: gives the lattice.
        proxy: ℓ^ng.
        length: chooses k.
        stop_ids: E, the verifier's ids.
        settings: of pruning and search.
        seed: of the random streams of drawn drafts; one number, or one per row, as the loop is given.

    Attributes:
        draws: see :class:`ar_core.verification.Drawing`.
    """

    wants_hidden = False

    def __init__(
        self,
        drafter: Drafter,
        proxy: Proxy,
        length: DraftLength,
        *,
        stop_ids: Iterable[int] = (),
        settings: SearchSettings | None = None,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self.drafter, self.proxy, self.length = drafter, proxy, length
        self.stop_ids = frozenset(stop_ids)
        self.settings = settings or SearchSettings()
        self.draws = self.settings.draft_temperature is not None
        self._seed = seed
        self._generators: list[Generator] = []
        self.stats = DraftStats()
        """Of the running batch."""
        self._pending: dict[int, _Pending] = {}

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Start a batch; nothing carries over."""
        self.drafter.begin(prompts)
        self.length.begin(len(prompts))
        self.stats = DraftStats()
        self._pending = {}
        if self.draws:
            given, rows = self._seed, range(len(prompts))
            seeds = [row_seed(given, row) for row in rows] if isinstance(given, int) else given
            # Streams of their own: what a draft is drawn with must not be what it is judged with.
            self._generators = row_generators([row_seed(seed, 1) for seed in seeds], len(prompts))

    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Draft]:
        """Draft for every row whose k is not 0; one read on the host."""
        wanted = [
            min(self.length.next(row, len(context)), limit, self.drafter.room(len(context)))
            for row, context, limit in zip(rows, contexts, limits, strict=True)
        ]
        chosen = [slot for slot, k in enumerate(wanted) if k > 0]
        drafts = [Draft(()) for _ in rows]
        if not chosen:
            return drafts
        found = self._search(
            [rows[slot] for slot in chosen], [contexts[slot] for slot in chosen], [wanted[slot] for slot in chosen]
        )
        for slot, (draft, generated) in zip(chosen, found, strict=True):
            drafts[slot] = draft
            self._pending[rows[slot]] = _Pending(draft, generated)
        return drafts

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Count what the draft was worth, and let the length policy know.

        See :meth:`ar_core.verification.proposer.Proposer.observe`.
        """
        del hidden
        pending = self._pending.pop(row, None)
        if pending is None:
            return
        right = _agreed(pending.draft, accepted)
        # The loop may have verified less than was drafted; what it settled says how much. Of a row that has ended, what lies
        # behind its end is missing, perhaps the verifier's own token too.
        judged = min(max(len(accepted) + len(rest) - 1, right), max(pending.draft.depths(), default=0))
        if judged > 0:
            self.stats.record(judged, right)
            self.length.update(row, generated=pending.generated, judged=judged, accepted=right)

    def _search(
        self, rows: Sequence[int], contexts: Sequence[Sequence[int]], lengths: Sequence[int]
    ) -> list[tuple[Draft, int]]:
        """The draft and L^gen of each row."""
        device, settings = self.drafter.backbone.device, self.settings
        begun = mark(device)
        log_probs = self.drafter.lattice(rows, contexts, lengths)
        drafted = mark(device)
        if settings.draft_temperature is None:
            found = self._searched(log_probs, contexts, lengths)
        else:
            generators = [self._generators[row] for row in rows]
            found = draw(log_probs, lengths, self.stop_ids, generators, temperature=settings.draft_temperature)
        done = mark(device)
        if device.type == "cuda":
            done.synchronize()
        self.stats.seconds["draft"] += seconds_between(begun, drafted)  # type: ignore[assignment]  # Counter is typed for whole numbers
        self.stats.seconds["search"] += seconds_between(drafted, done)  # type: ignore[assignment]  # Counter is typed for whole numbers
        self.stats.forwards, self.stats.tokens = self.drafter.forwards, self.drafter.tokens
        return found

    def _searched(
        self, log_probs: Tensor, contexts: Sequence[Sequence[int]], lengths: Sequence[int]
    ) -> list[tuple[Draft, int]]:
        settings = self.settings
        candidates = prune(
            log_probs,
            lengths,
            self.stop_ids,
            mass=settings.mass,
            max_candidates=settings.max_candidates,
            eos_rule=settings.eos_rule,
            eos_probability=settings.eos_probability,
        )
        return self._paths(candidates, contexts) if settings.tree_nodes is None else self._trees(candidates, contexts)

    def _paths(self, candidates: Candidates, contexts: Sequence[Sequence[int]]) -> list[tuple[Draft, int]]:
        settings = self.settings
        paths = search(candidates, self.proxy, contexts, beam=settings.beam, drafter_weight=settings.drafter_weight)
        numbers = torch.cat([paths.tokens, paths.lengths[:, None], candidates.generated[:, None]], 1).tolist()
        return [(Draft(row[: row[-2]]), row[-1]) for row in numbers]

    def _trees(self, candidates: Candidates, contexts: Sequence[Sequence[int]]) -> list[tuple[Draft, int]]:
        settings = self.settings
        assert settings.tree_nodes is not None
        trees = build_trees(
            candidates, self.proxy, contexts, nodes=settings.tree_nodes, drafter_weight=settings.drafter_weight
        )
        return [(Draft(tokens, parents), generated) for tokens, parents, generated in trees]


def _agreed(draft: Draft, accepted: Sequence[int]) -> int:
    """How many of the accepted tokens the draft holds, from its root on."""
    parents = range(-1, len(draft) - 1) if draft.parents is None else draft.parents
    children = {(parent, token): node for node, (parent, token) in enumerate(zip(parents, draft.tokens, strict=True))}
    node = -1
    for count, token in enumerate(accepted):
        if (node, token) not in children:
            return count
        node = children[node, token]
    return len(accepted)
