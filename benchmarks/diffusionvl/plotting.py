"""Results of all seeds as tables and figures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..bars import Bars, bar_chart
from ..markdown import table
from .arms import HALF

__all__ = ["plot", "read", "tables"]

Results = Mapping[str, Any]

NAMES = {
    "connector": "stage 1, the connector alone",
    "autoregressive": "AR control",
    "blind": "AR without pictures",
    "from_language": "DiffusionVL from the language model",
    "half": "AR, half of the steps",
    "from_vlm": "DiffusionVL from that vision-language model",
}
CURVES = {
    "description": "ROUGE-L of descriptions of a shape",
    "long caption": "ROUGE-L of long captions of photographs",
}
"""Figures of quality against tokens per pass: what is on the vertical axis."""


def read(folder: Path) -> list[Results]:
    """Results in the order of the seeds."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("diffusionvl_seed*.json")]
    return sorted(found, key=lambda one: one["seed"])


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    seeds = read(folder)
    if not seeds:
        return {}
    found = {
        "diffusionvl_training": training_table(seeds),
        "diffusionvl_answers": answers_table(seeds),
        "diffusionvl_texts": texts_table(seeds),
    }
    if _rows(seeds, "commits"):
        found["diffusionvl_commits"] = commits_table(seeds)
    speeds = dict.fromkeys(row["question"] for row in _rows(seeds, "speed"))
    return found | {f"diffusionvl_speed_{question}": speed_table(seeds, question) for question in speeds}


def training_table(seeds: Sequence[Results]) -> str:
    """One line an arm."""
    lines: list[Iterable[str]] = []
    for arm in _arms(seeds, "training"):
        rows = [row for row in _rows(seeds, "training") if row["arm"] == arm]
        base = NAMES[rows[0]["base"]] if rows[0]["base"] else "the language model"
        lines.append(
            [
                NAMES[arm],
                base,
                rows[0]["recipe"],
                str(rows[0]["steps"]),
                str(rows[0]["samples"]),
                _spread(_all(rows, "minutes"), 1),
            ]
        )
    return table(["run", "goes on from", "recipe", "steps", "samples", "minutes"], lines)


def answers_table(seeds: Sequence[Results]) -> str:
    """One line for guessing, and one for each arm and way: accuracy by kind of question, and tokens per pass over all."""
    kinds = list(_rows(seeds, "guessing")[0]["values"])
    counts = seeds[0]["questions"]
    header = ["", *(f"{kind} ({counts[kind]})" for kind in kinds), "tokens per pass"]
    lines: list[Iterable[str]] = []
    for key, name in (("chance", "chance"), ("majority", "most frequent answer of training")):
        rows = _rows(seeds, "guessing")
        lines.append([name, *(_share([row["values"][kind][key] for row in rows]) for kind in kinds), ""])
    for (arm, way), rows in _by_way(seeds, "answers").items():
        cells = [
            _share([row["values"][kind]["right"] / row["values"][kind]["questions"] for row in rows]) for kind in kinds
        ]
        lines.append([f"{NAMES[arm]}, {way}", *cells, _spread([_tokens_per_pass(row) for row in rows], 2)])
    return table(header, lines)


def texts_table(seeds: Sequence[Results]) -> str:
    """One line for each arm and way: quality of texts, and tokens per pass of those of 24 tokens and more."""
    header = [
        "",
        "description right",
        "its tokens per pass",
        "caption: ROUGE-L",
        "long caption: ROUGE-L",
        "BLEU",
        "chrF",
    ]
    header += ["of 24 tokens and more", "their tokens per pass", "name of an emoji: chrF"]
    lines: list[Iterable[str]] = []
    for (arm, way), rows in _by_way(seeds, "texts").items():
        told, short, long, emoji = (
            [row["values"][kind] for row in rows] for kind in ("description", "caption", "long caption", "emoji name")
        )
        lines.append(
            [
                f"{NAMES[arm]}, {way}",
                _share([one["right"] / one["questions"] for one in told]),
                _spread([one["tokens_per_pass"] for one in told], 2),
                _spread([one["metrics"]["rouge_l"] for one in short], 1),
                *(_spread([one["metrics"][metric] for one in long], 1) for metric in ("rouge_l", "bleu", "chrf")),
                _share([one["long"] / one["questions"] for one in long]),
                _spread([one["tokens_per_pass_of_long"] for one in long if one["long"]], 2),
                _spread([one["metrics"]["chrf"] for one in emoji], 1),
            ]
        )
    return table(header, lines)


def speed_table(seeds: Sequence[Results], question: str) -> str:
    """One line for each arm and way: passes, tokens per pass, the smallest time, how many times as fast as the AR control; of texts that
    end by themselves how good they are, of others how long they are where they may end.
    """
    rows = [row for row in _rows(seeds, "speed") if row["question"] == question]
    ends = "right" in rows[0]["cases"][0]
    header = [
        "",
        "tokens",
        "passes of the language model",
        "tokens per pass",
        "seconds",
        "times as fast as the AR control",
        *((f"right of {rows[0]['texts']}", "ROUGE-L") if ends else ("tokens of a text that may end",)),
        "the texts of fused commits",
    ]
    lines: list[Iterable[str]] = []
    for case in rows[0]["cases"]:
        same = [one for row in rows for one in row["cases"] if (one["arm"], one["way"]) == (case["arm"], case["way"])]
        lines.append(
            [
                f"{NAMES[case['arm']]}, {case['way']}",
                _spread(_all(same, "tokens"), 0),
                _spread(_all(same, "nfe"), 0),
                _spread(_all(same, "tokens_per_pass"), 2),
                _spread([min(one["seconds"]) for one in same], 3),
                _spread(_all(same, "times_as_fast"), 2),
                *(
                    (_spread(_all(same, "right"), 0), _spread([one["metrics"]["rouge_l"] for one in same], 1))
                    if ends
                    else (_spread([fmean(one["tokens_where_it_may_end"]) for one in same], 1),)
                ),
                _told([one["same_text"] for one in same if "same_text" in one]),
            ]
        )
    return table(header, lines)


def commits_table(seeds: Sequence[Results]) -> str:
    """One line for each text, arm and number of steps: passes with separate and with fused commits, and whether the texts are the same."""
    rows = _rows(seeds, "commits")
    header = ["texts", "", "passes, separate commits", "passes, fused commits", "the same texts"]
    lines: list[Iterable[str]] = []
    for place, case in enumerate(rows[0]["cases"]):
        same = [row["cases"][place] for row in rows]
        lines.append(
            [
                f"{case['question']} of {case['length']} tokens",
                f"{NAMES[case['arm']]}, {case['way']}",
                *(_spread([sum(one[how].values()) for one in same], 0) for how in ("separate", "fused")),
                _told(_all(same, "same_text")),
            ]
        )
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write accuracy by kind of question as bars, and quality against tokens per pass as curves, beside the results.

    The model that route 1 goes on from stands in the tables alone: a figure has six colours.
    """
    seeds = read(folder)
    if not seeds:
        return
    kinds = list(_rows(seeds, "guessing")[0]["values"])
    bars = [Bars(name, [[row["values"][kind][key] for row in _rows(seeds, "guessing")] for kind in kinds])
            for key, name in (("chance", "chance"), ("majority", "most frequent answer"))]  # fmt: skip
    for (arm, way), rows in _by_way(seeds, "answers").items():
        if arm != HALF and way in ("AR", f"S={seeds[0]['block_size']}"):
            shares = [
                [row["values"][kind]["right"] / row["values"][kind]["questions"] for row in rows] for kind in kinds
            ]
            bars.append(Bars(NAMES[arm], shares))
    _write(
        folder / "diffusionvl_answers.svg",
        bar_chart(kinds, bars, x_label="share of held-out questions answered rightly"),
    )
    for kind, label in CURVES.items():
        curves: dict[str, list[tuple[float, float]]] = {}
        for (arm, way), rows in _by_way(seeds, "texts").items():
            if arm == HALF:
                continue
            family = NAMES[arm] if way == "AR" else f"{NAMES[arm]}, {'static' if way.startswith('S=') else 'dynamic'}"
            values = [row["values"][kind] for row in rows]
            point = fmean(_all(values, "tokens_per_pass")), fmean(one["metrics"]["rouge_l"] for one in values)
            curves.setdefault(family, []).append(point)
        widest = max(x for points in curves.values() for x, _ in points)
        series = [
            Series(name, [points[0], (widest, points[0][1])], dashed=True)
            if len(points) == 1
            else Series(name, sorted(points))
            for name, points in curves.items()
        ]
        chart = line_chart(series, x_label="tokens per pass, prefill and commits included", y_label=label)
        _write(folder / f"diffusionvl_{kind.replace(' ', '_')}.svg", chart)


def _write(path: Path, chart: str) -> None:
    path.write_text(chart + "\n", encoding="utf-8")


def _rows(seeds: Sequence[Results], what: str) -> list[Any]:
    return [row for one in seeds for row in one["rows"] if row["what"] == what]


def _arms(seeds: Sequence[Results], what: str) -> list[str]:
    return list(dict.fromkeys(row["arm"] for row in _rows(seeds, what)))


def _by_way(seeds: Sequence[Results], what: str) -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = {}
    for row in _rows(seeds, what):
        found.setdefault((row["arm"], row["way"]), []).append(row)
    return found


def _tokens_per_pass(row: Mapping[str, Any]) -> float:
    values = row["values"].values()
    return sum(one["tokens"] for one in values) / sum(one["row_passes"] for one in values)


def _all(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


def _told(same: Sequence[bool]) -> str:
    return "" if not same else "yes" if all(same) else "no" if not any(same) else f"in {sum(same)} of {len(same)}"


def _share(values: Sequence[float]) -> str:
    return f"{_spread([100 * value for value in values], 1)} %" if values else ""


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean
