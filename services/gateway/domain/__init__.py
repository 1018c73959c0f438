"""Who may come in and what is an event; who is told what, when again, and how it is signed."""

from gateway.domain.accepting import Fault, Given, fault_of, find_faults, innermost, make_envelope, pointer_to
from gateway.domain.configuration import (
    INWARD,
    OWN_TOPIC,
    Configuration,
    Rate,
    Token,
    Webhook,
    find_doubles,
    topics_of,
)
from gateway.domain.delivering import GONE, Answer, compose_body, parse_secrets, sign, wait_seconds, webhook_id
from gateway.domain.limiting import Bucket, draw
