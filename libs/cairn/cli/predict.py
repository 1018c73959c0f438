"""`cairn predict`: rows, from JSON to a model's answer, by the Open Inference Protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = """Example: cairn predict risk.loans --row '{"income": 52000, "grade": "B"}'"""
    app.command(epilog=example.replace("[", "\\["))(predict)


def predict(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="The model's name.")],
    row: Annotated[str, typer.Option(help="One row: a JSON object of features.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(help="Rows: a JSON array of objects, or one object a line.", exists=True, dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The answer as it came.")] = False,
) -> None:
    """Ask the live version of a model."""
    from cairn.cli import asking
    from cairn.cli.faults import WrongUsage
    from cairn.cli.output import emit_json, emit_table
    from cairn.cli.reading import call_json, list_in, path_part

    if bool(row) == (file is not None):
        raise WrongUsage("give either --row or --file")
    rows = read_rows(_text_of(file) if file else row)
    url = f"{asking.context_of(ctx).serving()}/v2/models/{path_part(model)}/infer"
    answer = call_json("POST", url, "the serving process", {"inputs": tensors(rows)})
    if as_json:
        emit_json(answer)
    else:
        lines = list(_answers(list_in(answer, "outputs", "the serving process"), len(rows)))
        emit_table(lines, columns=list(lines[0]))


def read_rows(text: str) -> list[dict[str, Any]]:
    """The rows of a text: a JSON object, an array of them, or one a line. Raises WrongUsage."""
    from cairn.cli.faults import WrongUsage

    rows = _parse(text)
    if not rows or not all(isinstance(one, dict) and one for one in rows):
        raise WrongUsage('a row is a JSON object of features, e.g. {"income": 52000}')
    if any(one.keys() != rows[0].keys() for one in rows):
        raise WrongUsage("all rows must have the same features")
    return rows


def _text_of(file: Path) -> str:
    from cairn.cli.faults import WrongUsage

    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{file} is not text in UTF-8: {error}") from None


def _parse(text: str) -> list[Any]:
    import json

    from cairn.cli.faults import WrongUsage

    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        try:
            return [json.loads(line, parse_constant=_refuse_constant) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise WrongUsage(f"the rows are not JSON: {error}") from None
    return content if isinstance(content, list) else [content]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number; write null for a missing value")


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the protocol carries them: one tensor for each feature."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return [
        {"name": name, "shape": [len(values), 1], "datatype": datatype(name, values), "data": values}
        for name, values in columns.items()
    ]


def datatype(name: str, values: list[Any]) -> str:
    """The protocol's name for what these values are; a missing one is null. Raises WrongUsage for a mixture."""
    from cairn.cli.faults import WrongUsage

    kinds = {type(value) for value in values if value is not None}
    for admitted, found in (({bool}, "BOOL"), ({str}, "BYTES"), ({int}, "INT64"), ({int, float}, "FP64")):
        if kinds and kinds <= admitted:
            return found
    if not kinds:
        return "FP64"
    raise WrongUsage(f"the values of {name} are neither all numbers, nor all texts, nor all true or false")


def _answers(tensors: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    outputs = {tensor["name"]: _rows_of(tensor["data"], count) for tensor in tensors}
    for number in range(count):
        yield {"row": number + 1, **{name: values[number] for name, values in outputs.items()}}


def _rows_of(data: list[Any], count: int) -> list[Any]:
    """What a tensor says of each row: its data may be nested or flat."""
    if len(data) == count:
        return [one[0] if isinstance(one, list) and len(one) == 1 else one for one in data]
    width = len(data) // count
    return [data[start : start + width] for start in range(0, width * count, width)]
