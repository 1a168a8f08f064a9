"""What a pause or a cancel covers: one kind:value, such as a claim, a merchant or a recipient."""

from softbounce.core.bounds import bounded
from softbounce.core.recipients import channel_named, hashed, listed
from softbounce.core.records import digest
from softbounce.errors import InvalidSettings
from softbounce.store.hash_key import HashKey, hash_in

KINDS = ("reference", "claim", "customer", "merchant", "recipient")
_FIELDS = (*KINDS, "channel", "code")


def scope_field(kind: str, value: object, *, channel: str | None, key: HashKey) -> str:
    """Return the field under which the scripts look for one kind:value."""
    if kind not in _FIELDS:
        msg = f"is one of {', '.join(_FIELDS)}"
        raise InvalidSettings(msg, "kind")
    on = None if channel is None else channel_named(channel)
    if kind == "recipient":
        if (rid := hash_in(value)) is not None:
            return f"recipient:{rid}"
        if on is None:
            msg = "a recipient needs its channel: sms, email or letter"
            raise InvalidSettings(msg, "channel")
        key.keep()  # a process may live longer than the key that it found
        return f"recipient:{hashed(listed(value, on), key.value)}"
    if not (text := bounded(value, kind)).strip():
        msg = "needs a value: an empty one would match everything that has none"
        raise InvalidSettings(msg, kind)
    return f"reference:{digest(text)}" if kind == "reference" else f"{kind}:{text}"


def scope_named(kind: str, value: object, field: str) -> str:
    """Return what the audit shows: a reference as it is, a recipient by its hash alone."""
    return field.replace(":", ":r_", 1) if kind == "recipient" else f"{kind}:{value}"
