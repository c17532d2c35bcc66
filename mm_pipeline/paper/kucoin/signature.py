"""Who signed a KuCoin request, and whether with the right secret, in time. What the key may do is judged elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

from mm_pipeline.paper.http.wire import Request
from mm_pipeline.paper.kucoin.market_data import Refusal
from mm_pipeline.paper.trading.account import PaperKey

TOLERANCE_MS = 5_000
"""Vendor documentation: a request 5 seconds or more off the server's time is refused."""

_HEADERS = ("kc-api-key", "kc-api-sign", "kc-api-timestamp", "kc-api-passphrase")
_UNAUTHORISED = 401


def check_signature(request: Request, keys: dict[str, PaperKey]) -> PaperKey:
    """The key that signed a request.

    Parameters
    ----------
    request
        With its target as sent.
    keys
        By key.

    Raises
    ------
    Refusal
        400001 to 400005, in the order in which the codes count.
    """
    if any(not request.headers.get(name) for name in _HEADERS):
        missing = "Please check the header of your request for KC-API-KEY, KC-API-SIGN, KC-API-TIMESTAMP"
        raise Refusal("400001", f"{missing}, KC-API-PASSPHRASE", status=_UNAUTHORISED)
    named, sign, timestamp, passphrase = (request.headers[name] for name in _HEADERS)
    if not timestamp.isdecimal() or abs(int(timestamp) - request.now_ms) >= TOLERANCE_MS:
        raise Refusal("400002", "Invalid KC-API-TIMESTAMP", status=_UNAUTHORISED)
    key = keys.get(named)
    if key is None:
        raise Refusal("400003", "KC-API-KEY not exists", status=_UNAUTHORISED)
    is_hashed = request.headers.get("kc-api-key-version", "1") != "1"
    expected = _hmac(key, key.passphrase.encode()) if is_hashed else key.passphrase
    if not hmac.compare_digest(passphrase, expected):
        raise Refusal("400004", "Invalid KC-API-PASSPHRASE", status=_UNAUTHORISED)
    signed = f"{timestamp}{request.method}{request.target}".encode() + request.body
    if not hmac.compare_digest(sign, _hmac(key, signed)):
        raise Refusal("400005", "Invalid KC-API-SIGN", status=_UNAUTHORISED)
    return key


def _hmac(key: PaperKey, message: bytes) -> str:
    return base64.b64encode(hmac.new(key.secret.encode(), message, hashlib.sha256).digest()).decode()
