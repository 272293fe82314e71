"""What students, controls and teachers draw: quality, diversity, calls and time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.config import from_dict
from ar_core.environment import environment
from ar_core.errors import DataError
from ar_core.io import read_header
from ar_core.training import finished_chunks
from ar_vision.checkpoint import load_checkpoint
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.pairs.store import PairStore
from ar_vision.evaluation.drawn_images import cycled
from ar_vision.evaluation.generation import ImageGenerator
from ar_vision.evaluation.image_set import ImageSet, open_images
from ar_vision.evaluation.prompts import Prompts

from benchmarks.images.samples import Against, measure_samples
from benchmarks.images.study import Study
from benchmarks.recipes import training_record
from benchmarks.resumable import Row, measure_missing
from benchmarks.timing import interleaved

from .setups import FLOW, OTHER_NOISE, Setup
from .text_samples import OTHER_SEED, AgainstTeacher, drawn_of_texts
from .training import PAIRS, STUDENTS
from .ways import generators, samples_of

__all__ = ["distinct", "measure_seed"]

COUNTED = 16
"""Images of the batch whose calls are counted."""


def measure_seed(
    setup: Setup,
    study: Study,
    results: Path,
    *,
    count: int,
    repeats: int,
    batch_sizes: Sequence[int],
    only: Sequence[str] = (),
) -> list[Row]:
    """Draw ``count`` images, all classes or texts evenly, in every way, and measure them; then time all ways in turn.

    Images are kept beside the runs, so that a stopped measurement goes on; rows that are there are not measured again.

    Args:
        setup: the teacher.
        study: where it is, and its student and control.
        results: folder of the results.
        count: images.
        repeats: timed rounds.
        batch_sizes: of timed batches.
        only: names of ways, where not all are to be drawn; all are timed.

    Raises:
        DataError: there is no way of such a name.
    """
    store = PairStore(study.of(PAIRS))
    header, texts = store.header, store.texts
    method = header["method"]
    solver = from_dict(FlowSolver, method["solver"], "solver")
    ways = generators(setup, study, method["decoding"], solver, None if texts is None else Prompts(texts))
    if texts is None:
        by_class = Against.cifar10(study.folders)
    else:
        by_teacher = AgainstTeacher.of(study, ways, count)
        ways[OTHER_NOISE] = ways[FLOW]

    def quality(name: str) -> Row:
        generator, folder = ways[name](), samples_of(study, name, count)
        if texts is None:
            values = measure_samples(generator, folder, by_class, count=count, seed=study.seed)
        else:
            seed = study.seed + (OTHER_SEED if name == OTHER_NOISE else 0)
            values = by_teacher.measure(drawn_of_texts(generator, folder, count, seed))
        labels = cycled(list(range(generator.classes)), count)
        return {
            "name": name,
            "error": None,
            "images": count,
            "values": values,
            "distinct": distinct(open_images(str(folder)), labels),
            **_calls(generator),
        }

    def timed(batch: int) -> Row:
        # The flow makes data; nobody generates by it.
        opened = {name: opening() for name, opening in ways.items() if name not in (FLOW, OTHER_NOISE)}
        chosen = {name: partial(_batch, generator, batch) for name, generator in opened.items()}
        return {
            "name": _time_name(batch),
            "error": None,
            "batch": batch,
            "seconds": interleaved(chosen, repeats, "cpu"),
        }

    if unknown := sorted(set(only) - ways.keys()):
        raise DataError(
            f"there is no way {unknown[0]!r} of sampling {setup.name}: give some of {', '.join(map(repr, ways))}"
        )
    cases: list[tuple[str, Callable[[], Row]]] = [
        (name, partial(quality, name)) for name in ways if not only or name in only
    ]
    cases += [(_time_name(batch), partial(timed, batch)) for batch in batch_sizes]
    file = results / f"distilled_decoding_{setup.name}_seed{study.seed}.json"
    return measure_missing(file, _head(setup, study, header), cases, tell=_tell)


def distinct(images: ImageSet, labels: Sequence[int]) -> dict[str, Any]:
    """How many of a set's images are not equal to another one of their label, over all labels and of the label with the fewest.

    Args:
        images: N.
        labels: N classes, or numbers of texts.

    Returns:
        ``images``, ``distinct`` (different images a label, added up), ``fewest`` and ``a_label`` (images of that label).
    """
    seen: dict[int, set[bytes]] = {}
    totals: Counter[int] = Counter()
    for label, image in zip(labels, images.stream(0), strict=True):
        seen.setdefault(label, set()).add(image.numpy().tobytes())
        totals[label] += 1
    fewest = min(seen, key=lambda label: (len(seen[label]) / totals[label], label))
    return {
        "images": totals.total(),
        "distinct": sum(len(one) for one in seen.values()),
        "fewest": len(seen[fewest]),
        "a_label": totals[fewest],
    }


def _calls(generator: ImageGenerator) -> dict[str, Any]:
    """Calls of models for a batch, by phase, and rows of them for each image: guidance doubles those."""
    stats = _batch(generator, COUNTED).stats
    return {
        "calls": stats.nfe,
        "calls_by_phase": dict(stats.forwards),
        "rows_per_image": sum(stats.row_forwards.values()) / COUNTED,
    }


def _batch(generator: ImageGenerator, size: int) -> Any:
    labels = [number % generator.classes for number in range(size)]
    return generator.sample(labels, list(range(size)))


def _head(setup: Setup, study: Study, header: Mapping[str, Any]) -> dict[str, Any]:
    models = {name: load_checkpoint(study.model(name)).model for name in STUDENTS}
    return {
        "kind": "distilled_decoding",
        "model": setup.name,
        "seed": study.seed,
        "base_seed": study.folders.seed,
        "teacher": header["teacher"],
        "decoding": header["method"]["decoding"],
        "solver": header["method"]["solver"],
        "pairs": _counts(study.of(PAIRS)),
        "texts": len(header["texts"]) if setup.texts else None,
        "tokens": sum(height * width for height, width in header["schedule"]),
        "parameters": {name: sum(one.numel() for one in model.parameters()) for name, model in models.items()},
        "timesteps": list(models["student"].config.timesteps),  # type: ignore[union-attr, arg-type]
        "split": models["student"].config.split,  # type: ignore[union-attr]
        "training": {name: training_record(study.of(name)) for name in models},
        "environment": environment("cpu"),
    }


def _counts(pairs: Path) -> dict[str, int]:
    """Counts of the stage over all its chunks: pairs, evaluations of the flow, draws that were checked and those that agreed."""
    counts: Counter[str] = Counter()
    for path in finished_chunks(pairs)[1]:
        counts.update(json.loads(read_header(path)["__metadata__"]["counts"]))
    return dict(counts)


def _time_name(batch: int) -> str:
    return f"time of {batch}"


def _tell(row: Row) -> None:
    if "values" not in row:
        print(
            f"{row['name']}: {json.dumps({name: round(min(one), 4) for name, one in row['seconds'].items()})}",
            flush=True,
        )
        return
    shown = {key: round(value, 3) for key, value in row["values"].items() if isinstance(value, float)}
    print(
        f"{row['name']}: {row['calls']} calls, {row['distinct']['distinct']} distinct, {json.dumps(shown)}", flush=True
    )
