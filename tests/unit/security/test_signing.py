"""Signatures that the receivers' library accepts."""

import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from scheduler_core.clock import utc_now
from scheduler_core.security.signing import (
    Signer,
    merchant_secret,
    shown_secret,
    signing_secrets,
)

KEY = b"an installation's key of 32 bytes or more"
MERCHANT = UUID("01932b7e-0000-7000-8000-000000000001")
OTHER = UUID("01932b7e-0000-7000-8000-000000000002")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def headers_for(body: bytes, *signers: Signer) -> dict[str, str]:
    timestamp = str(int(utc_now().timestamp()))
    signed = b"%b.%b.%b" % (str(MERCHANT).encode(), timestamp.encode(), body)
    signature = b" ".join(signer.sign(signed) for signer in signers)
    return {"webhook-id": str(MERCHANT), "webhook-timestamp": timestamp, "webhook-signature": signature.decode()}


@given(st.text().map(lambda text: text.encode("utf-8", "ignore")))
def test_the_standard_webhooks_library_accepts_our_signature(body: bytes) -> None:
    secret = merchant_secret(KEY, MERCHANT, 1)
    body = b'{"x": "%d"}' % len(body)
    assert Webhook(shown_secret(secret)).verify(body, headers_for(body, Signer(secret)))


def test_a_changed_body_is_not_accepted() -> None:
    secret = merchant_secret(KEY, MERCHANT, 1)
    headers = headers_for(b'{"a": 1}', Signer(secret))
    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(secret)).verify(b'{"a": 2}', headers)


def test_during_a_rotation_the_old_and_the_new_secret_both_verify() -> None:
    secrets = signing_secrets(KEY, MERCHANT, 2, NOON, NOON + timedelta(hours=23))
    headers = headers_for(b"{}", *(Signer(secret) for secret in secrets))
    assert headers["webhook-signature"].count("v1,") == 2
    for version in (1, 2):
        Webhook(shown_secret(merchant_secret(KEY, MERCHANT, version))).verify(b"{}", headers)


def test_the_previous_secret_signs_for_24_hours_and_no_longer() -> None:
    current, previous = merchant_secret(KEY, MERCHANT, 3), merchant_secret(KEY, MERCHANT, 2)
    day = timedelta(hours=24)
    assert signing_secrets(KEY, MERCHANT, 3, NOON, NOON + day - timedelta(seconds=1)) == (current, previous)
    assert signing_secrets(KEY, MERCHANT, 3, NOON, NOON + day) == (current,)
    assert signing_secrets(KEY, MERCHANT, 3, None, NOON) == (current,)
    assert signing_secrets(KEY, MERCHANT, 1, NOON, NOON) == (merchant_secret(KEY, MERCHANT, 1),)


def test_secrets_differ_between_merchants_versions_and_installations() -> None:
    secrets = {
        merchant_secret(KEY, MERCHANT, 1),
        merchant_secret(KEY, MERCHANT, 2),
        merchant_secret(KEY, OTHER, 1),
        merchant_secret(KEY + b"!", MERCHANT, 1),
    }
    assert len(secrets) == 4
    assert {len(secret) for secret in secrets} == {32}


def test_a_secret_never_changes_or_receivers_would_stop_verifying() -> None:
    assert merchant_secret(KEY, MERCHANT, 1).hex() == "36cf6d5ae26168b6b74a83a5d79b680c7a9d9e322f97ba2bbd08bb6e8b813c26"


@given(st.binary(max_size=200), st.binary(max_size=300))
@example(b"k" * 64, b"as long as a block")
@example(b"k" * 65, b"longer than a block")
def test_a_signature_is_the_hmac_of_the_standard_library(secret: bytes, message: bytes) -> None:
    assert Signer(secret).sign(message) == b"v1," + b64encode(hmac.digest(secret, message, "sha256"))
