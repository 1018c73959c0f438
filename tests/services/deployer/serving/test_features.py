import math

import pytest
from tests.services.deployer.serving.plane import INPUTS, SCHEMA

from cairn.events.values import Column
from deployer.serving.features import columns_to_rows
from deployer.serving.refusals import Refused


def one(kind, cell, *, required=True):
    ((row,),) = [columns_to_rows((Column(name="x", type=kind, required=required),), {"x": [cell]})]
    return row[0]


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("number", 1, 1.0),
        ("number", -2.5, -2.5),
        ("integer", 7, 7),
        ("integer", 7.0, 7),
        ("integer", -(2**53 - 1), -(2**53 - 1)),
        ("boolean", True, True),
        ("boolean", 0, False),
        ("boolean", 1.0, True),
        ("string", "", ""),
        ("string", "λ" * 1000, "λ" * 1000),
    ],
)
def test_a_cell_becomes_what_its_column_holds(kind, cell, value):
    found = one(kind, cell)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("number", "1"),
        ("number", True),
        ("number", math.nan),
        ("number", math.inf),
        ("number", 10**400),
        ("number", [1]),
        ("number", {}),
        ("integer", 1.5),
        ("integer", True),
        ("integer", "1"),
        ("integer", 2**53),
        ("integer", math.nan),
        ("integer", math.inf),
        ("boolean", "true"),
        ("boolean", 2),
        ("boolean", math.nan),
        ("string", 1),
        ("string", "x" * 1001),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_a_cell_of_another_kind_is_refused_and_its_feature_named(kind, cell, required):
    with pytest.raises(Refused, match=r"^x: must be .*; row 0 is ") as refused:
        one(kind, cell, required=required)
    assert refused.value.status == 422


def test_a_cell_may_be_missing_only_where_the_model_allows_it():
    assert one("string", None, required=False) is None
    with pytest.raises(Refused, match="x: may not be missing"):
        one("string", None)


def test_missing_and_extra_features_are_named_all_at_once():
    given = {**INPUTS, "colour": ["red"], "size": [3]}
    del given["amount"], given["first"]
    with pytest.raises(Refused, match="missing: amount, first; not expected: colour, size"):
        columns_to_rows(SCHEMA.inputs, given)


def test_every_feature_at_fault_is_named():
    with pytest.raises(Refused, match=r"amount: must .*; months: must"):
        columns_to_rows(SCHEMA.inputs, {**INPUTS, "amount": ["much"], "months": [1.5]})


def test_rows_come_in_the_order_of_the_models_inputs():
    backwards = dict(reversed({name: cells * 2 for name, cells in INPUTS.items()}.items()))
    assert columns_to_rows(SCHEMA.inputs, backwards) == [[100.5, 12, "car", True]] * 2
