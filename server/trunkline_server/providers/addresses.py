"""Where secrets may be sent: over https, to this machine itself, or to the machine's own metadata service.

And what is on this machine.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from trunkline_server.settings import is_loopback

# What answers there is the machine's own host, over plain http only: Google Cloud, AWS and Azure, and AWS containers.
METADATA_HOSTS: Final = frozenset({"metadata.google.internal", "169.254.169.254", "169.254.170.2"})


def may_have_secrets(url: str) -> bool:
    """Whether a token or what is given for it may travel there."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (is_loopback(host) or host in METADATA_HOSTS))


def is_this_machine(url: str) -> bool:
    """Whether what is asked there is on this machine. Empty: what runs in this process."""
    try:
        return not url or is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
