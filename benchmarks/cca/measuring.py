"""Samples of the base at every guidance and of every arm without, and how far of the way arms come."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ar_core.errors import DataError
from ar_vision.checkpoint import fingerprint, load_checkpoint

from ..images.measuring import of_model, tell
from ..images.samples import Against, measure_samples
from ..images.study import BASE, Study
from ..recipes import training_record
from ..resumable import Row, measure_missing
from .arms import Arm, most_steps
from .flops import sampling_flops

__all__ = ["measure"]


def measure(study: Study, results: Path, arms: Sequence[Arm], *, count: int, guidance: Sequence[float]) -> list[Row]:
    """Measure a base and its arms; drawn images stay beside the runs, rows in the results, and a stopped measurement goes on.

    Args:
        study: which base, which seed.
        results: folder of ``cca_BASE_seedN.json``.
        arms: those to measure; each must have been trained.
        count: images of each row, all classes evenly.
        guidance: scales of the base's sweep, 1 among them.

    Raises:
        DataError: an arm was not trained, or there is no row without guidance.
    """
    if 1 not in guidance:
        raise DataError(f"--guidance is {list(guidance)}: give 1, which is no guidance, among them")
    trained = {arm: study.model(arm.name) for arm in arms}
    against = Against.cifar10(study.folders)

    def samples(name: str, scale: float) -> Row:
        values = measure_samples(
            study.generator(name, scale),
            study.samples(name, count, scale),
            against,
            count=count,
            seed=study.seed,
            nearest=True,
        )
        # An arm's architecture is the base's, and so are the operations; counted all the same where they are spent.
        return {"guidance": scale, "images": count, "flops": sampling_flops(study, name, scale), "values": values}

    def of_base(scale: float) -> Row:
        return {"name": f"{BASE}, g = {scale:g}", "error": None, "arm": BASE, **samples(BASE, scale)}

    def of_arm(arm: Arm) -> Row:
        return {
            "name": arm.name,
            "error": None,
            "arm": arm.loss,
            "beta": arm.beta,
            "negative_weight": arm.weight,
            **samples(arm.name, 1.0),
            "checkpoint": fingerprint(load_checkpoint(trained[arm]).model),
            "training": training_record(study.of(arm.name)),
        }

    cases: list[tuple[str, Callable[[], Row]]] = [
        *((f"{BASE}, g = {scale:g}", partial(of_base, scale)) for scale in guidance),
        *((arm.name, partial(of_arm, arm)) for arm in arms),
    ]
    facts = {
        **of_model(study.base, study.folders),
        "kind": "cca",
        "seed": study.seed,
        "base_seed": study.folders.seed,
        # Distances depend on how many images there are: rows of another number do not stand beside these.
        "images": count,
        "base_checkpoint": fingerprint(load_checkpoint(study.model(BASE)).model),
        "most_steps": most_steps(study.base),
    }
    return measure_missing(results / f"cca_{study.base}_seed{study.seed}.json", facts, cases, tell=tell)
