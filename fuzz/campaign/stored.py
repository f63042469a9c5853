"""What a finding's folder or a file of the corpus holds, and its replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fuzz.campaign.corpus import corpus, load_corpus_case
from fuzz.case import Case, DataSeed, load_json, parse_data_seed
from fuzz.draw.regimes import GIVEN, DataSet, draw
from fuzz.judge.checker import check_case
from fuzz.judge.localize import localized
from fuzz.judge.report import Report
from fuzz.run.runners import Runner, choose_runner, compiler_for, runner_for
from fuzz.targets import OURS, Folder, Target
from fuzz.targets.base import Arrays
from fuzz.targets.registry import target_of
from nn512.arrays import load_arrays
from nn512.errors import CannotRunError, UsageError
from nn512.graph import Graph, parse
from nn512.params import check_arrays, load_params


@dataclass(frozen=True, slots=True)
class Stored:
    """What is replayed. `is_given`: the C did not come from our compiler, so that in the folder is judged again.

    `target` is the name of what was at fault, unless that is C that was given. `runner` and `compiler` are what found
    it, `version` is what that compiler said of itself; empty where that is not known. `is_edited`: the graph beside the
    case is another one by now. `arrays` is the data set whose arrays were kept beside it.
    """

    case: Case
    target: str = OURS.name
    profile: str = ""
    folder: Path | None = None
    is_given: bool = False
    is_edited: bool = False
    runner: str = ""
    compiler: str = ""
    version: str = ""
    arrays: DataSeed | None = None

    def data(self, graph: Graph) -> tuple[DataSet, ...]:
        """The data sets whose arrays cannot be drawn again, because a user gave them. Raises UsageError."""
        if self.folder is None or all(seed.regime != GIVEN for seed in self.case.data):
            return ()
        params = load_params(self.folder / "params.npz", graph)
        shapes = graph.input_shapes
        inputs = check_arrays("input", shapes, load_arrays(self.folder / "input.npz", shapes))
        return (DataSet(GIVEN, self.case.data[0].seed, params, inputs),)

    def unused(self) -> Iterator[str]:
        """Files of the folder that are not what the seed of their data set draws, which a replay takes, each in words.

        Arrays that a user gave are taken from the folder. Those of an edited graph fit no more.
        """
        if self.folder is None or self.arrays is None or self.arrays.regime == GIVEN or self.is_edited:
            return
        drawn = draw(parse(self.case.graph, "net.graph"), self.arrays.regime, self.arrays.seed)
        for name, wanted in (("params.npz", drawn.params), ("input.npz", drawn.inputs)):
            how = _differs(self.folder / name, wanted)
            if how:
                yield f"{self.folder / name} {how}: the arrays are those that {self.arrays} draws"

    def choose_runner(self) -> tuple[Runner, str]:
        """What runs it: as it was found, if that works here and there is no $CC; and a remark where it is another."""
        try:
            runner = choose_runner(self.runner or None, compiler_for(self.compiler or self.case.compiler))
        except (CannotRunError, UsageError):
            runner = runner_for()
        same = self.runner in {"", runner.name} and self.version in {"", runner.compiler.version}
        return runner, "" if same else f"found with {self.runner}, {self.version}; replayed with {runner.name}"

    def check(self, runner: Runner | None = None, *, emitted: bool = False) -> Report:
        """Judge it again: `emitted` the C in the folder, else what the compiler makes of the graph now.

        Raises UsageError where there is no such C, or where it is not that of an edited graph.
        """
        graph = parse(self.case.graph, "net.graph" if self.folder is None else str(self.folder / "net.graph"))
        target: Target = OURS
        if emitted or self.is_given:
            if self.folder is None:
                raise UsageError("there is no C beside it")
            if self.is_edited:
                raise UsageError(
                    f"{self.folder / 'net.graph'} was edited, and the C beside it is that of the graph as it was: "
                    + ("undo the edit" if self.is_given else "leave out --emitted to compile the new graph")
                )
            target = Folder(self.folder, self.profile)
        elif self.target != OURS.name:
            target = target_of(self.target, self.profile)
        runner = runner or self.choose_runner()[0]
        return localized(check_case(self.case, self.data(graph), runner, target=target))


def load(path: Path) -> Stored:
    """A finding (its folder or case.json) or a file of the corpus. Raises UsageError."""
    if path.suffix == ".graph":
        return Stored(load_corpus_case(path))
    file = path / "case.json" if path.is_dir() else path
    data = load_json(file)
    if not (isinstance(data, dict) and "case" in data):
        raise UsageError(f"{file}: no finding, there is no case in it")
    case = Case.from_dict(data["case"], str(file))
    found = data.get("environment", {})
    words = found if isinstance(found, dict) else {}
    edited = _edited(file.parent / "net.graph", case)
    return Stored(
        case if edited is None else edited,
        target=str(data.get("target", OURS.name)),
        profile=str(data.get("profile", "")),
        folder=file.parent,
        is_given=data.get("given", bool(data.get("profile"))) is True,
        is_edited=edited is not None,
        runner=str(words.get("runner_name", "")),
        compiler=str(words.get("compiler_kind", "")),
        version=str(words.get("compiler_version", "")),
        arrays=_kept_arrays(data, file),
    )


def _differs(file: Path, wanted: Arrays) -> str:
    """How the arrays in a file differ from those that are wanted; nothing where they do not."""
    if not file.exists():
        return "is missing"
    try:
        found = load_arrays(file, wanted)
    except UsageError:
        return "is no longer readable, and is not used"
    same = found.keys() == wanted.keys() and all(
        found[name].shape == array.shape
        and found[name].dtype == array.dtype
        and found[name].tobytes() == array.tobytes()
        for name, array in wanted.items()
    )
    return "" if same else "has other arrays by now, and is not used"


def _kept_arrays(data: Mapping[str, object], file: Path) -> DataSeed | None:
    """The data set whose arrays a finding has."""
    text = data.get("arrays")
    return None if text is None else parse_data_seed(text, str(file))


def _edited(file: Path, case: Case) -> Case | None:
    """The case with the graph that stands beside it, where that is another one."""
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    return None if text.splitlines() == case.graph.splitlines() else replace(case, graph=text)


def named_in_corpus(name: str) -> Stored | None:
    """The case of the corpus of this name, if there is one."""
    return next((Stored(load_corpus_case(file)) for file in corpus() if file.stem == name), None)
