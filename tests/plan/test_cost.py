"""The cost model: what more threads make faster, and what not."""

from __future__ import annotations

import pytest

from nn512.plan.cost import SMALLEST_SPLIT_MICROSECONDS, Machine, Work, microseconds

ARITHMETIC = Work(macs=1e8, efficiency=1.0, weight_bytes=0, tensor_bytes=0)
TRANSFORMS = Work(macs=1, efficiency=1.0, weight_bytes=0, tensor_bytes=0, vector_operations=1e6)
NEAR = Work(macs=0, efficiency=1.0, weight_bytes=0, tensor_bytes=900e3)
FAR = Work(macs=0, efficiency=1.0, weight_bytes=0, tensor_bytes=9e6)
WEIGHTS = Work(macs=1, efficiency=1.0, weight_bytes=1e7, tensor_bytes=0)


def speedup(work: Work, threads: int) -> float:
    return microseconds(work, Machine()) / microseconds(work, Machine(threads=threads))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("work", [ARITHMETIC, TRANSFORMS, NEAR, FAR])
def test_cores_add_up_in_what_each_does_alone(work: Work, threads: int) -> None:
    assert speedup(work, threads) == pytest.approx(threads)


@pytest.mark.parametrize("threads", [2, 64])
def test_memory_is_shared(threads: int) -> None:
    assert speedup(WEIGHTS, threads) == pytest.approx(1, abs=1e-3)


def test_threads_without_an_item_wait() -> None:
    three = Work(macs=1e8, efficiency=1.0, weight_bytes=0, tensor_bytes=0, items=3)
    assert [round(speedup(three, threads), 6) for threads in (1, 2, 3, 4)] == [1, 1.5, 3, 3]


def test_little_work_is_done_by_one_thread() -> None:
    machine = Machine(threads=8)
    little = Work(macs=2e5, efficiency=1.0, weight_bytes=0, tensor_bytes=0)
    assert microseconds(little, Machine()) <= SMALLEST_SPLIT_MICROSECONDS
    assert microseconds(little, machine) == microseconds(little, Machine())
