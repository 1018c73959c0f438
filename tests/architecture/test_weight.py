"""A service starts light: what is heavy is loaded where it is used, mostly in children."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.tree import ROOT, SERVICES, Module

HEAVY = ("sklearn", "skops", "scipy", "pyarrow", "numpy", "pandas", "minio", "alembic", "fastapi")
HEAVY_FOR_SERVING = (*HEAVY, "faststream", "sqlmodel", "sqlalchemy")
_WATCH = """
import json, sys

heavy, roots, modules = json.loads(sys.argv[1])
asked = {}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in heavy and name not in asked:
            frame, places = sys._getframe(1), []
            while frame:
                if frame.f_code.co_filename.startswith(tuple(roots)):
                    places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                frame = frame.f_back
            asked[name] = places[0] if places else "?:0"

sys.meta_path.insert(0, Watch())
for module in modules:
    __import__(module)
print(json.dumps([f"{asked.get(name, '?:0')}: loads {name}" for name in heavy if name in sys.modules]))
"""


def find_weight(heavy: tuple[str, ...], *modules: str, root: Path | None = None) -> list[str]:
    """What of all that is heavy these modules load, with the line of ours that leads to it."""
    roots = [str(ROOT / "libs"), str(ROOT / "services"), *([str(root)] if root else [])]
    run = subprocess.run(
        [sys.executable, "-P", "-c", _WATCH, json.dumps([heavy, roots, modules])],
        capture_output=True,
        text=True,
        env=os.environ | ({"PYTHONPATH": str(root)} if root else {}),
    )
    assert run.returncode == 0, run.stderr
    found: list[str] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_light(service: str) -> None:
    assert find_weight(HEAVY, f"{service}.app", f"{service}.settings", "chassis.main") == []


def test_the_serving_process_starts_lighter_still() -> None:
    main = Module("services/deployer/serving/__main__.py", (ROOT / "services/deployer/serving/__main__.py").read_text())
    modules = {name.rpartition(".")[0] for _, name in main.imports}
    assert modules == {"deployer.serving.process"}
    assert find_weight(HEAVY_FOR_SERVING, *modules) == []


def make_service(root: Path, name: str, work: str) -> None:
    folder = root / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "work.py").write_text(work)
    (folder / "app.py").write_text(f"from {name}.work import work\n")


def test_a_service_that_imports_numpy_is_found(tmp_path: Path) -> None:
    make_service(tmp_path, "heavyweight", '"""Slow."""\n\nimport numpy\n\nwork = numpy.array\n')
    assert find_weight(HEAVY, "heavyweight.app", root=tmp_path) == [f"{tmp_path}/heavyweight/work.py:3: loads numpy"]


def test_a_service_that_loads_it_by_way_of_a_library_is_found(tmp_path: Path) -> None:
    make_service(tmp_path, "heavyweight", "from modelkit.metrics import *\nwork = 1\n")
    faults = find_weight(HEAVY, "heavyweight.app", root=tmp_path)
    assert any(f"{ROOT}/libs/modelkit/" in fault and fault.endswith(": loads numpy") for fault in faults)


def test_what_is_imported_only_where_it_is_used_weighs_nothing(tmp_path: Path) -> None:
    make_service(tmp_path, "lightweight", "def work():\n    import numpy\n    return numpy\n")
    assert find_weight(HEAVY, "lightweight.app", root=tmp_path) == []


def test_a_serving_process_that_imports_a_store_is_found(tmp_path: Path) -> None:
    make_service(tmp_path, "plane", "\nfrom sqlmodel import Session as work\n")
    faults = find_weight(HEAVY_FOR_SERVING, "plane.app", root=tmp_path)
    assert f"{tmp_path}/plane/work.py:2: loads sqlmodel" in faults
