"""The external heartbeat: a URL that is asked after each good tick, and whose silence tells that nobody is watching."""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

_logger = logging.getLogger(__name__)
_TIMEOUT_S = 10.0


def send_heartbeat(url: str) -> bool:
    """Ask the URL once; whether it answered well. Never raises: a tick is no worse for it, and silence is the signal.

    The URL is a secret of its kind (whoever knows it can keep the watch looking alive), so only its host is logged.
    """
    import requests

    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, timeout=_TIMEOUT_S, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            _logger.warning("heartbeat to %s failed: %s", urlsplit(url).hostname, type(error).__name__)
            return False
    if not answer.ok:
        _logger.warning("heartbeat to %s was answered with %d", urlsplit(url).hostname, answer.status_code)
    return answer.ok


def stays_here(url: str) -> bool:
    """Whether a URL leads to this machine alone."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
