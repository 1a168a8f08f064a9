"""The secrets of notification targets. Each stands in an environment variable that the policy names."""

import os
from base64 import b64decode
from importlib.util import find_spec

from softbounce.errors import InvalidSettings

WHSEC = "whsec_"  # and base64: how Standard Webhooks writes a secret
LEAST_SECRET = 24  # bytes, by the same


def apprise_url(variable: str) -> str:
    """Return the address in a variable. Raises ``InvalidSettings``, also where apprise is not installed."""
    if find_spec("apprise") is None:
        message = "a target of type apprise needs: pip install 'softbounce[apprise]'"
        raise InvalidSettings(message)
    if not (url := os.environ.get(variable, "").strip()):
        message = f"the variable {variable} is not set: it holds the address, for example slack://..."
        raise InvalidSettings(message)
    return url


def signing_keys(variable: str) -> list[bytes]:
    """Return the secrets in a variable, separated by spaces. Raises ``InvalidSettings``."""
    form = f"{WHSEC} and base64 of {LEAST_SECRET} bytes or more"
    written = os.environ.get(variable, "").split()
    if not written:
        message = f"the variable {variable} is not set: it holds the secret, {form}"
        raise InvalidSettings(message)
    try:
        keys = [b64decode(word.removeprefix(WHSEC), validate=True) for word in written]
    except ValueError:
        keys = [b""]
    if min(map(len, keys)) < LEAST_SECRET:
        message = f"the variable {variable} holds no secret: {form}"
        raise InvalidSettings(message)
    return keys
