"""Ways of sampling images of texts, as a table."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from benchmarks.markdown import table

from .comparison import Results, rows_of, slower
from .setups import CONTROL_NAME, STUDENT
from .text_samples import FRECHET_TO_TEACHER, LPIPS_TO_FLOW, PSNR_TO_FLOW

__all__ = ["texts_table"]

TRAINED = {STUDENT: "student", CONTROL_NAME: "control"}
"""Ways behind which a trained model stands, and its name among the runs."""


def texts_table(results: Sequence[Results]) -> str:
    """One line a way of sampling, means over the seeds: calls, nearness to the teacher's image of the same noise, distance of the whole
    set to the teacher's, held-out NLL by the timestep, and time."""
    batches = sorted({row["batch"] for one in results for row in one["rows"] if "batch" in row})
    header = [
        "way",
        "seeds",
        "calls a batch",
        "to the teacher's image of the same noise: PSNR, dB",
        "LPIPS (AlexNet)",
        "equal images",
        "Fréchet (ResNet-20) to other images of the teacher",
        "held-out NLL, nats a code, by clean codes",
        *(f"times as fast as the teacher, {batch} image{'s' if batch > 1 else ''}" for batch in batches),
    ]
    lines: list[Iterable[str]] = []
    for name in dict.fromkeys(name for one in results for name in rows_of(one)):
        there = [one for one in results if name in rows_of(one)]
        rows = [rows_of(one)[name] for one in there]
        values = [row["values"] for row in rows]
        fidelity = [one[PSNR_TO_FLOW] for one in values if one[PSNR_TO_FLOW] is not None]
        cells = [name, str(len(there)), ", ".join(str(calls) for calls in sorted({row["calls"] for row in rows}))]
        cells += [
            f"{fmean(fidelity):.2f}" if fidelity else "",
            f"{fmean(one[LPIPS_TO_FLOW] for one in values):.3f}",
            f"{sum(one['equal_to_same_noise'] for one in values)} of {sum(row['images'] for row in rows)}",
            f"{fmean(one[FRECHET_TO_TEACHER] for one in values):.2f}",
            _likelihood(there, TRAINED[name]) if name in TRAINED else "",
        ]
        for batch in batches:
            ratios = [ratio for one in there if (ratio := slower(one, name, batch)) is not None]
            cells.append(f"{fmean(ratios):.2f}" if ratios else "")
        lines.append(cells)
    return table(header, lines)


def _likelihood(results: Sequence[Results], run: str) -> str:
    """Means of the last evaluations, timestep after timestep."""
    last = [one["training"][run]["evaluations"][-1]["evaluation"] for one in results]
    name = "held_out_nll_"
    steps = sorted(int(key.removeprefix(name)) for key in last[0] if key.startswith(name))
    return ", ".join(f"{step}: {fmean(one[f'{name}{step}'] for one in last):.3f}" for step in steps)
