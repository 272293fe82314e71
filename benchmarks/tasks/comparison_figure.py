"""The conversions of one method side by side as one figure of three panels."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from ar_quickstart.chart import Series, line_chart

from .comparison import by_conversion, once_per_seed, over_seeds
from .plotting import is_autoregressive

__all__ = ["comparison_figure"]

SVG = "http://www.w3.org/2000/svg"
TITLE = 24

Results = Sequence[dict[str, Any]]


def comparison_figure(results: Results, beside: Mapping[str, Results] | None = None) -> str:
    """SVG, means over seeds: accuracy against tokens per forward; change of the weights by layer; where masks stand in a block
    when it is decoded and (dashed) when it is trained on.

    Args:
        results: of one method, all variants and seeds.
        beside: results of other methods by the names of their curves, for the first panel.
    """
    groups = by_conversion(results)
    colours = {name: number for number, name in enumerate([*groups, *(beside or {})])}
    panels = {
        "Exact answers against speed, one point for each threshold": line_chart(
            [*_accuracy({**groups, **(beside or {})}, colours), *_autoregressive(results)],
            x_label="generated tokens per forward pass, prefill and commits included",
            y_label="exact answers",
            percent=True,
        )
    }
    changes = list(_changes(groups, colours))
    if changes:
        panels["Relative change of the weight matrices"] = line_chart(
            changes, x_label="layer", y_label="change, relative to the norm"
        )
    masks = list(_masks(groups, colours))
    if masks:
        panels["Where masks stand: decoding one token a pass, and training"] = line_chart(
            masks, x_label="position in the block", y_label="masked, relative to the block's mean"
        )
    return _stacked(panels)


def _accuracy(groups: Mapping[str, Results], colours: Mapping[str, int]) -> Iterator[Series]:
    for name, same in groups.items():
        size = same[0]["trained_block_size"]
        for kind, label in (("separate", name), ("length given", f"{name}, length of the answer given")):
            rows = [row for row in same[0]["rows"] if str(row["name"]).startswith(f"D={size} {kind} ")]
            rows.sort(key=lambda row: -row["threshold"])
            if rows:
                yield Series(label, [_point(same, row["name"]) for row in rows], colour=colours[name])
        for row in same[0]["rows"]:
            if "mode" in row:
                yield Series(row["name"], [_point(same, row["name"])], colour=colours[name])


def _autoregressive(results: Results) -> list[Series]:
    widest = max(row["tokens_per_forward"] for result in results for row in result["rows"] if "commit" in row)
    same = once_per_seed(results)
    found = []
    for row in same[0]["rows"]:
        if is_autoregressive(row):
            x, y = _point(same, row["name"])
            found.append(Series(row["name"], [(x, y), (widest, y)], dashed=True))
    return found


def _point(same: Results, name: str) -> tuple[float, float]:
    return fmean(over_seeds(same, name, "tokens_per_forward")), fmean(over_seeds(same, name, "accuracy"))


def _changes(groups: Mapping[str, Results], colours: Mapping[str, int]) -> Iterator[Series]:
    for name, same in groups.items():
        layers = _mean_curve(same, "weight_change")
        if layers:
            yield Series(name, list(enumerate(layers, 1)), colour=colours[name])


def _masks(groups: Mapping[str, Results], colours: Mapping[str, int]) -> Iterator[Series]:
    """Decoding and training of the conversions that differ in how they mask."""
    drawn: list[list[float]] = []
    for name, same in groups.items():
        training, decoding = _mean_curve(same, "masked_training"), _mean_curve(same, "masked_decoding")
        if training and training not in drawn:
            drawn.append(training)
            for label, curve in (("decoding", decoding), ("training", training)):
                points = [(float(position), share / fmean(curve)) for position, share in enumerate(curve, 1)]
                yield Series(f"{name}, {label}", points, dashed=label == "training", colour=colours[name])


def _mean_curve(same: Results, key: str) -> list[float]:
    return [fmean(values) for values in zip(*(result[key] for result in same if key in result))]


def _stacked(panels: Mapping[str, str]) -> str:
    """Charts under one another, each below its title."""
    ElementTree.register_namespace("", SVG)
    whole, top, width = ElementTree.Element(f"{{{SVG}}}svg", {"class": "chart", "role": "img"}), 0.0, 0.0
    for title, chart in panels.items():
        root = ElementTree.fromstring(chart)
        *_, own_width, height = map(float, root.attrib["viewBox"].split())
        heading = ElementTree.SubElement(
            whole, f"{{{SVG}}}text", {"x": "8", "y": f"{top + 16:g}", "font-weight": "bold"}
        )
        heading.text = title
        group = ElementTree.SubElement(whole, f"{{{SVG}}}g", {"transform": f"translate(0 {top + TITLE:g})"})
        group.extend(root)
        top, width = top + TITLE + height, max(width, own_width)
    whole.set("viewBox", f"0 0 {width:g} {top:g}")
    whole.set("width", f"{width:g}")
    whole.set("aria-label", "; ".join(panels))
    return ElementTree.tostring(whole, encoding="unicode")
