"""Suppression lists as providers export them, read into the columns of our own import.

The columns are those of ``ListSuppressedDestinations`` (SES, API v2), of the lists under ``/v3/suppression``
(SendGrid, JSON or CSV), and of the consents of Sinch's Conversation API. SendGrid's blocks are not taken:
each is the refusal of one message, and its recipient is well. Nor are opt-outs of one group or kind of
message, which would stop every other kind, too.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from typing import IO, cast

from softbounce.cli.shared.input_files import read_reports, readable
from softbounce.cli.shared.output import Form, Json
from softbounce.core.policy.model import Policy
from softbounce.core.reasons import CONSENT
from softbounce.core.recipients import Channel
from softbounce.core.timestamps import date_or_never, iso
from softbounce.errors import InvalidEvent, InvalidSettings


class ProviderList(StrEnum):
    """A list of a provider."""

    SES = "ses"
    SENDGRID_BOUNCES = "sendgrid-bounces"
    SENDGRID_INVALID_EMAILS = "sendgrid-invalid-emails"
    SENDGRID_SPAM_REPORTS = "sendgrid-spam-reports"
    SENDGRID_UNSUBSCRIBES = "sendgrid-unsubscribes"
    SINCH_OPT_OUTS = "sinch-opt-outs"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The column names of a list; ``codes``: value of ``why`` -> our code, by ``""`` where it has none."""

    channel: Channel
    address: str
    codes: dict[str, str]
    since: str = ""
    why: str = ""
    page: str = ""  # key of the rows in a page of the API
    more: str = ""  # key in a page after which another follows


def _sendgrid(code: str) -> _Columns:
    return _Columns(channel=Channel.EMAIL, address="email", since="created", codes={"": code})


_LISTS = {
    ProviderList.SES: _Columns(
        channel=Channel.EMAIL,
        address="EmailAddress",
        since="LastUpdateTime",
        why="Reason",
        codes={"BOUNCE": "BOUNCE_PERMANENT_GENERAL", "COMPLAINT": "COMPLAINT"},
        page="SuppressedDestinationSummaries",
        more="NextToken",
    ),
    ProviderList.SENDGRID_BOUNCES: _sendgrid("BOUNCE_PERMANENT_GENERAL"),
    ProviderList.SENDGRID_INVALID_EMAILS: _sendgrid("INVALID_EMAIL_ADDRESS"),
    ProviderList.SENDGRID_SPAM_REPORTS: _sendgrid("COMPLAINT"),
    ProviderList.SENDGRID_UNSUBSCRIBES: _sendgrid("OPT_OUT"),
    ProviderList.SINCH_OPT_OUTS: _Columns(
        channel=Channel.SMS,
        address="identity",
        codes={"": "OPT_OUT"},
        page="identities",
        more="next_page_token",
    ),
}
_YEAR_3 = 100_000_000  # s since 1970; a smaller number in these lists is a date such as 20261126


def provider_rows(
    file: TextIOWrapper, form: Form, source: ProviderList, *, policy: Policy, now: int
) -> Iterator[Json]:
    """Yield the rows as ``suppressions.load`` takes them, each with the end that policy gives its code.

    A bounce leaves an entry that stands as it is, so that a withdrawn consent stays one. Raises
    ``InvalidSettings`` where the file cannot be read, its first row has no address of that provider's, or its
    last page names another one, since a list that lacks its end would let sends through.
    """
    columns = _LISTS[source]
    with readable():
        for number, row in enumerate(_rows(file, form, columns)):
            if number == 0 and columns.address not in row:
                message = f"its rows have no {columns.address}: this is no list of {source}"
                raise InvalidSettings(message)
            yield _ours(row, columns, policy=policy, now=now)


def _rows(file: TextIOWrapper, form: Form, columns: _Columns) -> Iterator[Json]:
    if form is Form.CSV:
        yield from csv.DictReader(file)
        return
    more = None
    for number, raw in enumerate(read_reports(cast("IO[bytes]", file.buffer)), 1):
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            message = f"not JSON: {error}"
            raise InvalidEvent(message, f"row {number}") from None
        page = found.get(columns.page) if isinstance(found, dict) else None
        more = isinstance(page, list) and found.get(columns.more)
        for row in page if isinstance(page, list) else [found]:
            yield row if isinstance(row, dict) else {}
    if more:
        message = f"its last page has a {columns.more}, so the list goes on: add the pages that follow"
        raise InvalidSettings(message)


def _ours(row: Json, columns: _Columns, *, policy: Policy, now: int) -> Json:
    why = str(row.get(columns.why, ""))
    code, since = columns.codes.get(why, why), _date(row.get(columns.since))
    term = policy.rule_for(code=code, channel=columns.channel, merchant=None).suppression
    try:
        until = iso((date_or_never(since, "since") or now) + term.expires) if term.expires else "never"
    except InvalidEvent:
        until = "never"  # the import refuses the row for its date
    address = row.get(columns.address) or ""
    if columns.channel is Channel.SMS and str(address).isdecimal():
        address = f"+{address}"  # Sinch writes the country code without a plus
    return {
        "channel": str(columns.channel),
        "address": address,
        "code": code,
        "origin": "provider",
        "reason": str(row.get("reason") or ""),
        "since": since,
        "until": until,
        "keep_existing": code if code in CONSENT else "",
    }


def _date(value: object) -> object:
    """Return seconds since 1970, whether number or text, as a date; anything else as it is."""
    try:
        seconds = float(str(value))
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds > _YEAR_3 else value
    except (ValueError, OverflowError, OSError):
        return value
