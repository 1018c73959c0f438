"""What a field may hold is said in a few words, with every limit of its schema."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, create_model

from cairn.events.values import Count, Integer, Number, Scalar
from cairn.schemas.fields import field_rows


class Part(BaseModel):
    size: int = 1


def bounded(kind: Any, **rules: Any) -> Any:
    return Annotated[kind, Field(**rules)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (str, "text"),
        (bounded(str, min_length=1, max_length=128), "text, 1 to 128 characters"),
        (bounded(str, max_length=9, pattern="^x$"), "text, at most 9 characters, like `^x$`"),
        (bounded(str, min_length=2) | None, "text, at least 2 characters; or null"),
        (AwareDatetime, "instant"),
        (Count, "integer, at least 0"),
        (Number, "integer, at least 1"),
        (Integer, "integer"),
        (bounded(Count, le=20), "integer, 0 to 20"),
        (bounded(float, ge=0, le=1), "number, 0 to 1"),
        (bounded(float, gt=0.5, lt=1), "number, above 0.5 and below 1"),
        (bounded(float, gt=0, le=86_400), "number, above 0 and at most 86400"),
        (Literal["csv", "parquet"], "`csv` or `parquet`"),
        (Part, "[Part](#part)"),
        (bounded(list[Part], max_length=8), "list of [Part](#part), at most 8 items"),
        (
            bounded(list[bounded(str, max_length=3)], min_length=2),
            "list of text (at most 3 characters), at least 2 items",
        ),
        (bounded(dict[Literal["a", "b"], float], max_length=10), "map from `a` or `b` to number, at most 10 entries"),
        (dict[str, JsonValue], "map to any JSON"),
        (Scalar, "true or false or integer or number or text (at most 1000 characters); or null"),
    ],
)
def test_a_type_is_said_with_its_limits(kind: Any, said: str) -> None:
    assert type_said(kind, ...) == said


@pytest.mark.parametrize(
    ("kind", "default", "said"),
    [
        (bool, False, "true or false; default `false`"),
        (str | None, "x", 'text; or null; default `"x"`'),
        (str | None, None, "text; or null"),
        (list[str], [], "list of text; default `[]`"),
        (Part, Part(), "[Part](#part); default: each field's own"),
    ],
)
def test_a_default_is_said(kind: Any, default: Any, said: str) -> None:
    assert type_said(kind, default) == said


def type_said(kind: Any, default: Any) -> str:
    schema = create_model("Facts", a=(kind, default)).model_json_schema()
    (row,) = field_rows(schema, str.lower)
    return row.type
