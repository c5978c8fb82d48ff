"""Signatures of webhooks, as Standard Webhooks has them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

SECRET_PREFIX = "whsec_"


def signature(secret: str, message_id: str, at: str, body: bytes) -> str:
    """Return what proves to the receiver who sent it, as Standard Webhooks has it: HMAC-SHA256 of id, time, body."""
    signed = f"{message_id}.{at}.".encode() + body
    return base64.b64encode(hmac.new(secret_bytes(secret), signed, hashlib.sha256).digest()).decode()


def secret_bytes(secret: str) -> bytes:
    """Return the key that a secret like ``whsec_...`` names; raise ValueError where it is none."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"must begin with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"must be {SECRET_PREFIX} and base64") from error
    if not 24 <= len(key) <= 64:
        raise ValueError("must be 24 to 64 bytes in base64")
    return key
