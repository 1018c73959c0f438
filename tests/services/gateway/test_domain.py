"""Signatures as the official library checks them, the schedule of attempts, the bucket, pointers."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Official
from standardwebhooks.webhooks import WebhookVerificationError

from cairn.events import Installation
from gateway.domain import (
    Bucket,
    Configuration,
    Fault,
    Rate,
    draw,
    innermost,
    parse_secrets,
    pointer_to,
    sign,
    wait_seconds,
    webhook_id,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SCHEDULE = Configuration().retry_seconds


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_official_library_knows_what_is_signed_with_either_secret(secret):
    body = json.dumps({"a": "ü"}).encode()
    # By the wall clock: the library refuses what was signed five minutes ago.
    headers = sign(parse_secrets(f"{SECRET}\n{OTHER}\n"), "id-1", datetime.now(UTC), body)
    assert Official(secret).verify(body, headers) == {"a": "ü"}
    for changed in (body + b" ", b"{}"):
        with pytest.raises(WebhookVerificationError):
            Official(secret).verify(changed, headers)


def test_what_is_signed_is_bound_to_its_time():
    headers = sign(parse_secrets(SECRET), "id-1", NOW - timedelta(hours=1), b"{}")
    with pytest.raises(WebhookVerificationError, match="too old"):
        Official(SECRET).verify(b"{}", headers)


@pytest.mark.parametrize("text", ["", "  ", "whsec_", "whsec_c2hvcnQ=", "not base64!", "whsec_" + "A" * 400])
def test_a_secret_that_is_none_is_refused(text):
    with pytest.raises(ValueError):
        parse_secrets(text)


def test_one_event_has_one_id_and_another_has_another():
    namespace = Installation().namespace
    one = webhook_id(namespace, "/cairn/registry", "7")
    assert one == webhook_id(namespace, "/cairn/registry", "7")
    assert one not in (webhook_id(namespace, "/cairn/registry", "8"), webhook_id(namespace, "/cairn", "registry7"))


def test_the_usual_schedule_takes_three_days():
    assert timedelta(days=3) < timedelta(seconds=sum(SCHEDULE)) < timedelta(days=3.5)


def test_each_wait_is_spread_by_a_tenth_and_after_the_last_there_is_none():
    waits = [[wait_seconds(SCHEDULE, n, chance, "", NOW) for chance in (0, 0.5, 1)] for n in range(1, 10)]
    for planned, wait in zip(SCHEDULE, waits, strict=True):
        assert wait == pytest.approx([0.9 * planned, planned, 1.1 * planned])
    assert wait_seconds(SCHEDULE, 10, 0.5, "", NOW) is None


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("60", 60.0),
        ("1", 5.0),
        ("999999999", 86_400.0),
        ("-5", 5.0),
        ("soon", 5.0),
        ("²", 5.0),
        ((NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 89.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 5.0),
        ("Mon, 20 Nov 99999999999 19:12:08 GMT", 5.0),
        ("Mon, 20 Nov 2026 19:12:08 +9999", 5.0),
        ("Fri, 01 Jan 0001 00:00:00 +0100", 5.0),
    ],
)
def test_a_receiver_may_ask_for_a_longer_wait_of_up_to_a_day(asked, wait):
    assert wait_seconds(SCHEDULE, 1, 0.5, asked, NOW) == pytest.approx(wait, abs=0.6)


def test_a_bucket_empties_fills_and_never_overflows():
    rate = Rate(events_per_second=10, burst=20)
    bucket, wait = draw(None, rate, 100.0, 20)
    assert (bucket, wait) == (Bucket(0, 100.0), 0.0)
    bucket, wait = draw(bucket, rate, 100.5, 10)
    assert (bucket.level, wait) == (5, 0.5)
    bucket, wait = draw(bucket, rate, 101.0, 10)
    assert (bucket.level, wait) == (0, 0.0)
    assert draw(bucket, rate, 9999.0, 21)[1] == pytest.approx(0.1)


def test_a_fault_of_a_whole_that_has_one_inside_is_left_out():
    faults = [Fault("", "too short", ("items",)), Fault("", "no number", ("items", 3, "value")), Fault("", "?", ("a",))]
    assert innermost(faults) == faults[1:]


@pytest.mark.parametrize(
    ("location", "pointer"),
    [
        ((), "#"),
        (("a", 0, "b"), "#/a/0/b"),
        (("a", 0, "missing"), "#/a/0/missing"),
        (("a", 0, "b", "float"), "#/a/0/b"),
        (("a", 7), "#/a"),
        (("x/y~",), "#/x~1y~0"),
        (("100 %", 'a"b'), "#/100%20%25"),
        (("ü",), "#/%C3%BC"),
    ],
)
def test_a_pointer_leads_to_the_field_and_no_further(location, pointer):
    assert pointer_to(location, {"a": [{"b": 1}]}) == pointer
