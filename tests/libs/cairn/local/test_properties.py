from pathlib import Path

from cairn.local.properties import write_properties


def test_values_are_written_so_that_java_reads_them_back(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    values = {"listeners": "PLAINTEXT://127.0.0.1:1", "secret": " a\\b#\n!", "folder": "Käse 漢 \N{ROCK}", "number": 4}
    write_properties(file, values)
    assert file.read_text(encoding="ascii").splitlines() == [
        "listeners=PLAINTEXT://127.0.0.1:1",
        r"secret=\u0020a\u005cb\u0023\u000a\u0021",
        r"folder=K\u00e4se\u0020\u6f22\u0020\ud83e\udea8",
        "number=4",
    ]


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("an older one, for all to read")
    write_properties(file, {"secret": "s"})
    assert file.stat().st_mode & 0o077 == 0
