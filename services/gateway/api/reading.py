"""A request as the events that it holds: structured, binary or batch (CloudEvents 1.0.2, HTTP protocol binding)."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from pydantic_core import from_json, to_json
from starlette.requests import ClientDisconnect, Request

from gateway.api.problems import Refused
from gateway.domain import Fault, Given, pointer_to

MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_EVENTS = 1000
"""In one batch."""
_BODY_SECONDS = 20.0
_BATCH, _STRUCTURED = "application/cloudevents-batch+json", "application/cloudevents+json"

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
"""In a quoted string (RFC 9110, 5.6.4)."""

Form = Literal["binary", "structured", "batch"]


@dataclass(frozen=True, slots=True)
class Posted:
    """The events of a request."""

    form: Form
    events: Sequence[Given]

    def error(self, number: int, fault: Fault) -> dict[str, Any]:
        """A fault of one event, at its place in the request: a header, or a JSON Pointer into the body."""
        if self.form == "binary" and fault.attribute:
            header = "content-type" if fault.attribute == "datacontenttype" else f"ce-{fault.attribute}"
            return {"header": header, "detail": fault.text}
        before = "#" if self.form != "batch" else f"#/{number}"
        if fault.attribute:
            inside = pointer_to((fault.attribute,), {})
        else:
            inside = pointer_to(fault.location, content_of(self.events[number].data))
            before += "" if self.form == "binary" else "/data"
        return {"pointer": before + inside.removeprefix("#"), "detail": fault.text}


def content_of(data: bytes) -> Any:
    """What lies in a payload; None where it is no JSON."""
    try:
        return from_json(data)
    except ValueError:  # the fault is that it is none
        return None


async def read_body(request: Request) -> bytes:
    """The body. Raises Refused where it is too large, as soon as that is known, or does not come."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MOST_BODY_BYTES:
        raise _too_large(f"the body has {declared} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY_BYTES:
                    raise _too_large("the body is too large")
    except TimeoutError:
        raise Refused(408, f"the body did not come within {_BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise Refused(400, "the request ended before its body") from None
    return bytes(body)


def _too_large(what: str) -> Refused:
    # What is left of the body is not read.
    return Refused(413, f"{what}; at most {MOST_BODY_BYTES} are taken", headers={"connection": "close"})


def form_of(headers: Mapping[str, str]) -> Form:
    """Which form a request has. Raises Refused."""
    content_type = headers.get("content-type", "")
    media, _, parameters = content_type.partition(";")
    media, charset = media.strip().lower(), parameters.lower().replace('"', "").replace(" ", "")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "a packed body is not read: send it as it is")
    if "charset=" in charset and "charset=utf-8" not in charset:
        raise Refused(415, "only UTF-8 is read")
    if media == _BATCH:
        return "batch"
    if media == _STRUCTURED:
        return "structured"
    if media == "application/json" or (media.startswith("application/") and media.endswith("+json")):
        return "binary"
    raise Refused(
        415,
        f"a body of {content_type[:100] or 'no type'} is not read; {_STRUCTURED}, {_BATCH} and application/json are",
    )


def parse(form: Form, headers: Mapping[str, str], body: bytes) -> Posted:
    """The events of a request. Raises Refused."""
    if form == "binary":
        return Posted(form, [Given(_attributes_in(headers), body)])
    try:
        content = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    listed = content if form == "batch" else [content]
    if not isinstance(listed, list):
        raise Refused(422, "the body is no batch", [{"pointer": "#", "detail": "must be an array of CloudEvents"}])
    if len(listed) > MOST_EVENTS:
        raise Refused(413, f"the batch has {len(listed)} events; at most {MOST_EVENTS} are taken")
    errors = [error for number, one in enumerate(listed) for error in _shape_errors(form, number, one)]
    if errors:
        raise Refused(422, "the body does not hold CloudEvents with a JSON object as data", errors)
    # By its own default the library would write null for a number that is too large.
    datas = [to_json(one.pop("data"), inf_nan_mode="constants") for one in listed]
    return Posted(form, [Given(one, data, rewritten=True) for one, data in zip(listed, datas, strict=True)])


def _attributes_in(headers: Mapping[str, str]) -> dict[str, object]:
    attributes: dict[str, object] = {"datacontenttype": headers["content-type"]}
    for name, text in headers.items():
        if name.startswith("ce-"):
            if name[3:] in attributes:
                raise Refused(400, f"the header {name} is there twice, or is content-type")
            attributes[name[3:]] = _decode(text)
    return attributes


def _decode(text: str) -> str:
    """A header's value as it was before it was quoted, if it was, and percent-encoded (as above, 3.1.3.2)."""
    quoted = _QUOTED.fullmatch(text)
    return unquote(_ESCAPED.sub(r"\1", quoted[1]) if quoted else text)


def _shape_errors(form: Form, number: int, content: Any) -> list[dict[str, Any]]:
    where = f"#/{number}" if form == "batch" else "#"
    if not isinstance(content, dict):
        return [{"pointer": where, "detail": "must be a CloudEvent: an object"}]
    if "data_base64" in content:
        return [{"pointer": f"{where}/data_base64", "detail": "is not taken: data must be a JSON object"}]
    if not isinstance(content.get("data"), dict):
        return [{"pointer": f"{where}/data", "detail": "is needed: a JSON object"}]
    return []
