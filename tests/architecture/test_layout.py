"""Knowing one service means knowing all: the same files in each, short ones, and no import that is not declared."""

import ast
import re
import shutil
import sys
import tomllib
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

import pytest
from tests.architecture.tree import LIBRARIES, ROOT, SERVICES, Module, read

ROOMS = ("domain", "handlers", "projections", "store")
FILES = ("README.md", "__init__.py", "py.typed", "settings.py", "app.py", "__main__.py", "pyproject.toml")
WHERE_THERE_IS_ANY = ("work", "api")
OWN_ROOMS = {"deployer": ("serving",)}
README_SAYS = ("**Hears**", "**Decides**", "**Tells**", "**Remembers**")
SHORTER_THAN = {"README.md": 40, "settings.py": 25}
MOST_LINES = 300
OURS = {**{name: f"cairn-{name.replace('_', '-')}" for name in (*LIBRARIES, *SERVICES)}, "cairn": "cairn-sdk"}
"""Which distribution provides what we import of our own."""


def find_unlike_services(root: Path) -> list[str]:
    """Where a service's folder is not like every other."""
    return [
        fault
        for service in SERVICES
        for fault in (
            *_missing(root, service),
            *_too_many(root, service),
            *_too_long(root, service),
            *_unsaid(root, service),
        )
    ]


def _missing(root: Path, service: str) -> list[str]:
    folder = root / "services" / service
    faults = [f"services/{service}/{name}:1: is missing" for name in FILES if not (folder / name).is_file()]
    for room in ROOMS:
        forms = ((folder / f"{room}.py").is_file(), (folder / room / "__init__.py").is_file())
        if sum(forms) != 1:
            faults.append(f"services/{service}/{room}.py:1: {'is there twice' if all(forms) else 'is missing'}")
    return faults


def _too_many(root: Path, service: str) -> list[str]:
    known = {*ROOMS, *WHERE_THERE_IS_ANY, *OWN_ROOMS.get(service, ())}
    return [
        f"services/{service}/{file.name}:1: no other service has such a file"
        for file in sorted((root / "services" / service).iterdir())
        if file.name not in (*FILES, "__pycache__") and file.name.removesuffix(".py") not in known
    ]


def _too_long(root: Path, service: str) -> list[str]:
    faults = []
    for name, limit in SHORTER_THAN.items():
        file = root / "services" / service / name
        count = len(file.read_text().splitlines()) if file.is_file() else 0
        if count >= limit:
            faults.append(f"services/{service}/{name}:{limit}: has {count} lines, and is to stay under {limit}")
    return faults


def _unsaid(root: Path, service: str) -> list[str]:
    folder = root / "services" / service
    if not (folder / "README.md").is_file():
        return []
    readme, heads = (folder / "README.md").read_text(), f"services/{service}/README.md:1"
    faults = [f"{heads}: does not say {word}" for word in README_SAYS if word not in readme]
    handlers = [module for module in read(root, f"services/{service}") if module.room == "handlers"]
    if handlers and not any(map(_handles, handlers)) and "no handler" not in readme:
        faults.append(f"{heads}: does not say that there is no handler, and all is decided in work")
    return faults


def _handles(module: Module) -> bool:
    """Whether it registers any handler."""
    return any(isinstance(node, ast.Call) and ast.unparse(node.func).endswith("andlers.on") for node in module.nodes)


def find_long_files(modules: list[Module]) -> list[str]:
    """Files that should have become packages."""
    counts = ((module, len(module.text.splitlines())) for module in modules)
    return [
        module.fault(MOST_LINES + 1, f"has {count} lines: make it a package of the same name")
        for module, count in counts
        if count > MOST_LINES
    ]


def test_every_service_has_the_same_files() -> None:
    assert len(SERVICES) == 7
    assert find_unlike_services(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "services", tmp_path / "services", ignore=ignored)
    return tmp_path


@pytest.mark.parametrize("name", [*FILES, "domain.py", "handlers.py", "projections.py", "store.py"])
def test_a_service_that_lacks_a_file_is_found(copy: Path, name: str) -> None:
    (copy / "services/registry" / name).unlink()
    assert find_unlike_services(copy) == [f"services/registry/{name}:1: is missing"]


@pytest.mark.parametrize("name", ["utils.py", "models.py", "core", "serving"])
def test_a_service_with_a_file_of_its_own_kind_is_found(copy: Path, name: str) -> None:
    (copy / "services/trainer" / name).touch()
    assert find_unlike_services(copy) == [f"services/trainer/{name}:1: no other service has such a file"]


def test_a_file_beside_the_package_that_it_became_is_found(copy: Path) -> None:
    (copy / "services/monitor/domain.py").touch()
    assert find_unlike_services(copy) == ["services/monitor/domain.py:1: is there twice"]


@pytest.mark.parametrize(("name", "limit"), SHORTER_THAN.items())
def test_a_file_that_grew_too_long_is_found(copy: Path, name: str, limit: int) -> None:
    file = copy / "services/registry" / name
    file.write_text(file.read_text() + "\n" * limit)
    (fault,) = find_unlike_services(copy)
    assert fault.startswith(f"services/registry/{name}:{limit}: has ")


def test_a_service_that_handles_nothing_and_does_not_say_so_is_found(copy: Path) -> None:
    (copy / "services/registry/handlers.py").write_text("from chassis import Handlers\n\nhandlers = Handlers()\n")
    (fault,) = find_unlike_services(copy)
    assert fault.startswith("services/registry/README.md:1: does not say that there is no handler")


def test_a_readme_that_does_not_say_what_is_heard_is_found(copy: Path) -> None:
    readme = copy / "services/registry/README.md"
    readme.write_text(readme.read_text().replace("**Hears**", "Hears"))
    assert find_unlike_services(copy) == ["services/registry/README.md:1: does not say **Hears**"]


def test_no_file_is_long() -> None:
    assert find_long_files(read()) == []


def test_a_long_file_is_found() -> None:
    text = "x = 1\n" * MOST_LINES
    path = "libs/chassis/long.py"
    assert find_long_files([Module(path, text)]) == []
    (fault,) = find_long_files([Module(path, text + "y = 2\n")])
    assert fault == f"{path}:301: has 301 lines: make it a package of the same name"


def find_taken_names() -> list[str]:
    """Installed distributions of others that provide a name which we import as our own."""
    others = {
        (name, distribution)
        for name, found in packages_distributions().items()
        for distribution in found
        if name in OURS and normalised(distribution) != OURS[name]
    }
    return sorted(
        f"{_place_of(one, name)}: {one.name} provides {name}, which is ours"
        for one in distributions()
        for name, distribution in others
        if one.name == distribution
    )


def _place_of(distribution: Distribution, name: str) -> str:
    """The line of a distribution's list of files that names the package first."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    line = next((n for n, text in enumerate(lines, 1) if re.match(rf"{name}(\.py|/)", text)), 1)
    return f"{distribution.name}/RECORD:{line}"


def normalised(requirement: str) -> str:
    """The name of a distribution as the index knows it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_nobody_else_provides_our_names() -> None:
    assert find_taken_names() == []


def test_a_distribution_that_provides_one_of_our_names_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docker_registry-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: docker-registry\nVersion: 1\n")
    (folder / "RECORD").write_text("docker_registry-1.dist-info/METADATA,,\nregistry/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_taken_names() == ["docker-registry/RECORD:2: docker-registry provides registry, which is ours"]


def find_undeclared(modules: list[Module], pyprojects: dict[str, str]) -> list[str]:
    """Imports of distributions that are not declared, and declared ones that nothing imports."""
    return [fault for path, text in pyprojects.items() for fault in _compare(path, text, modules)]


def _compare(path: str, text: str, modules: list[Module]) -> list[str]:
    folder = path.removesuffix("pyproject.toml")
    project = tomllib.loads(text)["project"]
    needed = {normalised(one) for one in project["dependencies"]}
    extra = {normalised(one) for some in project.get("optional-dependencies", {}).values() for one in some}
    faults, used = [], set()
    for module in (one for one in modules if one.path.startswith(folder)):
        for line, name in module.imports:
            providers = providers_of(name.split(".")[0], module.owner)
            used |= providers
            if providers and not providers & (needed | extra):
                faults.append(module.fault(line, f"imports {name}, but {path} declares no {min(providers)}"))
    lines = text.splitlines()
    for unused in sorted(needed - used):
        line = next(n for n, one in enumerate(lines, 1) if unused in one and not one.startswith("name"))
        faults.append(f"{path}:{line}: declares {unused}, which nothing here imports")
    return faults


_INSTALLED = packages_distributions()


def providers_of(name: str, owner: str) -> set[str]:
    """The distributions that provide a name; none for the standard library and for what is one's own."""
    if name in sys.stdlib_module_names or name == owner:
        return set()
    if name in OURS:
        return {OURS[name]}
    return {normalised(one) for one in _INSTALLED.get(name, [f"{name} (not installed)"])}


def read_pyprojects() -> dict[str, str]:
    files = sorted((*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")))
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    pyprojects = read_pyprojects()
    assert len(pyprojects) == 10
    assert find_undeclared(read(), pyprojects) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import numpy", "imports numpy, but services/registry/pyproject.toml declares no numpy"),
        (
            "from sklearn.svm import SVC",
            "imports sklearn.svm.SVC, but services/registry/pyproject.toml declares no scik",
        ),
        ("from yaml import load", "imports yaml.load, but services/registry/pyproject.toml declares no pyyaml"),
        ("import modelkit.grid", "imports modelkit.grid, but services/registry/pyproject.toml declares no cairn-mode"),
        ("import fastapi", "imports fastapi, but services/registry/pyproject.toml declares no fastapi"),
    ],
)
def test_an_import_that_is_not_declared_is_found(line: str, said: str) -> None:
    path, extra = "services/registry/pyproject.toml", Module("services/registry/new.py", f"x = 1\n{line}\n")
    (fault,) = find_undeclared([*read(), extra], {path: read_pyprojects()[path]})
    assert fault.startswith(f"services/registry/new.py:2: {said}")


def test_a_declared_distribution_that_nothing_imports_is_found() -> None:
    path = "services/registry/pyproject.toml"
    text = read_pyprojects()[path].replace("dependencies = [\n", 'dependencies = [\n    "numpy>=2",\n')
    line = text.splitlines().index('    "numpy>=2",') + 1
    assert find_undeclared(read(), {path: text}) == [f"{path}:{line}: declares numpy, which nothing here imports"]


def test_an_extra_counts_as_declared() -> None:
    path = "libs/cairn/pyproject.toml"
    text = re.sub(r"\ns3 = .*", "", read_pyprojects()[path])
    faults = find_undeclared(read(), {path: text})
    assert {fault.rpartition(" ")[2] for fault in faults} == {"minio", "urllib3"}
    assert all(fault.startswith("libs/cairn/objects/") for fault in faults)
