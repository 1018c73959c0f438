"""What a child process runs for one arm: it holds the model, and answers batches of rows as long as it is asked.

Only children import this: it brings scikit-learn with it.
"""

import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from modelkit.errors import ModelkitError
from modelkit.package import Predictor, load_package


def answer_batches(spec: Mapping[str, Any], connection: Connection) -> None:
    """Load the package, say so, then answer each message of rows with their scores and labels."""
    try:
        files = {name: Path(path) for name, path in spec["files"].items()}
        predictor = load_package(Path(spec["manifest"]), files)
    except ModelkitError as error:
        _send(connection, {"error": error.text, "code": error.code})
        return
    _send(connection, {})
    while True:
        rows = json.loads(connection.recv_bytes())
        _send(connection, _answer(predictor, rows))


def _answer(predictor: Predictor, rows: list[list[Any]]) -> dict[str, Any]:
    try:
        scores = predictor.scores(rows)
    except ModelkitError as error:
        return {"error": error.text, "code": error.code}
    return {"outputs": [[score, predictor.answer(score)] for score in scores]}


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())
