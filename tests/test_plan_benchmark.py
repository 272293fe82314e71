"""Planned peaks are those that runs of three packages reach."""

import pytest

PACKAGES = ("text", "images", "vision-language")


@pytest.mark.parametrize("number", range(3), ids=PACKAGES)
def test_planned_peak_is_within_15_percent_of_the_measured_one(benchmark_module, number):
    measuring = benchmark_module("plan.measuring")
    row = measuring.measured(measuring.DRY[number], repeats=1, device="cpu", ceiling=None)
    assert row["name"] == PACKAGES[number]
    assert row["planned_bytes"] == pytest.approx(row["measured_bytes"], rel=measuring.ALLOWED)
    assert not row["error"]


def test_a_plan_that_is_off_is_an_error(benchmark_module, monkeypatch):
    measuring = benchmark_module("plan.measuring")
    monkeypatch.setattr(measuring, "measured_peak", lambda *given: 10**6)
    row = measuring.measured(measuring.DRY[2], repeats=1, device="cpu", ceiling=None)
    assert row["error"].startswith("the plan is off by ")
