"""Modules of PyTorch come in by both of its exporters and give what they give; what does not is said clearly."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn512
import reference
from nn512.onnx import Imported, UnsupportedError
from nn512.onnx.view import elements
from nn512.weights.fitting import Liberties, fit
from nn512.weights.torch_file import read_torch

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # what others warn about is theirs

EXPORTERS = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


@pytest.fixture
def torch() -> Any:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: modules not exported")
    return pytest.importorskip("torch", reason="PyTorch is not installed: modules not imported")


@pytest.fixture
def drawn(torch: Any) -> Callable[..., Any]:
    """A function that draws the parameters and moments of a module, and puts it into evaluation mode."""

    def draw(module: Any) -> Any:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, value in module.state_dict().items():
                if value.is_floating_point():
                    drawn = torch.randn(value.shape, generator=generator)
                    value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
        return module.eval()

    return draw


@pytest.fixture
def small(torch: Any, drawn: Callable[..., Any]) -> Any:
    nn = torch.nn
    features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    return drawn(nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)))


def made(torch: Any, name: str, forward: Callable[..., Any], **parts: Any) -> Any:
    """A module of a class of that name, made of others."""
    module = type(name, (torch.nn.Module,), {"forward": forward})()
    for path, part in parts.items():
        module.add_module(path, part)
    return module


def check(net: Imported, module: Any, *examples: Any) -> None:
    """Whether the reference makes of the import what PyTorch makes of the module."""
    given = {seen.tensor: example.numpy() for seen, example in zip(net.inputs, examples, strict=True)}
    shapes = net.graph.shapes
    data = {name: np.ascontiguousarray(array.reshape(shapes[name])) for name, array in given.items()}
    wanted = module(*examples)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    results = reference.run(net.graph, net.params, data)
    for seen, expected in zip(net.outputs, wanted, strict=True):
        found = elements(seen.dims, results[seen.tensor].value)
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-4)


@EXPORTERS
def test_layers_are_called_after_parameters_and_submodules(torch: Any, small: Any, exporter: str) -> None:
    image = torch.randn(1, 3, 6, 7)
    net = nn512.from_torch(small, image, exporter=exporter)
    check(net, small, image)
    assert [layer.to_tensor for layer in net.graph.layers] == ["t00", "t01", "t02", "t1", "t3"]
    assert [seen.tensor for seen in net.inputs] == ["input"]
    assert net.graph.config.prefix == "Sequential"


@EXPORTERS
def test_a_state_dict_fits_without_a_map(torch: Any, small: Any, exporter: str, tmp_path: Path) -> None:
    """Batch norms are not folded into weights that then are nobody's."""
    net = nn512.from_torch(small, torch.randn(1, 3, 6, 7), exporter=exporter)
    torch.save(small.state_dict(), tmp_path / "net.pt")
    found = fit(net.graph, read_torch(tmp_path / "net.pt"), None, Liberties(zero_biases=True))
    assert set(found) == set(net.params)
    for name, array in found.items():
        np.testing.assert_array_equal(array, net.params[name])


@EXPORTERS
def test_names_that_the_caller_gives(torch: Any, small: Any, exporter: str) -> None:
    given = {"input_names": ("image",), "output_names": ["logits"]}
    net = nn512.from_torch(small, torch.randn(1, 3, 6, 7), exporter=exporter, prefix="Mine", **given)
    assert ([s.tensor for s in net.inputs], [s.tensor for s in net.outputs]) == (["image"], ["logits"])
    assert net.graph.config.prefix == "Mine"


@EXPORTERS
def test_several_inputs_and_outputs(torch: Any, drawn: Callable[..., Any], exporter: str) -> None:
    def forward(self: Any, left: Any, right: Any) -> Any:
        both = self.conv(left) + right
        return both, self.head(both.mean((2, 3)))

    parts = {"conv": torch.nn.Conv2d(3, 4, 3, padding=1), "head": torch.nn.Linear(4, 2)}
    module = drawn(made(torch, "Two", forward, **parts))
    examples = torch.randn(1, 3, 6, 7), torch.randn(1, 4, 6, 7)
    net = nn512.from_torch(module, examples, exporter=exporter)
    check(net, module, *examples)
    assert [seen.tensor for seen in net.inputs] == ["left", "right"]


def test_the_readme(torch: Any, runs_here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "from_torch" in each)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), found)  # noqa: S102 - our own text
    exact = found["module"](found["image"]).detach().numpy()
    assert found["logits"].shape == (10, 1, 1), runs_here
    np.testing.assert_allclose(found["logits"].ravel(), exact.ravel(), atol=1e-5)
    assert sorted(path.name for path in Path("out").iterdir()) == [f"Sequential{s}" for s in (".c", ".h", ".plan.json")]


# --- what does not come in --------------------------------------------------------------------------------------------


@EXPORTERS
def test_what_is_refused_is_told_by_node(torch: Any, exporter: str) -> None:
    def forward(_: Any, x: Any) -> Any:
        return torch.cumsum(x, 1)

    sums = made(torch, "Sums", forward)
    module = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(sums)).eval()
    with pytest.raises(UnsupportedError) as caught:
        nn512.from_torch(module, torch.randn(1, 3, 6, 7), exporter=exporter)
    path = "'/1/1.0/CumSum'" if exporter == "torchscript" else "'node_cumsum' of module '1.0'"
    assert f"CumSum {path}: there is no such layer" in str(caught.value)
    assert "a submodule can be imported by itself" in str(caught.value)


@EXPORTERS
def test_what_pytorch_cannot_export(torch: Any, exporter: str) -> None:
    def forward(_: Any, x: Any) -> Any:
        return torch.erfinv(x)

    with pytest.raises(nn512.UsageError, match=r"PyTorch cannot export Odd: .*erf_?inv") as caught:
        nn512.from_torch(made(torch, "Odd", forward).eval(), torch.randn(1, 3, 6, 7), exporter=exporter)
    assert caught.value.__cause__ is not None
    assert re.search(r"exporter='(dynamo|torchscript)' goes another way", str(caught.value))
    assert "\x1b" not in str(caught.value)


def test_training_mode_is_refused(torch: Any, small: Any) -> None:
    example = torch.randn(1, 3, 6, 7)
    small[0][1].train()
    with pytest.raises(nn512.UsageError, match=r"'0\.1' of Sequential, in training mode: .* module\.eval\(\)"):
        nn512.from_torch(small, example)
    small.train()
    with pytest.raises(nn512.UsageError, match=r"Sequential is in training mode: .* module\.eval\(\)"):
        nn512.from_torch(small, example)
    assert small.training


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 6, 7), "example input 0 is 2x3x6x7: nets of a batch of 1"),
        ((1, 4, 6, 7), "Sequential itself fails with these example inputs: RuntimeError: .*4 channels"),
        ((), "Sequential itself fails"),
    ],
)
def test_wrong_examples(torch: Any, small: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(nn512.UsageError, match=message):
        nn512.from_torch(small, torch.randn(shape))


@pytest.mark.parametrize("given", [None, (), np.zeros((1, 3, 6, 7)), [np.zeros((1, 3, 6, 7))]])
@pytest.mark.usefixtures("torch")
def test_examples_that_are_no_tensors(small: Any, given: Any) -> None:
    with pytest.raises(nn512.UsageError, match=r"is a tensor or a tuple of them|is no tensor"):
        nn512.from_torch(small, given)
