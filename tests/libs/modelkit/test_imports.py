"""What is imported where: a domain counts without numpy, a child starts with everything loaded."""

import json
import subprocess
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from tests.libs.modelkit.samples import cancer, declared, ignore, package_of, spec_of, written

from modelkit import children
from modelkit.preload import MODULES

HEAVY = ("numpy", "pyarrow", "sklearn", "scipy", "skops")


def loaded_by(module: str) -> set[str]:
    told = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", told], stdout=subprocess.PIPE, check=True)
    return {name.split(".")[0] for name in json.loads(run.stdout)}


@pytest.mark.parametrize("module", ["modelkit", "modelkit.grid", "modelkit.errors", "modelkit.preload"])
def test_the_pure_part_needs_neither_numpy_nor_the_rest(module: str) -> None:
    assert not loaded_by(module) & set(HEAVY)


def work(spec: dict[str, Any], pipe: Connection) -> None:
    before = set(sys.modules)
    children.inspect_dataset(spec, ignore)
    result = children.train(spec, ignore)
    children.measure({**spec, **package_of(result)}, ignore)
    new = {name for name in set(sys.modules) - before if name.split(".")[0] in {*HEAVY, "modelkit", "cairn"}}
    pipe.send((result["package_digest"], sorted(new)))


def test_a_child_of_a_preloaded_fork_server_has_all_it_needs(tmp_path: Path) -> None:
    context = get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    declaration = declared(search={"estimators": ["hist_gradient_boosting"], "max_trials": 1})
    path = written(cancer().slice(0, 200), tmp_path / "data.parquet")
    spec = spec_of([path], declaration, output_directory=str(tmp_path))
    here = children.train(spec, ignore)["package_digest"]
    ours, theirs = context.Pipe()
    child = context.Process(target=work, args=(spec, theirs))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == (here, [])
    child.join(10)
    assert child.exitcode == 0
