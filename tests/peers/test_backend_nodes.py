"""ONNX's own tests of single nodes: each is imported and gives the same in the emitted C, or is refused by its name.

What they show is counted in nn512/onnx/support.json, which the table of `nn512 doc onnx` shows; run pytest with
--update-golden to write it anew.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nn512.errors import UsageError
from nn512.onnx import Imported
from nn512.onnx.importing import BY_OPERATOR, convert
from nn512.onnx.load import model_of
from nn512.onnx.model import NEWEST_OPSET, OLDEST_OPSET, Cut
from nn512.onnx.support import COUNTS
from nn512.onnx.view import elements
from nn512.params import array_of
from nn512.session import Session

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs


def cases() -> Iterator[Any]:
    """Tests of one node whose operator is read, of plain arrays. Those of newer operator sets are taken as of ours."""
    for case in importlib.import_module("onnx.backend.test.case.node").collect_testcases():
        nodes = case.model.graph.node
        arrays = [value for values in case.data_sets[0] for value in values]
        if len(nodes) == 1 and nodes[0].op_type in BY_OPERATOR and all(map(is_array, arrays)):
            for entry in case.model.opset_import:
                entry.version = min(entry.version, NEWEST_OPSET)
            yield case


def versions(operator: str) -> list[int]:
    """Operator sets of ours that define the operator anew, and the last one before them if that holds on."""
    schemas = importlib.import_module("onnx.defs").get_all_schemas_with_history()
    found = sorted({s.since_version for s in schemas if s.name == operator and not s.domain})
    before = [version for version in found if version < OLDEST_OPSET][-1:]
    if OLDEST_OPSET in found:
        before = []
    return [*before, *(version for version in found if OLDEST_OPSET <= version <= NEWEST_OPSET)]


def is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def attempts(case: Any) -> Iterator[tuple[Imported, dict[str, Any], list[Any]]]:
    """The case as an import with its inputs and outputs, in the ways in which it can be one.

    As it is; with all inputs but the first as constants, as models have them; and with a batch of one.
    """
    onnx = importlib.import_module("onnx")
    inputs, outputs = case.data_sets[0]
    data = {info.name: np.asarray(value) for info, value in zip(case.model.graph.input, inputs, strict=False)}
    first = next(iter(data), "")
    refusals = []
    for constants in (False, True):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        if constants:
            others = [onnx.numpy_helper.from_array(data[name], name) for name in list(data)[1:]]
            model.graph.initializer.extend(others)
        for pinned in (False, True):
            shape = data[first].shape if first else ()
            if pinned and (not constants or not shape or shape[0] < 2):
                continue
            cut = Cut({f"{first}.0": 1} if pinned else {})
            given = data | ({first: data[first][:1]} if pinned else {})
            wanted = [np.asarray(value)[:1] if pinned and np.ndim(value) else value for value in outputs]
            try:
                yield convert(model_of(onnx, model.SerializeToString(), Path(case.name)), cut), given, wanted
            except UsageError as error:
                refusals.append(str(error))
    assert all(refusals)


def is_right(net: Imported, data: dict[str, Any], wanted: list[Any], names: list[str]) -> bool:
    """Whether the emitted C gives what the case says."""
    given = {}
    for seen in net.inputs:
        shape = net.graph.shapes[seen.tensor]
        flat = np.empty(shape.elements, np.float32)
        flat[elements(seen.dims, np.arange(shape.elements).reshape(shape)).reshape(-1)] = data[seen.onnx].reshape(-1)
        (node,) = (node for node in net.graph.inputs if node.to_tensor == seen.tensor)
        given[seen.tensor] = array_of(node, flat.reshape(shape))
    with Session(net.graph, net.params) as session:
        results = session.run(given)
    for seen in net.outputs:
        got, expected = elements(seen.dims, results[seen.tensor]), np.asarray(wanted[names.index(seen.onnx)])
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=1e-3, atol=1e-5, equal_nan=True):
            return False
    return True


@pytest.mark.usefixtures("runs_here")
def test_single_nodes(request: pytest.FixtureRequest) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: its tests of nodes not run")
    release = onnx.__version__
    counts: dict[str, list[int]] = {}
    wrong = []
    for case in cases():
        graph = case.model.graph
        names = [info.name for info in graph.output]
        count = counts.setdefault(graph.node[0].op_type, [0, 0])
        net = next(attempts(case), None)
        count[net is None] += 1
        if net is not None and not is_right(*net, names):
            wrong.append(case.name)
    assert wrong == []
    table = {name: [versions(name), *counts.get(name, (0, 0))] for name in sorted(BY_OPERATOR)}
    if request.config.getoption("--update-golden"):
        lines = ",\n".join(f" {json.dumps(operator)}: {json.dumps(numbers)}" for operator, numbers in table.items())
        COUNTS.write_text(f'{{"onnx": "{release}", "operators": {{\n{lines}\n}}}}\n', "utf-8")
    known = json.loads(COUNTS.read_text("utf-8"))
    assert known["onnx"] != release or known["operators"] == table  # another release has other tests
    assert sum(passed for passed, _ in counts.values()) > 80
