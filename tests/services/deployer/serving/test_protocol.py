import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.services.deployer.serving.plane import INPUTS, SCHEMA, tensors

from deployer.serving.protocol import describe_model, parse_request, read_rows
from deployer.serving.refusals import Refused

ROW = [100.5, 12, "car", True]


def request(inputs, **more):
    return json.dumps({"inputs": inputs, **more}).encode()


def rows_of(inputs):
    return read_rows(parse_request(request(inputs)), SCHEMA)


def tensor(name, shape, data, datatype="FP64"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def test_one_tensor_for_each_feature():
    assert rows_of(tensors(INPUTS)) == [ROW]


def test_columns_may_be_two_dimensional_nested_or_flat():
    nested = [tensor(name, [1, 1], [data]) for name, data in INPUTS.items()]
    flat = [tensor(name, [1, 1], data) for name, data in INPUTS.items()]
    assert rows_of(nested) == rows_of(flat) == [ROW]


@pytest.mark.parametrize("name", ["input", "rows"])
def test_one_tensor_with_whole_rows_nested_or_flat(name):
    assert rows_of([tensor(name, [2, 4], [ROW, ROW])]) == [ROW, ROW]
    assert rows_of([tensor(name, [2, 4], ROW + ROW)]) == [ROW, ROW]


def test_a_feature_called_input_is_a_feature():
    schema = SCHEMA.model_copy(update={"inputs": (SCHEMA.inputs[0].model_copy(update={"name": "input"}),)})
    assert read_rows(parse_request(request([tensor("input", [2], [1, 2])])), schema) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("status", "inputs"),
    [
        (422, [tensor("input", [1, 3], ROW[:3])]),
        (400, [tensor("input", [2, 4], ROW)]),
        (400, [tensor("input", [2, 4], [ROW, ROW[:3]])]),
        (400, [tensor("input", [1, 4], [[ROW]])]),
        (400, [tensor("input", [1, 4], [ROW[0], *ROW])]),
        (400, [tensor("amount", [1], [1.0]), tensor("amount", [1], [2.0])]),
        (400, [tensor("amount", [1], [1.0]), tensor("months", [2], [1, 2])]),
        (422, [tensor("amount", [1, 2], [1.0, 2.0])]),
        (422, [tensor("amount", [0], [])]),
        (413, [tensor("amount", [1001], [1.0] * 1001)]),
        (413, [tensor("amount", [10**18], [])]),
        (400, []),
        (400, [tensor("amount", [-1], [])]),
        (400, [tensor("amount", [1, 1, 1], [1.0])]),
        (400, [tensor("amount", ["1"], [1.0])]),
        (400, [tensor("amount", [1], [1.0], "COMPLEX")]),
        (400, [{"name": "amount"}]),
        (400, "amount"),
    ],
)
def test_a_request_of_another_form_is_refused(status, inputs):
    with pytest.raises(Refused) as refused:
        rows_of(inputs)
    assert refused.value.status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"inputs":{}}'])
def test_what_is_no_request_is_refused(body):
    with pytest.raises(Refused) as refused:
        parse_request(body)
    assert refused.value.status == 400


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_is_no_request_is_refused(content):
    for body in (json.dumps(content), json.dumps({"inputs": content}), json.dumps({"inputs": [content]})):
        with pytest.raises(Refused) as refused:
            read_rows(parse_request(body.encode()), SCHEMA)
        assert refused.value.status in (400, 413, 422)


def test_a_caller_may_name_all_rows_or_each():
    two = [tensor("input", [2, 4], [ROW, ROW])]
    asked = parse_request(request(two, id="r"))
    assert (list(asked.request_ids()), list(asked.entities())) == (["r", "r"], [None, None])
    asked = parse_request(request(two, id="r", parameters={"request_id": ["a", "b"], "entity": "customer-1"}))
    assert (list(asked.request_ids()), list(asked.entities())) == (["a", "b"], ["customer-1"] * 2)
    with pytest.raises(Refused, match="entity has 1 values for 2 rows"):
        parse_request(request(two, parameters={"entity": ["a"]})).entities()


def test_the_metadata_name_every_input_with_its_datatype():
    described = describe_model("risk.loans", [1, 2], SCHEMA)
    assert [(one["name"], one["datatype"]) for one in described["inputs"]] == [
        ("amount", "FP64"),
        ("months", "INT64"),
        ("purpose", "BYTES"),
        ("first", "BOOL"),
    ]
    assert [(one["name"], one["datatype"]) for one in described["outputs"]] == [
        ("score", "FP64"),
        ("label", "INT64"),
        ("prediction_id", "BYTES"),
    ]


@pytest.mark.parametrize(
    "named", [{"id": "a\0"}, {"parameters": {"entity": "a\0"}}, {"parameters": {"request_id": ["\0"]}}]
)
def test_a_name_with_a_nul_is_refused_since_not_every_store_could_keep_it(named):
    body = request([tensor("input", [1, 4], [ROW])], **named)
    with pytest.raises(Refused) as refused:
        parse_request(body)
    assert refused.value.status in (400, 422)
