"""Finds the channel and the one recipient that a report is about, or None where that is not certain."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from softbounce.core.recipients import FIELDS, Channel, Recipient, fold_name, form, identity

_BY_CODE = {
    "SMS_": Channel.SMS,
    "BOUNCE_": Channel.EMAIL,
    "INVALID_MOBILE_NUMBER": Channel.SMS,
    "INVALID_EMAIL_ADDRESS": Channel.EMAIL,
    "INVALID_POSTAL_ADDRESS": Channel.LETTER,
}
_BY_NAME = {channel.name: channel for channel in Channel}


def channel_of_code(code: str) -> Channel | None:
    """Return the channel that the name of a reason code tells; None if it may be any."""
    return next((channel for prefix, channel in _BY_CODE.items() if code.startswith(prefix)), None)


def channel_of(
    named: object, *, code: str, recipients: tuple[object, ...], details: dict[str, Any]
) -> Channel | None:
    """Return the channel as named in any case, else by the code, else by the recipients, else None."""
    if isinstance(named, str) and (known := _BY_NAME.get(named.strip().upper())):
        return known
    if channel := channel_of_code(code):
        return channel
    forms = {form(one) for one in recipients or (details.get("invalidValues"),)}
    return forms.pop() if len(forms) == 1 else None


class Named(Struct, frozen=True):
    """Whom a report names, as far as that can be told."""

    subject: Recipient | None  # the one recipient that it is about; None: cannot be told
    recipients: tuple[object, ...]  # whom a resend may go to, as reported, each once
    people: tuple[Recipient | None, ...] = ()  # who each of these is; None: it names nobody
    unreadable: str = ""  # why none of them can be read
    left_out: str = ""  # which one cannot be read beside others that can, and why


def named_by(
    recipients: tuple[object, ...],
    *,
    channel: Channel | None,
    details: dict[str, Any],
    lacks_plus: bool = False,
) -> Named:
    """Return the one recipient that an event is about, if that can be told, and whom a resend may go to.

    A single recipient is the subject, also one that is named twice or cannot be read, who is known by the
    folded spelling. Among several, or without any, it is the one that ``invalidValues`` names, if it names
    exactly one, and one of these. ``lacks_plus``: see ``identity``.
    """
    if channel is None:
        return Named(None, recipients)
    named: dict[str | None, tuple[int, Recipient | None]] = {}  # by key, with the place of the first spelling
    for place, one in enumerate(recipients):
        who = identity(one, channel, lacks_plus=lacks_plus)
        named.setdefault(who.address if who else None, (place, who))
    people = tuple(who for _, who in named.values())
    subject = people[0] if len(people) == 1 else _culprit(people, channel, details, lacks_plus=lacks_plus)
    unread = [(place, who) for place, who in named.values() if who is None or who.unreadable]
    why = ""
    if unread:
        place, who = unread[0]
        why = f"recipients[{place}]: {who.unreadable if who else 'nobody is named'}"
    is_nobody_readable = len(unread) == len(people) or (subject is not None and subject.unreadable)
    kept = [pair for pair in named.values() if is_nobody_readable or pair not in unread]
    return Named(
        subject,
        tuple(recipients[place] for place, _ in kept),
        tuple(who for _, who in kept),
        unreadable=why if is_nobody_readable else "",
        left_out="" if is_nobody_readable else why,
    )


def _culprit(
    people: Sequence[Recipient | None], channel: Channel, details: dict[str, Any], *, lacks_plus: bool
) -> Recipient | None:
    values = _invalid_values(details.get("invalidValues"), channel)
    found = identity(values[0], channel, lacks_plus=lacks_plus) if len(values) == 1 else None
    is_of_these = not people or found in people  # a value of somebody else convicts nobody
    return found if found and is_of_these and not found.is_masked else None


def _invalid_values(values: object, channel: Channel) -> list[object]:
    """Return the first two distinct addresses among invalid values (an object, a list, or one text)."""
    if isinstance(values, dict):
        if channel is Channel.LETTER and FIELDS[channel] & {fold_name(name) for name in values}:
            return [values]  # the parts of one address
        others = frozenset[str]().union(*(FIELDS[other] for other in Channel if other is not channel))
        values = [value for name, value in values.items() if fold_name(name.rpartition(".")[2]) not in others]
    distinct: list[object] = []
    for value in values if isinstance(values, list) else [values]:
        for one in value if isinstance(value, list) else [value]:
            is_address = isinstance(one, dict) or (isinstance(one, str) and bool(one.strip()))
            if is_address and one not in distinct:
                distinct.append(one)
            if len(distinct) > 1:
                return distinct
    return distinct
