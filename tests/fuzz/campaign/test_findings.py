"""Findings are complete folders, replay without anything else, and broken ones are answered by clear errors."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fuzz.campaign import findings, stored
from fuzz.campaign.corpus import corpus, dump_corpus_case
from fuzz.case import Case, DataSeed
from fuzz.draw.regimes import GIVEN, DataSet
from fuzz.judge.checker import check_sources, draw
from fuzz.judge.report import Report
from fuzz.problem import Problem
from fuzz.run.runners import runner_for
from fuzz.targets import Sources
from nn512.arrays import save_arrays
from nn512.cli import main
from nn512.errors import UsageError
from nn512.graph import Graph, parse

Emit = Callable[[Graph], Sources]

GRAPH = """\
Config
Input ToTensor=x Channels=2 Height=3 Width=4
Conv FromTensor=x ToTensor=y ToChannels=3 FilterH=2 FilterW=2
Output FromTensor=y
"""
CASE = Case(GRAPH, data=(DataSeed("exact", 1), DataSeed("gaussian", 2)))


def check_broken(emit: Emit, case: Case, break_: tuple[str, str]) -> Report:
    """A check of what the naive compiler emits, with a bug planted."""
    graph = parse(case.graph)
    sources = emit(graph)
    assert break_[0] in sources.source
    broken = Sources(sources.prefix, sources.header, sources.source.replace(*break_), sources.plan)
    return check_sources(case, graph, broken, draw(case, graph), runner_for(case.compiler))


@pytest.fixture(scope="module")
def finding(naive_emit: Emit, tmp_path_factory: pytest.TempPathFactory) -> findings.Finding:
    report = check_broken(naive_emit, CASE, ("float sum = params->yBiases[k];", "float sum = 0;"))
    assert {problem.kind for problem in report.problems} == {"values"}
    return findings.save(report, tmp_path_factory.mktemp("findings"))


def test_a_finding_has_everything(finding: findings.Finding) -> None:
    names = {path.name for path in finding.path.iterdir()}
    test = f"test_{finding.path.name.replace('-', '_')}.py"
    assert names == {
        *("net.graph", "case.json", "NN512.c", "NN512.h", "NN512.plan.json", "report.txt"),
        *("params.npz", "input.npz", "expected.npz", "got.npz", "repro.sh", "repro.c", "repro.bin", test),
        *(["portable"] if runner_for().portable else []),
    }
    assert finding.path.name == finding.identity.name
    assert (finding.path / "net.graph").read_text() == GRAPH
    details = json.loads((finding.path / "case.json").read_text())
    assert {"runner", "processor", "nn512", "numpy"} <= set(details["environment"])
    runner = runner_for()
    assert details["environment"]["runner_name"] == runner.name
    assert details["environment"]["compiler_version"] == runner.compiler.version
    assert details["identity"] == str(finding.identity)
    assert details["found"][0]["data"] == "exact:1"
    assert "got" in details["found"][0]["detail"]
    compile((finding.path / test).read_text(), test, "exec")
    with np.load(finding.path / "expected.npz") as expected:
        assert expected["y"].shape == expected["ySigma"].shape == (3, 2, 3)
    with np.load(finding.path / "input.npz") as inputs:
        assert inputs["x"].dtype == np.float32
    with np.load(finding.path / "got.npz") as got, np.load(finding.path / "expected.npz") as expected:
        assert got["y"].dtype == np.float32
        assert not np.array_equal(got["y"], expected["y"])


def test_a_finding_loads_as_it_was(finding: findings.Finding) -> None:
    assert stored.load(finding.path).case == CASE
    assert stored.load(finding.path / "case.json").case == CASE


def test_saving_twice_gives_one_folder(naive_emit: Emit, finding: findings.Finding) -> None:
    again = findings.save(
        check_broken(naive_emit, CASE, ("float sum = params->yBiases[k];", "float sum = 0;")), finding.path.parent
    )
    assert again.path == finding.path
    assert again.seen == finding.seen + 1
    assert json.loads((again.path / "case.json").read_text())["seen"] == again.seen
    assert [path.name for path in finding.path.parent.iterdir()] == [finding.path.name]


def test_repro_checks_the_emitted_code_or_the_compiler(
    finding: findings.Finding, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repro", str(finding.path), "--emitted"]) == 1
    assert "NOT verified" in capsys.readouterr().out
    assert main(["repro", str(finding.path)]) == 0  # our compiler does not have this bug
    assert "verified: y" in capsys.readouterr().out


def test_the_c_program_needs_a_compiler_only(finding: findings.Finding, naive_emit: Emit, tmp_path: Path) -> None:
    """It ends with 1 where the C is wrong, with 0 where it was put right."""
    runner = runner_for()
    for source, code in ((None, 1), (naive_emit(parse(GRAPH)).source, 0)):
        folder = tmp_path / str(code)
        shutil.copytree(finding.path, folder)
        if source is not None:
            (folder / "NN512.c").write_text(source)
        command = shlex.split((folder / "repro.c").read_text().splitlines()[2].strip(" *"))
        assert command[0] == "cc"
        strict = [*runner.compiler.command, "-Wall", "-Wextra", "-Werror", *command[1:]]
        subprocess.run(strict, cwd=folder, check=True)
        run = subprocess.run(["./repro"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == code, run.stdout + run.stderr
        assert ("y, 1 threads: " in run.stdout) == (code == 1)
        assert run.stdout.endswith("WRONG\n" if code else "all results are right\n")
        elsewhere = subprocess.run([str(folder / "repro")], cwd="/", capture_output=True, check=False)
        assert elsewhere.returncode == 2  # there is no repro.bin


def test_the_script_finds_an_interpreter(finding: findings.Finding, tmp_path: Path) -> None:
    """With nothing but the usual path, from another directory."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [str(finding.path / "repro.sh"), "--emitted"]
    run = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1, run.stderr
    assert "NOT verified" in run.stdout


def test_edits_of_the_graph_are_obeyed_or_refused(
    finding: findings.Finding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(finding.path, folder)
    (folder / "net.graph").write_text(GRAPH.replace("=y", "=other"))
    assert main(["repro", str(folder)]) == 0
    told = capsys.readouterr()
    assert "verified: other" in told.out
    assert "was edited" in told.err
    assert main(["repro", str(folder), "--emitted"]) == 2
    assert "the C beside it is that of the graph as it was" in capsys.readouterr().err
    (folder / "net.graph").write_text("Nonsense\n")
    assert main(["repro", str(folder)]) == 2
    assert "unknown node kind" in capsys.readouterr().err


def test_arrays_that_are_not_used_are_told(
    finding: findings.Finding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(finding.path, folder)
    main(["repro", str(folder)])
    assert ".npz" not in capsys.readouterr().err
    params, inputs = folder / "params.npz", folder / "input.npz"
    with np.load(params) as arrays:
        edited = {name: array + 1 for name, array in arrays.items()}
    save_arrays(params, edited)
    inputs.unlink()
    assert main(["repro", str(folder)]) == 0
    said = capsys.readouterr().err
    drawn = "the arrays are those that exact:1 draws\n"
    assert f"nn512: {params} has other arrays by now, and is not used: {drawn}" in said
    assert f"nn512: {inputs} is missing: {drawn}" in said
    inputs.write_text("none")
    main(["repro", str(folder)])
    assert f"nn512: {inputs} is no longer readable, and is not used: {drawn}" in capsys.readouterr().err


def test_edited_arrays_of_a_user_are_used(naive_emit: Emit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = parse(GRAPH)
    drawn = draw(CASE, graph)[0]
    given = DataSet(GIVEN, 0, drawn.params, drawn.inputs)
    good = naive_emit(graph)
    text = good.source.replace("float sum = params->yBiases[k];", "float sum = 0;")
    source = Sources(good.prefix, good.header, text, profile="direct", is_given=True)
    report = check_sources(Case(GRAPH, data=(DataSeed(GIVEN, 0),)), graph, source, [given], runner_for())
    folder = findings.save(report, tmp_path).path
    assert main(["repro", str(folder)]) == 1
    save_arrays(folder / "params.npz", {**drawn.params, "yBiases": np.zeros(3, np.float32)})
    capsys.readouterr()
    assert main(["repro", str(folder)]) == 0
    assert ".npz" not in capsys.readouterr().err


def test_the_smaller_of_two_cases_is_kept(naive_emit: Emit, tmp_path: Path) -> None:
    """Larger nets with the same fault are counted, a smaller one takes the place."""
    fault = ("float sum = params->yBiases[k];", "float sum = 0;")
    wide = Case(GRAPH.replace("ToChannels=3 ", "ToChannels=13 "), data=CASE.data)
    seen = [findings.save(check_broken(naive_emit, case, fault), tmp_path) for case in (wide, CASE, wide)]
    assert len({finding.path for finding in seen}) == 1
    assert [finding.seen for finding in seen] == [1, 2, 3]
    assert stored.load(seen[0].path).case == CASE
    assert findings.known_faults(tmp_path) == {seen[0].identity.name}


def test_other_faults_have_other_names(naive_emit: Emit, tmp_path: Path) -> None:
    for fault in ("float sum = 0;", "float sum = params->yBiases[k] + (k == 0);", "float sum = k == 2 ? 1 : 0;"):
        findings.save(check_broken(naive_emit, CASE, ("float sum = params->yBiases[k];", fault)), tmp_path)
    assert len(findings.known_faults(tmp_path)) >= 2


def test_no_folder_of_known_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "--baseline", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_the_pytest_file_runs(finding: findings.Finding) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(finding.path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_arrays_a_user_gave_are_replayed_from_the_folder(naive_emit: Emit, tmp_path: Path) -> None:
    graph = parse(GRAPH)
    data = draw(CASE, graph)[1]
    case = Case(GRAPH, data=(DataSeed("given", 0),))
    given = [type(data)("given", 0, data.params, data.inputs)]
    sources = naive_emit(graph)
    broken = Sources(
        sources.prefix, sources.header, sources.source.replace("+=", "-="), profile="direct", is_given=True
    )
    report = check_sources(case, graph, broken, given, runner_for())
    saved = findings.save(report, tmp_path)
    (replayed,) = stored.load(saved.path).data(graph)
    assert np.array_equal(replayed.inputs["x"], data.inputs["x"])
    assert np.array_equal(replayed.params["yWeights"], data.params["yWeights"])
    assert main(["repro", str(saved.path)]) == 1  # the C was given, so it is that in the folder that counts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "recursion|nested|Expecting"),
        ("[]", "no case"),
        ('{"case": 3}', "JSON object"),
        ('{"case": {}}', "'graph' must be"),
        ('{"case": {"graph": ["Config"], "colour": 1}}', "unknown field 'colour'"),
        ('{"case": {"graph": ["Config"], "data": ["gaussian"]}}', "gaussian:7"),
        ('{"case": {"graph": ["Config"], "optimisation": "-fplugin=evil.so"}}', "'optimisation' must be one of"),
        ('{"case": {"graph": ["Config"], "compiler": "/bin/sh"}}', "'compiler' must be"),
    ],
)
def test_broken_cases_are_mistakes_of_the_user(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "case.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        stored.load(tmp_path)


def test_a_missing_finding_is_a_mistake_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repro", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_corpus_files_are_graphs_with_a_comment(tmp_path: Path) -> None:
    file = tmp_path / "a.graph"
    file.write_text(dump_corpus_case(CASE))
    assert file.read_text().startswith('# case {"')
    assert file.read_text().endswith(GRAPH)
    assert stored.load(file).case.data == CASE.data
    parse(file.read_text())


def test_the_corpus_loads() -> None:
    files = corpus()
    assert files
    for file in files:
        case = stored.load(file).case
        parse(case.graph)
        assert case.data


def test_c_from_elsewhere_has_findings_of_its_own(naive_emit: Emit, tmp_path: Path) -> None:
    """Two faulty sources of one graph are two findings; a test of our compiler would not replay either of them."""
    graph = parse(GRAPH)
    good = naive_emit(graph)
    paths = []
    for fault in ("#error one", "#error two"):
        text = f"{good.source}\n{fault}\n"
        source = Sources(good.prefix, good.header, text, profile="direct", is_given=True)
        report = check_sources(CASE, graph, source, draw(CASE, graph), runner_for())
        paths.append(findings.save(report, tmp_path).path)
        assert fault in (paths[-1] / "NN512.c").read_text()
        (test,) = paths[-1].glob("test_*.py")
        assert "check_case" not in test.read_text()  # it judges the C beside it
    assert len({*paths}) == 2


def test_given_data_are_kept_even_if_nothing_runs(
    naive_emit: Emit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = parse(GRAPH)
    good = naive_emit(graph)
    drawn = draw(CASE, graph)[0]
    given = DataSet(GIVEN, 0, drawn.params, drawn.inputs)
    text = f"{good.source}\n#error broken\n"
    source = Sources(good.prefix, good.header, text, profile="direct", is_given=True)
    case = Case(GRAPH, data=(DataSeed(GIVEN, 0),))
    report = check_sources(case, graph, source, [given], runner_for())
    finding = findings.save(report, tmp_path)
    assert main(["repro", str(finding.path)]) == 1
    assert "#error broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        *({"force": 3}, {"force": "ab"}, {"force": [[]]}, {"force": [["a", 1]]}, {"weights": []}, {"nonsense": 1}),
        *({"without_passes": 3}, {"without_passes": [[]]}, {"without_passes": "dedup"}),
    ],
)
def test_broken_options(options: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "case.json"
    file.write_text(json.dumps({"case": {"graph": GRAPH.splitlines(), "options": options}}))
    assert main(["repro", str(file)]) == 2
    assert capsys.readouterr().err.startswith("nn512: ")


def test_every_legal_graph_makes_a_finding_that_replays(tmp_path: Path) -> None:
    """Comments may hold bytes that are no text, and graphs more than a mebibyte."""
    comments = "".join(f"# {'x' * 1000}{number}\n" for number in range(1500))
    text = (GRAPH + "# caf").encode() + b"\xe9\n" + comments.encode()
    graph = parse(text.decode("utf-8", "surrogateescape"))
    case = Case(graph.source.text, data=(DataSeed("gaussian", 0),))
    saved = findings.save(Report(case, graph, "none", problems=(Problem("emit", "wrong"),)), tmp_path)
    assert stored.load(saved.path).case == case
    assert (saved.path / "net.graph").read_bytes() == text
    (test,) = saved.path.glob("test_*.py")
    compile(test.read_bytes(), test.name, "exec")


def kept(folder: Path, graph: str, seen: int) -> Path:
    """The folder of a finding, as far as it counts."""
    folder.mkdir(parents=True)
    case = Case(graph).to_dict()
    (folder / "case.json").write_text(json.dumps({"case": case, "seen": seen}))
    (folder / "net.graph").write_text(graph)
    return folder


def test_findings_of_elsewhere_are_counted_and_the_smaller_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "findings"
    large = GRAPH + "# as it was drawn\n"
    for number, (graph, seen) in enumerate([(large, 2), (GRAPH, 1), (large, 4)]):
        there = kept(tmp_path / str(number) / "a-fault", graph, seen)
        assert findings.adopt(there, directory) == directory / "a-fault"
        assert not there.exists()
        assert (directory / "a-fault" / "net.graph").read_text() == (large if number == 0 else GRAPH)
    assert json.loads((directory / "a-fault" / "case.json").read_text())["seen"] == 7
    assert [path.name for path in directory.iterdir()] == ["a-fault"]


def test_only_findings_are_taken_in(tmp_path: Path) -> None:
    (tmp_path / "a-fault").mkdir()
    with pytest.raises(UsageError, match="no finding"):
        findings.adopt(tmp_path / "a-fault", tmp_path / "findings")
