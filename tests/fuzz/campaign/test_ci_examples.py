"""The examples for CI systems: their files are what those systems take, their scripts run nn512 as it is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.campaign.ledger import Shard
from nn512.cli import make_parser

yaml = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml comes with check-jsonschema")

EXAMPLES = Path(__file__).parents[3] / "ci" / "examples"
SCHEMAS = {"github-actions.yml": "vendor.github-workflows", "gitlab-ci.yml": "vendor.gitlab-ci"}

VALUES = {"SEED": "5", "EXAMPLES": "800", "SHARD": "3", "CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "8"}


def load(name: str) -> Any:
    """An example as data."""
    return yaml.YAML(typ="safe").load(EXAMPLES / name)


def scripts(name: str) -> list[str]:
    """Its shell scripts."""
    data = load(name)
    if name.startswith("github"):
        return [step["run"] for job in data["jobs"].values() for step in job["steps"] if "run" in step]
    return [line for job in data.values() if isinstance(job, dict) for line in job.get("script", [])]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_file_is_what_the_system_takes(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[name], str(EXAMPLES / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SCHEMAS)
def test_its_commands_are_ours(name: str) -> None:
    actions = []
    for script in scripts(name):
        assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0
        for line in re.findall("^nn512 .*", script, re.MULTILINE):
            words = shlex.split(re.sub(r"\$(\w+)", lambda found: VALUES[found[1]], line))
            args = make_parser(words[1:]).parse_args(words[1:])
            actions.append(args.action)
            if args.action is None:
                assert Shard.parse(args.shard) == Shard(3, 8)
                assert args.examples >= 50 * 8
    assert actions == [None, "merge"]


def test_there_are_eight_shards() -> None:
    assert load("github-actions.yml")["jobs"]["fuzz"]["strategy"]["matrix"]["shard"] == [*range(1, 9)]
    assert load("gitlab-ci.yml")["fuzz"]["parallel"] == 8
