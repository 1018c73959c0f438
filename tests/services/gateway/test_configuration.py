"""The gateway's file: what is wrong with it is said with its line; its secrets are said nowhere."""

import base64
from pathlib import Path

import pytest

from cairn.declaration import DeclarationError
from cairn.events.signing import TrustError
from gateway.app import build, read_configuration, read_secrets
from gateway.domain import INWARD, Webhook
from gateway.settings import Settings

DIGEST = "sha256:" + "a" * 64
GOOD = f"""\
tokens:
  - principal: system/warehouse
    sha256: {DIGEST}
    sources: [/warehouse/*]
    rate: {{events_per_second: 50, burst: 100}}
webhooks:
  - name: billing
    url: https://billing.example/hooks?tenant=7
    types: [cairn.model.promoted.v1]
    subject: model/risk.*
    start: beginning
retry_seconds: [1, 2]
"""


def settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return Settings.model_construct(file=file, installation="cairn", bootstrap_servers="127.0.0.1:9")


def test_a_good_file_is_read_and_what_it_leaves_out_is_usual(tmp_path):
    configuration = read_configuration(settings(tmp_path, GOOD))
    assert configuration.tokens[0].types == tuple(INWARD)
    assert configuration.retry_seconds == (1, 2)
    assert configuration.topics == ("registry",)


def test_without_a_file_nobody_comes_in_and_nobody_is_told():
    configuration = read_configuration(Settings.model_construct(file=None))
    assert (configuration.tokens, configuration.webhooks, configuration.topics) == ((), (), ())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("principal: system/warehouse", "principal: warehouse", "yaml:2:16: tokens[0].principal: found the text"),
        (DIGEST, "abc", "yaml:3:13: tokens[0].sha256"),
        ("burst: 100", "burst: lots", "yaml:5:42: tokens[0].rate.burst: found the text 'lots'"),
        ("cairn.model.promoted.v1", "cairn.model.promotet.v1", "did you mean 'cairn.model.promoted.v1'?"),
        ("cairn.model.promoted.v1", "cairn.webhook.failed.v1", "yaml:9:13: webhooks[0].types[0]"),
        ("https://billing", "ftp://billing", "yaml:8:10: webhooks[0].url"),
        ("https://billing", "https://user:pass@billing", "yaml:8:10: webhooks[0].url"),
        ("start: beginning", "start: yesterday", "yaml:11:12: webhooks[0].start"),
        ("start: beginning", "secret: whsec_abc", "yaml:11:5: webhooks[0].secret: is not a known key"),
        ("retry_seconds: [1, 2]", "retry: 3", "yaml:12:1: retry: is not a known key"),
        (
            "    url: https://billing.example/hooks?tenant=7\n",
            "",
            "webhooks[0].url: is missing: expected the address that events",
        ),
    ],
)
def test_a_fault_is_said_with_its_line(tmp_path, old, new, said):
    with pytest.raises(DeclarationError) as caught:
        read_configuration(settings(tmp_path, GOOD.replace(old, new)))
    assert said in str(caught.value)


def test_two_webhooks_of_one_name_are_refused(tmp_path):
    again = "  - {name: billing, url: 'http://x', types: [cairn.model.promoted.v1]}\n"
    with pytest.raises(DeclarationError, match="two have the name billing"):
        read_configuration(settings(tmp_path, GOOD.replace("retry_seconds", again + "retry_seconds")))


def test_a_webhook_without_a_secret_stops_the_start_and_says_which(tmp_path):
    with pytest.raises(TrustError, match="set CAIRN_WEBHOOK_BILLING_SECRET, or CAIRN_WEBHOOK_BILLING_SECRET_FILE"):
        build(settings(tmp_path, GOOD))


def test_a_secret_comes_from_the_environment_or_from_the_file_that_it_names_and_is_shown_nowhere(tmp_path, monkeypatch):
    webhook = Webhook(name="eu-billing", url="https://x", types=("cairn.model.promoted.v1",))
    text = "whsec_" + base64.b64encode(b"k" * 24).decode()
    file = tmp_path / "secret"
    file.write_text(text + "\n")
    assert read_secrets(webhook, {"CAIRN_WEBHOOK_EU_BILLING_SECRET": text}) == (b"k" * 24,)
    assert read_secrets(webhook, {"CAIRN_WEBHOOK_EU_BILLING_SECRET_FILE": str(file)}) == (b"k" * 24,)
    for wrong in ("whsec_verysecret", "whsec_" + text):
        with pytest.raises(TrustError) as caught:
            read_secrets(webhook, {"CAIRN_WEBHOOK_EU_BILLING_SECRET": wrong})
        assert wrong not in str(caught.value)
