"""The report of a measurement, from numbers made up for it."""

from __future__ import annotations

import dataclasses
import json

from nn512.bench.agreement import BFLOAT16, Agreement
from nn512.bench.layers import LayerTime
from nn512.bench.measuring import Measurement, Timing
from nn512.bench.report import as_data, as_text
from nn512.bench.spread import Spread, spread
from nn512.graph import parse

GRAPH = parse("""
Config Prefix=Made
Input ToTensor=x Channels=100 Height=10 Width=10
Conv FromTensor=x ToTensor=y ToChannels=100 FilterH=1 FilterW=1
Output FromTensor=y
""")

COMMAND = "nn512 bench made.graph"


def around(value: float) -> Spread:
    return spread([0.98 * value, 0.99 * value, value, 1.01 * value, 1.02 * value])


def made(*, unquiet: float = 1.0, computed: float = 1.0) -> Measurement:
    theirs = dataclasses.replace(around(4000.0), upper=4040.0 * unquiet)
    return Measurement(
        graph=GRAPH,
        processor="Some CPU",
        cpus=(0, 2),
        compiler="cc 1.0, -O2",
        agreement=Agreement({"nn512": 1e-6, "other": 2e-7}, {"nn512": 1e-3, "other": 1e-3}),
        timings=(Timing("nn512", "", around(2000.0), None), Timing("other", "7.1", theirs, around(2.0))),
        computed_mmac=computed,
        peak_gflops=around(4.0),
        layers=(
            LayerTime("y", "pointwise", 1.0, 40_000, around(1000.0), 1100.0),
            LayerTime("rest", "store", 0.0, 0, around(1000.0), 1000.0),
        ),
        profiled=Timing("nn512 counting", "", around(2020.0), around(1.01)),
        runs=30,
        rounds=15,
    )


def test_text() -> None:
    text = as_text(made(), COMMAND)
    head, systems, legend, layers, summary = text.split("\n\n")
    assert head.splitlines()[0] == "Made: 0.001 GMAC, 0.0 MB of parameters, 2 threads"
    assert "Some CPU; pinned to processors 0, 2" in head
    assert "other 7.1; float32" in head
    bounds = {"nn512": BFLOAT16, "other": 1e-3}
    narrow = dataclasses.replace(made(), agreement=Agreement({"nn512": 1e-3, "other": 2e-7}, bounds))
    assert "other 7.1; float32 arithmetic, products perhaps of bfloat16 in nn512\n" in as_text(narrow, COMMAND)
    assert f"$ {COMMAND}" in head
    assert systems.splitlines()[1].split() == ["nn512", "2.000", "1.980", "-", "2.020", "1.0", "25.0%"]
    assert systems.splitlines()[2].split() == "other 4.000 3.960 - 4.040 2.000 1.980 - 2.020 0.5 12.5%".split()
    assert "median ms" in systems
    assert legend.startswith("30 inferences each, in 15 rounds")
    assert layers.splitlines()[1].split() == (
        "y pointwise 1000.00 990.00 - 1010.00 50.0% 2.0 50.0% 0.0 1100.00 1.10".split()
    )
    assert layers.splitlines()[2].split() == "rest store 1000.00 990.00 - 1010.00 50.0% 1000.00 1.00".split()
    assert summary.splitlines() == [
        "Sum of the layers: 2000.0 us; an inference with counters: 2020.0 us, 1.010 times one without",
        "Median of |predicted / measured - 1|: 5.0%",
    ]


def test_a_machine_that_was_not_quiet_is_reported() -> None:
    assert "not quiet" not in as_text(made(), COMMAND)
    assert "This machine was not quiet: the quartiles of other are" in as_text(made(unquiet=1.2), COMMAND)


def test_fewer_multiply_accumulates_than_the_graph_has_are_reported() -> None:
    assert "nothing reads" not in as_text(made(computed=0.9999999), COMMAND), "plans round"
    _, systems, legend, *_ = as_text(made(computed=0.75), COMMAND).split("\n\n")
    assert systems.splitlines()[1].split()[-2:] == ["1.0", "25.0%"], "by the graph"
    assert "count the 0.001 GMAC of the graph" in legend
    assert "nn512 computes 0.00075 of them" in legend


def test_data() -> None:
    data = json.loads(json.dumps(as_data(made(), COMMAND)))
    assert [system["of_peak"] for system in data["systems"]] == [0.25, 0.125]
    assert data["systems"][1]["ratio"]["median"] == 2.0
    assert data["layers"][0]["predicted_over_measured"] == 1.1
    assert data["layers"][1]["predicted_microseconds"] == 1000.0
    assert round(data["prediction_error"], 6) == 0.05
    assert data["command"] == COMMAND
    assert (data["gmac"], data["gmac_computed"]) == (0.001, 0.001)
