"""The services' read APIs, over HTTP."""

from typing import Any
from urllib.parse import quote, urlsplit

from cairn.cli.faults import CheckFailed, OutOfReach

SECONDS = 10.0

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def get_json(url: str, who: str) -> dict[str, Any]:
    """What a read API answers. Raises OutOfReach and CheckFailed; `who` is the service, for the message."""
    return call_json("GET", url, who)


def get_list(url: str, who: str, name: str) -> list[dict[str, Any]]:
    """The list of that name in what a read API answers. Raises as `get_json`."""
    return list_in(get_json(url, who), name, who)


def list_in(answer: dict[str, Any], name: str, who: str) -> list[dict[str, Any]]:
    """The list of that name in an answer. Raises OutOfReach where there is none."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise OutOfReach(f"{who} answers without {name!r}: is its address right, and does it run this version?")
    return found


def call_json(method: str, url: str, who: str, body: object = None) -> dict[str, Any]:
    """What a service answers to a call. Raises OutOfReach when it does not, CheckFailed when it refuses."""
    status, answer = exchange(method, url, who, body)
    if status >= 500:
        raise OutOfReach(f"{who} at {url} cannot answer now ({status}): {_problem(answer)}")
    if status >= 300:
        raise CheckFailed(f"{who} says: {_problem(answer)} ({status})")
    if not isinstance(answer, dict):
        raise OutOfReach(f"{who} at {url} answers with what is not a JSON object: is that address right?")
    return answer


def exchange(method: str, url: str, who: str, body: object = None) -> tuple[int, Any]:
    """Status and JSON of an answer, None where it is not JSON. Raises OutOfReach when there is no answer."""
    import httpx2

    # A proxy of the environment is for the world outside, not for this machine.
    outside = urlsplit(url).hostname not in _LOOPBACK
    try:
        with httpx2.Client(timeout=SECONDS, trust_env=outside) as client:
            response = client.request(method, url, json=body)
    except httpx2.TimeoutException:
        raise OutOfReach(f"{who} at {url} did not answer within {SECONDS:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise OutOfReach(f"{who} at {url} does not answer ({error}): does it run?") from None
    try:
        return response.status_code, response.json()
    except ValueError:
        return response.status_code, None


def path_part(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")


def _problem(answer: Any) -> str:
    """What a problem document (RFC 9457), or an error of the Open Inference Protocol, says."""
    if not isinstance(answer, dict):
        return "without a reason"
    texts = [str(answer[name]) for name in ("title", "detail", "error") if answer.get(name)]
    return ": ".join(texts) or "without a reason"
