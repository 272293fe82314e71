import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from ar_quickstart.chart import Series, line_chart, ticks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.93, 0.99), (1, 4.4), (0, 300), (3, 3), (-2.5, 7), (0.001, 0.0011)]
)
def test_ticks_enclose_the_data_in_equal_round_steps(low, high):
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 9
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert max(steps) == pytest.approx(min(steps))


def test_shares_never_pass_one_hundred_percent():
    assert ticks(0.93, 1.0, top=1.0)[-1] == 1.0
    assert ticks(1.0, 1.0, top=1.0) == [0.0, 1.0]
    assert ticks(0.0, 0.0, top=1.0)[0] == 0.0


def test_points_lie_where_their_values_are():
    svg = line_chart([Series("a < b", [(0, 0), (5, 0.5), (10, 1)])], x_label="x & y", y_label="share", percent=True)
    root = ElementTree.fromstring(svg)
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{SVG}circle")]
    assert len(dots) == 3
    assert dots[1][0] == pytest.approx((dots[0][0] + dots[2][0]) / 2, abs=0.1)
    assert dots[1][1] == pytest.approx((dots[0][1] + dots[2][1]) / 2, abs=0.1)
    assert dots[0][1] > dots[2][1], "larger values lie higher"
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert "a < b" in texts
    assert "x & y" in texts
    assert "100 %" in texts


def test_one_point_and_labels():
    svg = line_chart(
        [Series("s", [(3, 7)], labels=["here"]), Series("t", [(3, 7)], dashed=True)], x_label="x", y_label="y"
    )
    root = ElementTree.fromstring(svg)
    assert "here" in [t.text for t in root.iter(f"{SVG}text")]
    assert "stroke-dasharray" in svg
