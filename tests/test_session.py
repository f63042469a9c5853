"""Sessions: the emitted code inside Python."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import nn512
import reference
from nn512 import toolchain
from nn512.params import random_params

TEXT = """
Config Prefix=Sess
Input ToTensor=b Channels=5 Height=7 Width=9
Input ToTensor=a Channels=3 Height=7 Width=9
Concat FromTensor1=a FromTensor2=b ToTensor=ab
Conv FromTensor=ab ToTensor=c ToChannels=19 FilterH=3 FilterW=3 PaddingH=1 PaddingW=1
Activation FromTensor=c ToTensor=r Kind=ReLU
FullyConnected FromTensor=r ToTensor=f ToChannels=10
Output FromTensor=f
Output FromTensor=r
"""

pytestmark = pytest.mark.usefixtures("runs_here")


def draw(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.standard_normal((3, 7, 9), np.float32), "b": rng.standard_normal((5, 7, 9), np.float32)}


@pytest.fixture
def graph() -> nn512.Graph:
    return nn512.parse(TEXT)


@pytest.mark.parametrize("threads", [1, 3])
def test_outputs_are_those_of_the_reference(graph: nn512.Graph, threads: int) -> None:
    params = random_params(graph, 4)
    with nn512.Session(graph, params, threads=threads) as session:
        for seed in range(3):
            inputs = draw(seed)
            outputs = session.run(inputs)
            assert list(outputs) == ["f", "r"]
            for name, expected in reference.run(graph, params, inputs).items():
                assert outputs[name].dtype == np.float32
                np.testing.assert_allclose(
                    outputs[name], expected.value, rtol=0, atol=8 * np.sqrt(expected.variance.max())
                )


def test_text_strides_and_fresh_outputs() -> None:
    params = random_params(nn512.parse(TEXT), 4)
    inputs = draw(0)
    strided = {name: np.asfortranarray(array) for name, array in inputs.items()}
    with nn512.Session(TEXT, params) as session:
        first = session.run(inputs)
        kept = first["f"].copy()
        session.run(draw(1))
        assert np.array_equal(first["f"], kept)
        assert np.array_equal(session.run(strided)["f"], kept)


def test_wrong_inputs(graph: nn512.Graph) -> None:
    with nn512.Session(graph, random_params(graph, 0)) as session:
        good = draw(0)
        with pytest.raises(nn512.UsageError) as caught:
            session.run({"a": good["a"][:, :6], "c": good["b"]})
        assert str(caught.value).splitlines() == [
            "there is no input 'c'",
            "input 'b' (5x7x9) is missing",
            "input 'a' is 3x6x9, not 3x7x9",
        ]
        with pytest.raises(nn512.UsageError, match="input 'a' is float64, not float32"):
            session.run({**good, "a": good["a"].astype(np.float64)})


def test_wrong_params_and_threads(graph: nn512.Graph) -> None:
    with pytest.raises(nn512.UsageError, match=r"parameter 'cWeights' .* is missing"):
        nn512.Session(graph, {})
    for threads in (0, -1, 1 << 40):
        with pytest.raises(nn512.UsageError, match="threads"):
            nn512.Session(graph, random_params(graph, 0), threads=threads)


def test_closing(graph: nn512.Graph) -> None:
    before = threading.active_count()
    session = nn512.Session(graph, random_params(graph, 0), threads=2)
    session.run(draw(0))
    session.close()
    session.close()
    with pytest.raises(nn512.UsageError, match="closed"):
        session.run(draw(0))
    assert threading.active_count() == before


def test_forgotten_sessions_are_released(graph: nn512.Graph) -> None:
    session = nn512.Session(graph, random_params(graph, 0), threads=2)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_calls_from_several_threads(graph: nn512.Graph) -> None:
    inputs = [draw(seed) for seed in range(4)]
    with nn512.Session(graph, random_params(graph, 0), threads=2) as session:
        expected = [session.run(given)["f"] for given in inputs]
        wrong: list[int] = []

        def work(index: int) -> None:
            runs = [session.run(inputs[index])["f"] for _ in range(20)]
            wrong.extend(index for found in runs if not np.array_equal(found, expected[index]))

        workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not wrong


def test_runner_must_be_one_that_a_session_can_use(graph: nn512.Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NN512_RUNNER", "sde")
    with pytest.raises(nn512.CannotRunError, match="NN512_RUNNER=sde"):
        nn512.Session(graph, random_params(graph, 0))


def test_without_avx512_a_session_is_slow_and_says_so(
    graph: nn512.Graph, runs_here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs_here
    params = random_params(graph, 9)
    monkeypatch.setenv("NN512_RUNNER", "soft")
    with nn512.Session(graph, params) as session:
        asked = session.run(draw(9))
    monkeypatch.setattr(toolchain, "has_avx512", lambda *_: False)
    monkeypatch.delenv("NN512_RUNNER")
    with pytest.warns(RuntimeWarning, match="no AVX-512F: the net runs on portable intrinsics") as told:
        session = nn512.Session(graph, params)
    assert told[0].filename == __file__
    with session:
        unasked = session.run(draw(9))
    assert all(np.array_equal(asked[name], unasked[name]) for name in asked)
    monkeypatch.setenv("NN512_RUNNER", "native")
    with pytest.raises(nn512.CannotRunError, match="NN512_RUNNER=soft runs without it"):
        nn512.Session(graph, params)


def test_no_compiler_is_said(graph: nn512.Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(nn512.CannotRunError, match="no-such-compiler"):
        nn512.Session(graph, random_params(graph, 0))


def test_soft_and_native_agree_bit_for_bit(graph: nn512.Graph, runs_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if runs_here != "native":
        pytest.skip("this processor has no AVX-512F")
    params, inputs = random_params(graph, 9), draw(9)
    with nn512.Session(graph, params) as session:
        native = session.run(inputs)
    monkeypatch.setenv("NN512_RUNNER", "soft")
    with nn512.Session(graph, params) as session:
        soft = session.run(inputs)
    assert all(np.array_equal(native[name], soft[name]) for name in native)


def test_public_names() -> None:
    for name in nn512.__all__:
        assert getattr(nn512, name) is not None
    with pytest.raises(AttributeError, match="bogus"):
        _ = nn512.bogus
