"""What a JSON library wrote is judged as what anybody wrote, only faster."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from cairn.events.plain_json import find_ambiguity, find_ambiguity_in_rewritten

NUMBERS = ("1e400", "-1e999", "-0", "0", "7" * 299, "7" * 309, "-" + "1" * 400, "1.5", "1e-400", "9" * 308)
SCALARS = st.sampled_from(NUMBERS) | st.text(st.characters(exclude_categories=["Cs"])).map(json.dumps)
BODIES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner).map(lambda parts: f"[{','.join(parts)}]")
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner).map(
            lambda fields: "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"
        )
    ),
)


def rewrite(body: str) -> bytes:
    return to_json(from_json(body, allow_inf_nan=False), inf_nan_mode="constants")


@given(body=BODIES)
def test_a_rewritten_payload_is_judged_as_any_other(body: str) -> None:
    payload = rewrite(body)
    assert find_ambiguity_in_rewritten(payload) == find_ambiguity(payload)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_that_is_too_large_is_found_after_rewriting_too(number: str) -> None:
    payload = rewrite(f'{{"a": [{number}]}}')
    assert bool(find_ambiguity_in_rewritten(payload)) == (abs(float(number)) == float("inf"))
