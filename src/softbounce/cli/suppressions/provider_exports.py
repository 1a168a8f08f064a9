"""Suppression lists as providers export them, read into the columns of our own import.

The columns are those of ``ListSuppressedDestinations`` (SES, API v2), of the lists under ``/v3/suppression``
(SendGrid, JSON or CSV), of the consents of Sinch's Conversation API, of Mailgun's bounces, unsubscribes and
complaints (``/v3/DOMAIN/bounces``, JSON or CSV: address, code, error, created_at, or tags), of Postmark's
``/message-streams/STREAM/suppressions/dump``, and of Brevo's ``/v3/smtp/blockedContacts``. SendGrid's blocks
are not taken: each is the refusal of one message, and its recipient is well. Nor are opt-outs of one group,
tag or kind of message, which would stop every other kind, too.
"""

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from io import TextIOWrapper
from typing import IO, cast

from msgspec import Struct, convert

from softbounce.cli.shared.input_files import read_reports, readable
from softbounce.cli.shared.output import Form, Json
from softbounce.core.policy.model import Policy
from softbounce.core.recipients import Channel, scrub
from softbounce.core.table_files import read_cells
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
    MAILGUN = "mailgun"
    POSTMARK = "postmark"
    BREVO = "brevo"


class _Columns(Struct, frozen=True, kw_only=True):
    """The columns of a list, see ``provider_exports.toml``."""

    channel: Channel
    address: str
    codes: dict[str, str]
    since: str = ""
    why: str = ""
    text: str = ""
    page: str = ""
    more: str = ""
    total: str = ""
    ends_empty: bool = False


@cache
def _lists() -> dict[str, _Columns]:
    text = files("softbounce.cli.suppressions").joinpath("provider_exports.toml").read_text(encoding="utf-8")
    return convert(tomllib.loads(text), dict[str, _Columns])


_YEAR_3 = 100_000_000  # s since 1970; a smaller number in these lists is a date such as 20261126


def provider_rows(
    file: TextIOWrapper, form: Form, source: ProviderList, *, policy: Policy, now: int
) -> Iterator[Json]:
    """Yield the rows as ``suppressions.load`` takes them, each with the end that policy gives its code.

    Raises ``InvalidSettings`` where the file cannot be read, its first row has no address of that provider's,
    or a page is missing, since a list that lacks its end would let sends through.
    """
    columns = _lists()[source]
    with readable():
        for number, row in enumerate(_rows(file, form, columns)):
            if number == 0 and columns.address.lower() not in row:
                message = f"its rows have no {columns.address}: this is no list of {source}"
                raise InvalidSettings(message)
            yield _ours(row, columns, policy=policy, now=now)


def _rows(file: TextIOWrapper, form: Form, columns: _Columns) -> Iterator[Json]:
    if form is Form.CSV:
        yield from read_cells(file)
        return
    more, total, taken = None, None, 0
    for number, raw in enumerate(read_reports(cast("IO[bytes]", file.buffer)), 1):
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            message = f"not JSON: {error}"
            raise InvalidEvent(message, f"row {number}") from None
        page = found.get(columns.page) if isinstance(found, dict) else None
        if isinstance(page, list):
            more = found.get(columns.more) if page or not columns.ends_empty else None
            total, taken = found.get(columns.total), taken + len(page)
        for row in page if isinstance(page, list) else [found]:
            yield {name.lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
    if more:
        end = "has rows" if columns.ends_empty else f"has a {columns.more}"
        message = f"its last page {end}, so the list goes on: add the pages that follow"
        raise InvalidSettings(message)
    if isinstance(total, int) and taken < total:
        message = f"it has {taken:,} of {total:,} rows: add the pages that follow"
        raise InvalidSettings(message)


def _ours(row: Json, columns: _Columns, *, policy: Policy, now: int) -> Json:
    said, text = row.get(columns.why.lower(), row.get("tags", "")), row.get(columns.text)
    if isinstance(said, dict):
        text = said.get("message")
        said = said.get("code")
    why = str(said).strip("[]'\" ") or ("none" if columns.why.lower() in row else "")
    reply = f"{why[:1]}xx" if why.isdecimal() else why
    code = columns.codes.get(why) or columns.codes.get(reply) or f"unknown: {why}"
    since = _date(row.get(columns.since.lower()))
    term = policy.rule_for(code=code, channel=columns.channel, merchant=None).suppression
    try:
        until = iso((date_or_never(since, "since") or now) + term.expires) if term.expires else "never"
    except InvalidEvent:
        until = "never"  # the import refuses the row for its date
    address = row.get(columns.address.lower()) or ""
    if columns.channel is Channel.SMS and str(address).isdecimal():
        address = f"+{address}"  # Sinch writes the country code without a plus
    return {
        "channel": str(columns.channel),
        "address": address,
        "code": code,
        "origin": "provider",
        "reason": scrub(str(text or "")),  # a reply names the address, and a reason is kept in clear
        "since": since,
        "until": until,
    }


def _date(value: object) -> object:
    """Return seconds since 1970 (number or text), or a date as in e-mail, as ISO; anything else as it is."""
    try:
        if isinstance(value, str) and "," in value:
            return parsedate_to_datetime(value).isoformat()
        seconds = float(str(value))
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds > _YEAR_3 else value
    except (ValueError, OverflowError, OSError):
        return value
