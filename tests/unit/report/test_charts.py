"""The charts are pure functions: same values, same markup; every value has its place."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from heliostat.report.axes import Axis, Scale, fit, log_ticks, overlaps, place_label, span, ticks, width
from heliostat.report.charts import WIDTH, Bar, Dot, Line, Point, bars, intervals, lines, scatter


def parse(markup):
    return ElementTree.fromstring(markup)


def test_scale_maps_ends_and_middle_and_clips():
    scale = Scale(0, 10, 100, 200)
    assert [scale(v) for v in (0, 5, 10, -3, 99)] == [100, 150, 200, 100, 200]
    assert Scale(1, 100, 0, 2, log=True)(10) == pytest.approx(1)


@pytest.mark.parametrize(
    ("low", "high", "first", "last"), [(0, 1, 0, 1), (0.931, 0.978, 0.94, 0.97), (0, 3, 0, 3), (-0.02, 0.02, -0.02, 0.02)]
)
def test_ticks_are_round_and_inside(low, high, first, last):
    found = ticks(low, high)
    assert (found[0], found[-1]) == (pytest.approx(first), pytest.approx(last))
    assert 2 <= len(found) <= 9
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)


def test_ticks_of_an_empty_range():
    assert ticks(2.0, 2.0) == [2.0]


def test_log_ticks():
    assert log_ticks(1e-5, 1e-3) == pytest.approx([1e-5, 1e-4, 1e-3])
    assert log_ticks(3, 30) == pytest.approx([5, 10, 20])
    assert log_ticks(3.1, 3.2) == [3.1, 3.2]


def test_span_of_one_value_has_room():
    low, high = span([0.9])
    assert low < 0.9 < high
    low, high = span([3.0], log=True)
    assert 0 < low < 3 < high


def test_wide_scripts_take_more_room_and_text_is_cut_to_fit():
    assert width("新闻") > width("ab")
    assert fit("short", 100) == "short"
    cut = fit("很长的模型名字" * 5, 60)
    assert cut.endswith("…")
    assert width(cut) <= 60


def test_labels_move_out_of_each_others_way():
    taken = []
    for _ in range(4):
        place_label("student", (100, 100), 8, (0, 0, 300, 300), taken)
    assert not any(overlaps(a, b) for i, a in enumerate(taken) for b in taken[:i])


def test_a_label_at_the_right_edge_goes_left():
    assert place_label("student", (295, 100), 8, (0, 0, 300, 300), [])[2] == "end"


def test_intervals_draw_a_row_for_each_model_and_the_reference():
    dots = [Dot("base", 0.9, 0.88, 0.92, "grey", "0.900"), Dot("学生 <b>", 0.95, 0.93, 0.97, "var(--ship)", "0.950")]
    root = parse(intervals(dots, title="accuracy & more", tell=str, reference=0.9))
    circles = root.findall("circle")
    assert len(circles) == 2
    assert float(circles[0].get("cx")) < float(circles[1].get("cx"))
    assert root.get("aria-label") == "accuracy & more"
    assert any(e.get("class") == "reference" for e in root.findall("line"))
    assert "学生 <b>" in [e.text for e in root.findall("text")]


def test_scatter_draws_points_higher_when_better_and_stays_inside():
    points = [Point("a", 1.0, 0.9, "red", "tip a"), Point("b", 100.0, 0.99, "blue", "tip b", y_low=0.98, y_high=1.0, x_low=90, x_high=110)]
    root = parse(scatter(points, x=Axis("ms", log=True), y=Axis("score"), title="t"))
    a, b = root.findall("circle")
    assert float(b.get("cy")) < float(a.get("cy"))
    assert all(0 <= float(c.get("cx")) <= WIDTH for c in (a, b))
    assert [c.get("data-tip") for c in (a, b)] == ["tip a", "tip b"]


def test_scatter_with_categories():
    points = [Point("", 0.0, 0.9, "red", "x"), Point("", 1.0, 0.8, "red", "y")]
    root = parse(scatter(points, x=Axis("schedule", names=("cosine", "linear")), y=Axis("score"), title="t"))
    assert {"cosine", "linear"} <= {e.text for e in root.findall("text")}


def test_one_point_is_a_chart_too():
    parse(scatter([Point("a", 0.0, 0.0, "red", "t")], x=Axis("x"), y=Axis("y"), title="t"))
    root = parse(lines([Line("a", ((0.5, 0.9),), "red", "t")], x=Axis("x"), y=Axis("y"), title="t"))
    assert len(root.findall("circle")) == 1


def test_the_strong_line_lies_on_top_and_labels_do_not_collide():
    series = [Line("best", ((1, 0.9), (2, 0.95)), "gold", "b", True), Line("other", ((1, 0.9), (2, 0.95)), "blue", "o")]
    root = parse(lines(series, x=Axis("epoch"), y=Axis("score"), title="t"))
    assert root.findall("polyline")[-1].get("class") == "curve strong"
    places = [float(e.get("y")) for e in root.findall("text") if e.text in ("best", "other")]
    assert abs(places[0] - places[1]) >= 12


def test_bars_are_proportional_and_parts_are_laid_end_to_end():
    root = parse(bars([Bar("a", ((10.0, "x", "t"),), "10"), Bar("b", ((5.0, "x", "t"), (15.0, "y", "t")), "20")], title="t"))
    first, left, right = root.findall("rect")
    assert float(first.get("width")) == pytest.approx((float(right.get("x")) - float(left.get("x"))) * 2, abs=0.3)
    assert float(left.get("x")) + float(left.get("width")) <= float(right.get("x"))


def test_bars_of_nothing():
    svg = parse(bars([Bar("a", ((0.0, "x", "t"),), "0")], title="t"))
    assert svg is not None
