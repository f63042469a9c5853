"""What kernels hand to the emitted file: routines that layers share, packed arrays, and the code of layers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from nn512.ir.decision import Decision
from nn512.plan.plan import PlannedTiles


@dataclass(frozen=True, slots=True)
class PackedArray:
    """One array of the packed parameters: its extents as they are written in C, and its number of elements."""

    name: str
    extents: str
    elements: int
    element: str = "float"

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return self.elements * {"float": 4, "uint16_t": 2}[self.element]


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the emitted file that several others use; `needs` are those that must stand before it."""

    name: str
    text: str
    needs: tuple[Routine, ...] = ()


@dataclass(frozen=True, slots=True)
class PackCall:
    """A call of a packing routine in NetCreate: the values of its arguments, and items of work.

    The routine `pack_x` comes with a macro `PACK_X(items, ...)` that has threads share the items. `tables` are what
    arguments name.
    """

    routine: Routine
    arguments: tuple[str, ...]
    items: int
    tables: tuple[Routine, ...] = ()


@dataclass(frozen=True, slots=True)
class InferenceStep:
    """A step function of a layer and how many equal items of work it has, which threads share."""

    name: str
    items: int


@dataclass(frozen=True, slots=True)
class LayerCode:
    """The code of one layer, made by its kernel.

    `steps` run one after another; most layers have one. `text` has all their functions. `arrays` are the packed
    parameters that they read, `packs` the calls that fill these. `algorithm` says in words how the layer is computed,
    `tiles` in which tiles if it is by some. `decisions` are those that the kernel made.
    """

    name: str
    algorithm: str
    steps: tuple[InferenceStep, ...]
    text: str
    arrays: tuple[PackedArray, ...] = ()
    packs: tuple[PackCall, ...] = ()
    edge_classes: tuple[str, ...] = ()
    tiles: PlannedTiles | None = None
    decisions: tuple[Decision, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed parameters."""
        return sum(array.bytes for array in self.arrays)


class Library:
    """Collects shared routines in the order of their first use and gives each a name of its own."""

    def __init__(self) -> None:
        self._by_body: dict[tuple[str, str], str] = {}
        self._by_key: dict[Hashable, str] = {}
        self._taken: dict[str, int] = {}
        self._routines: list[Routine] = []

    def add(self, hint: str, write: Callable[[str], str], key: Hashable = None) -> str:
        """Name of the routine that `write(name)` gives the text of; `hint` is its name unless another text has it.

        Texts with the same `key` are equal, and are written once.
        """
        if key is not None and key in self._by_key:
            return self._by_key[key]
        body = (hint, write(hint))
        if body not in self._by_body:
            number = self._taken.get(hint, 0) + 1
            self._taken[hint] = number
            name = hint if number == 1 else f"{hint}_{number}"
            self._by_body[body] = name
            self._routines.append(Routine(name, body[1] if name == hint else write(name)))
        if key is not None:
            self._by_key[key] = self._by_body[body]
        return self._by_body[body]

    def use(self, routine: Routine) -> str:
        """Name of a routine with one text, after those that it needs."""
        for needed in routine.needs:
            self.use(needed)
        return self.add(routine.name, lambda _: routine.text, routine)

    def __contains__(self, routine: Routine) -> bool:
        return any(routine.name == one.name for one in self._routines)

    def __iter__(self) -> Iterator[Routine]:
        return iter(self._routines)
