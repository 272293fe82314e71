"""The decoders that are compared, each counting the operations of verifier and drafter."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ar_core.config import from_dict, to_dict
from ar_core.hf import FlopMeter, HFBackbone
from ar_core.verification import PassCost
from ar_decode.methods import build_method, own_settings
from ar_decode.output import write_text
from ar_decode.session import Session
from dlm_text.diffuspec.decode import build_proposer, measure_costs

from benchmarks.lossless.arms import AR, Answer, RegisteredArm, registered_arm

from .trained import Trained

__all__ = ["POLICIES", "PROXIES", "MeteredArm", "build_arms", "drafter_backbone", "known_costs"]

PROXIES = ("uniform", "in-domain n-gram")
POLICIES = ("paper", "goodput")
LOOKUP = ("lookup", "lookup fallback=false")


@dataclass(frozen=True)
class MeteredArm:
    """A decoder of the registry, with the operations of its models among its costs.

    Attributes:
        inner: the decoder.
        drafter: the model that drafts, if one does.
    """

    inner: RegisteredArm
    drafter: HFBackbone | None = None

    @property
    def label(self) -> str:
        """The decoder's."""
        return self.inner.label

    def describe(self) -> dict[str, Any]:
        """The decoder's settings."""
        return self.inner.describe()

    def answer(self, ids: list[int], max_new_tokens: int) -> Answer:
        """Decode one prompt greedily."""
        verifier = self.inner.session.backbone
        assert isinstance(verifier, HFBackbone)
        with (
            FlopMeter(verifier) as own,
            FlopMeter(self.drafter) if self.drafter is not None else nullcontext() as drafting,
        ):
            answer = self.inner.answer(ids, max_new_tokens)
        flops = {"verifier_flops": own.flops, "drafter_flops": 0 if drafting is None else drafting.flops}
        return replace(answer, costs={**answer.costs, **flops})


def build_arms(
    session: Session,
    trained: Trained,
    *,
    tree_nodes: int,
    proxies: Sequence[str],
    policies: Sequence[str],
    costs: Mapping[str, tuple[PassCost, PassCost]],
    settings: Mapping[str, Any],
) -> list[MeteredArm]:
    """AR, prompt lookup with and without its fall-back, and DiffuSpec with every drafter: paths and trees, each proxy, each length policy.

    Args:
        session: the verifier.
        trained: drafters and proxy.
        tree_nodes: tokens of a tree.
        proxies: ``uniform``, ``prompt`` or ``in-domain n-gram``.
        policies: ``paper``, ``fixed``, ``goodput``.
        costs: of verifier and drafter, for each drafter; read by ``goodput``.
        settings: of all arms of DiffuSpec.

    Raises:
        ArError: as building the decoder and loading its drafter do.
    """
    arms = [MeteredArm(registered_arm(session, text)) for text in (AR, *LOOKUP)]
    for label, given in _grid(trained, tree_nodes, proxies, policies, costs):
        method = build_method("diffuspec", session, own_settings("diffuspec", {**given, **settings}), {})
        drafter = drafter_backbone(session, method.options)
        arms.append(MeteredArm(RegisteredArm(label, session, method), drafter))
    return arms


def drafter_backbone(session: Session, options: Any) -> HFBackbone:
    """The model that drafts under these settings; it stays loaded for the decoder."""
    backbone = build_proposer(session.backbone, options).drafter.backbone
    assert isinstance(backbone, HFBackbone)
    return backbone


def known_costs(
    session: Session, trained: Trained, settings: Mapping[str, Any], notes: Path
) -> dict[str, tuple[PassCost, PassCost]]:
    """What passes of verifier and drafters cost on this device: as noted, or timed now and noted.

    A job that is continued decides by the costs that it was begun with.
    """
    if not notes.is_file():
        found = {}
        for name in trained.drafters:
            method = build_method("diffuspec", session, {**_drafter(trained, name), **settings}, {})
            pair = measure_costs(session.backbone, drafter_backbone(session, method.options))
            found[name] = [to_dict(cost) for cost in pair]
        write_text(notes, json.dumps(found, indent=1) + "\n")
    noted = json.loads(notes.read_text(encoding="utf-8"))
    return {name: (from_dict(PassCost, one), from_dict(PassCost, other)) for name, (one, other) in noted.items()}


def _grid(
    trained: Trained,
    tree_nodes: int,
    proxies: Sequence[str],
    policies: Sequence[str],
    costs: Mapping[str, tuple[PassCost, PassCost]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    for shape, nodes in (("path", None), ("tree", tree_nodes)):
        for name in trained.drafters:
            for proxy in proxies:
                for policy in policies:
                    given = {
                        **_drafter(trained, name),
                        "proxy": str(trained.proxy) if proxy == PROXIES[1] else proxy,
                        "length_policy": policy,
                        "tree_nodes": nodes,
                    }
                    if policy == "goodput":
                        given |= {"pass_cost": to_dict(costs[name][0]), "drafter_cost": to_dict(costs[name][1])}
                    yield f"{shape}, {name}, {proxy}, {policy}", given


def _drafter(trained: Trained, name: str) -> dict[str, Any]:
    return {"drafter": str(trained.drafters[name]), "drafter_layout": trained.layout}
