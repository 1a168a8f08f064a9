"""Finds the channel and the one recipient that a report is about, or None where that is not certain."""

from typing import Any

from softbounce.core.reasons import CONTACT_CODES
from softbounce.core.recipients import FIELDS, Channel, Recipient, as_written, fold_name, form, read_recipient

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


def subject_of(
    recipients: tuple[object, ...],
    *,
    channel: Channel | None,
    failure_type: str,
    code: str,
    details: dict[str, Any],
) -> Recipient | None:
    """Return the one recipient that an event is about, or None if that cannot be told.

    A single recipient is the subject. Among several, or without any, it is the one that ``invalidValues``
    names, if it names exactly one. An invalid address that is reported as invalid is kept as written.
    """
    if channel is None:
        return None
    if recipients and all(one == recipients[0] for one in recipients):
        is_reported = failure_type == "CONTACT_ERROR" or code in CONTACT_CODES
        named = read_recipient(recipients[0], channel)
        return named or (as_written(recipients[0], channel) if is_reported else None)
    culprits = _invalid_values(details.get("invalidValues"), channel)
    if len(culprits) != 1:
        return None
    return read_recipient(culprits[0], channel) or as_written(culprits[0], channel)


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
