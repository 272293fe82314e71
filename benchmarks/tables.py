"""Tables of the docs, as the results have them.

python -m benchmarks.tables    write every table of docs/ and README.md anew between its markers
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import overview, quality
from .cca import plotting as cca
from .crashes import rendering as crashes
from .decode import rendering as decode
from .diffusionvl import plotting as diffusionvl
from .diffuspec import plotting as diffuspec
from .distilled_decoding import plotting as distilled_decoding
from .ecm import plotting as ecm
from .fuzz import rendering as fuzz
from .glotok import plotting as glotok
from .image_sampling import measuring as image_sampling
from .images import plotting as images
from .jacobi_forcing import plotting as jacobi_forcing
from .kernels import measuring as kernels
from .language import plotting as language
from .language.results import read_results
from .lossless import plotting as lossless
from .nsarm import plotting as nsarm
from .plan import measuring as plan
from .sar import plotting as sar
from .tasks import plotting as tasks
from .tasks.comparison import comparison_table, read_comparison
from .training_step import measuring as training_step

__all__ = ["MARKED", "pages", "tables"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"<!-- results: ([\w.]+) -->\n(.*?)\n?<!-- end -->", re.DOTALL)
"""Name of a table, and what stands between its markers."""
OF_ONE_FILE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "crashes": crashes.markdown_table,
    "decode_speed_*": decode.markdown_table,
    "fuzz_*": fuzz.markdown_table,
    "image_sampling_*": image_sampling.markdown_table,
    "kernels_*": kernels.markdown_table,
    "lossless_*": lossless.markdown_table,
    "plan_*": plan.markdown_table,
    "training_step_*": training_step.markdown_table,
}


def pages() -> list[Path]:
    """Everything that may have tables."""
    readmes = [*sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*/*/README.md"))]
    return [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md")), *readmes]


def tables(results: Path = RESULTS) -> dict[str, str]:
    """Every table that a folder of results can be rendered as, by the name of its marker."""
    found: dict[str, str] = {}
    for pattern, render in OF_ONE_FILE.items():
        for file in sorted(results.glob(f"{pattern}.json")):
            found[file.stem] = render(json.loads(file.read_text(encoding="utf-8")))
    if seeds := _read(results, "tasks_fast_dllm_v2_seed*"):
        found["tasks_fast_dllm_v2"] = tasks.markdown_table(seeds)
    conversions, beside = read_comparison(results, "efficient_dlm")
    if conversions:
        found["tasks_efficient_dlm_variants"] = comparison_table(conversions, beside)
    for stem, one in read_results(results).items():
        found |= {f"{stem}_losses": language.losses_table(one), f"{stem}_rows": language.rows_table(one)}
    found |= jacobi_forcing.tables(results)
    found |= images.tables(results)
    found |= sar.tables(results)
    found |= cca.tables(results)
    found |= distilled_decoding.tables(results)
    found |= diffusionvl.tables(results)
    found |= ecm.tables(results)
    found |= glotok.tables(results)
    found |= nsarm.tables(results)
    for name, pattern in (("tasks", "tasks_seed*"), ("smollm2_135m", "smollm2_135m")):
        if measured := _read(results, f"diffuspec_{pattern}"):
            found[f"diffuspec_{name}"] = diffuspec.markdown_table(measured)
            found[f"diffuspec_{name}_categories"] = diffuspec.category_table(measured)
    if files := sorted(results.glob("eval_tasks_*.json")):
        found["quality_tasks"] = quality.markdown_table(quality.curves(quality.read(files)))
    found |= overview.tables(results)
    return {name: table.strip() for name, table in found.items()}


def main() -> int:
    """Write the pages; the exit code."""
    known, used = tables(), set[str]()

    def filled(match: re.Match[str]) -> str:
        used.add(match[1])
        return f"<!-- results: {match[1]} -->\n\n{known.get(match[1], match[2].strip())}\n\n<!-- end -->"

    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = MARKED.sub(filled, before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"written to {page.relative_to(ROOT)}")
    lost = sorted(known.keys() ^ used)
    for name in lost:
        print(f"error: {name} has {'no marker on any page' if name in known else 'a marker and no results'}")
    return int(bool(lost))


def _read(results: Path, pattern: str) -> Iterable[Any]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob(f"{pattern}.json"))]


if __name__ == "__main__":
    raise SystemExit(main())
