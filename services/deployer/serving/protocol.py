"""The Open Inference Protocol v2 in JSON: requests in, answers and metadata out."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cairn.events.predictions import Output
from cairn.events.values import Column, IoSchema, Scalar
from deployer.serving.features import columns_to_rows
from deployer.serving.refusals import Refused

MOST_ROWS = 1000
ROWS_TENSORS = ("input", "rows")
"""A tensor of one of these names holds whole rows, in the declared order of the features."""

_DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES"}
_Size = Annotated[int, Field(ge=0)]
_Short = Annotated[str, Field(max_length=128, pattern="^[^\\x00]*$")]  # databases and C programs end a text there


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Tensor(_Part):
    """One named array."""

    name: str
    shape: Annotated[list[_Size], Field(min_length=1, max_length=2)]
    datatype: Literal[
        "BOOL",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
    ]
    data: list[Any]

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return self.shape[0]


class Wanted(_Part):
    """An output that is asked for."""

    name: Literal["score", "label", "prediction_id"]


class Parameters(_Part):
    """What may be said about the rows: one word for all of them, or one for each."""

    request_id: _Short | list[_Short] | None = None
    entity: _Short | list[_Short] | None = None


class Request(_Part):
    """What is asked."""

    id: _Short | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1000)]
    parameters: Parameters = Parameters()
    outputs: list[Wanted] = Field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows are asked about."""
        return self.inputs[0].rows

    def request_ids(self) -> Sequence[str | None]:
        """The caller's own id for each row."""
        return self._each(self.parameters.request_id or self.id, "request_id")

    def entities(self) -> Sequence[str | None]:
        """Whom or what each row is about."""
        return self._each(self.parameters.entity, "entity")

    def _each(self, given: str | list[str] | None, name: str) -> Sequence[str | None]:
        if isinstance(given, list):
            if len(given) != self.rows:
                raise Refused(422, f"parameters: {name} has {len(given)} values for {self.rows} rows")
            return given
        return [given or None] * self.rows


def parse_request(body: bytes) -> Request:
    """The request in a body. Raises Refused."""
    try:
        request = Request.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise Refused(400, f"{place}: {fault['msg']}" if place else fault["msg"]) from None
    if any(tensor.rows != request.rows for tensor in request.inputs):
        raise Refused(400, "the inputs have different numbers of rows")
    if request.rows == 0:
        raise Refused(422, "there are no rows to answer")
    if request.rows > MOST_ROWS:
        raise Refused(413, f"there are {request.rows} rows; at most {MOST_ROWS} are answered at once")
    return request


def read_rows(request: Request, schema: IoSchema) -> list[list[Scalar]]:
    """The rows of cells, in the order of the model's inputs. Raises Refused."""
    names = [column.name for column in schema.inputs]
    first = request.inputs[0]
    if len(request.inputs) == 1 and first.name in ROWS_TENSORS and first.name not in names:
        return columns_to_rows(schema.inputs, _split(first, names))
    given: dict[str, Sequence[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in given:
            raise Refused(400, f"the input {tensor.name} is there twice")
        if tensor.shape[1:] not in ([], [1]):
            raise Refused(422, f"{tensor.name}: its shape must be [{tensor.rows}] or [{tensor.rows}, 1]")
        given[tensor.name] = _flat(tensor)
    return columns_to_rows(schema.inputs, given)


def _split(tensor: Tensor, names: list[str]) -> dict[str, Sequence[Any]]:
    if tensor.shape[1:] != [len(names)]:
        wanted = f"[{tensor.rows}, {len(names)}]"
        raise Refused(422, f"{tensor.name}: its shape must be {wanted}, for the features {', '.join(names)}"[:4000])
    cells = _flat(tensor)
    return {name: cells[place :: len(names)] for place, name in enumerate(names)}


def _flat(tensor: Tensor) -> list[Any]:
    """The data row by row, whether it came nested or flat."""
    size = tensor.rows * (tensor.shape[1] if len(tensor.shape) == 2 else 1)
    if not any(isinstance(cell, list) for cell in tensor.data):
        cells = tensor.data
    elif all(isinstance(row, list) and len(row) * tensor.rows == size for row in tensor.data):
        cells = [cell for row in tensor.data for cell in row]
    else:
        raise Refused(400, f"{tensor.name}: its data is nested otherwise than its shape says")
    if len(cells) != size:
        raise Refused(400, f"{tensor.name}: its shape asks for {size} values, its data has {len(cells)}")
    return cells


def write_answer(
    request: Request, model: str, version: int, parameters: dict[str, Any], outputs: Sequence[dict[str, Any]]
) -> bytes:
    """The answer's body."""
    wanted = {output.name for output in request.outputs}
    answer: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if request.id is not None:
        answer["id"] = request.id
    answer["parameters"] = parameters
    answer["outputs"] = [output for output in outputs if not wanted or output["name"] in wanted]
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode()


def make_outputs(schema: IoSchema, outputs: Sequence[Output], ids: Sequence[str]) -> list[dict[str, Any]]:
    """The three output tensors."""
    return [
        _output("score", "FP64", [output.score for output in outputs]),
        _output("label", label_datatype(schema), [output.label for output in outputs]),
        _output("prediction_id", "BYTES", list(ids)),
    ]


def describe_model(model: str, versions: Sequence[int], schema: IoSchema) -> dict[str, Any]:
    """A model's metadata."""
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "cairn",
        "inputs": [_described(column.name, _datatype(column)) for column in schema.inputs],
        "outputs": [
            _described("score", "FP64"),
            _described("label", label_datatype(schema)),
            _described("prediction_id", "BYTES"),
        ],
    }


def label_datatype(schema: IoSchema) -> str:
    """The datatype of the answered class."""
    return next((_datatype(column) for column in schema.outputs if column.name == "label"), "BYTES")


def _datatype(column: Column) -> str:
    return _DATATYPES[column.type]


def _described(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _output(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
