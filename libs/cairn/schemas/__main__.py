"""`python -m cairn.schemas write` makes the generated files; `drift` says which are not as they should be."""

import sys
from pathlib import Path

from cairn.schemas.generate import differences, generate, write

_USAGE = "usage: python -m cairn.schemas {write|drift}, in the repository's top folder\n"


def main(arguments: list[str], root: Path) -> int:
    """Run one command: 0 when all is well, 1 when files differ, 2 when it was called wrongly."""
    if arguments not in (["write"], ["drift"]) or not (root / "schemas").is_dir():
        sys.stderr.write(_USAGE)
        return 2
    try:
        files = generate(root)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _write(root, files) if arguments == ["write"] else _find_drift(root, files)


def _write(root: Path, files: dict[Path, str]) -> int:
    changed = differences(root, files)
    write(root, files)
    sys.stdout.writelines(f"{path}\n" for path in changed)
    return 0


def _find_drift(root: Path, files: dict[Path, str]) -> int:
    wrong = differences(root, files)
    sys.stderr.writelines(f"{path} {fault}\n" for path, fault in wrong.items())
    if wrong:
        sys.stderr.write("run make schemas\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
