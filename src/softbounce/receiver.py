"""For receivers of resend commands and notices: ``handle_once`` lets each id be acted on once."""

import logging
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from softbounce.client import patiently, store_at
from softbounce.core.timestamps import date_or_never
from softbounce.errors import InvalidEvent, TryAgain
from softbounce.store import Store
from softbounce.store.receipts import Receipts, Taken

log = logging.getLogger(__name__)  # the pipeline's process is not ours: its own logging decides

_MAX_ID = 128  # characters
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which no server takes
_MILLISECOND = timedelta(milliseconds=1)

Command = Mapping[str, Any]


class Handled(StrEnum):
    """What became of one delivery of a command; true only where it was acted on now."""

    ACTED = "acted"
    SEEN = "seen"  # it was acted on within the last 14 days
    TOO_LATE = "too_late"  # notAfter has passed: nobody may act on it any more

    def __bool__(self) -> bool:
        return self is Handled.ACTED


def handle_once(
    command: Command,
    act: Callable[[Command], object],
    *,
    store: str | Store | None = None,
    longest: timedelta = timedelta(minutes=5),
) -> Handled:
    """Call ``act(command)`` unless it was done before for this ``id``, or ``notAfter`` has passed.

    What ``act`` raises passes through, and the next delivery of the id may act again. While another
    receiver acts on the id, ``TryAgain`` is raised: do not acknowledge, let the broker deliver it again.
    ``longest`` is the most an act may take: a receiver that was killed holds the id for so long, and one
    that takes longer may be joined by another. ``store``: the URL of any Redis, by default softbounce's own.
    """
    ident = command.get("id")
    if not isinstance(ident, str) or not 0 < len(ident) <= _MAX_ID or _SURROGATE.search(ident):
        reason = f"must be text of 1 to {_MAX_ID} characters"
        raise InvalidEvent(reason, "id")
    not_after = date_or_never(command.get("notAfter"), "notAfter")
    receipts = store.receipts if isinstance(store, Store) else _receipts(store)
    holder = secrets.token_hex(8)
    taken, now = patiently(receipts.take, ident, holder=holder, lease=longest // _MILLISECOND)
    if taken is Taken.DONE:
        return Handled.SEEN
    if taken is Taken.THEIRS:
        message = f"another receiver acts on {ident}"
        raise TryAgain(message)
    if not_after is not None and now > not_after:
        _give_back(receipts, ident, holder)
        return Handled.TOO_LATE
    try:
        act(command)
    except BaseException:
        _give_back(receipts, ident, holder)
        raise
    try:
        patiently(receipts.keep, ident)
    except TryAgain as error:  # raising would bring the command back, and it would be acted on twice
        log.error("receipt.lost: %s was acted on and cannot be remembered: %s", ident, error)  # noqa: TRY400
    return Handled.ACTED


def _give_back(receipts: Receipts, ident: str, holder: str) -> None:
    try:
        patiently(receipts.give_back, ident, holder=holder)
    except TryAgain as error:
        log.warning("receipt.held: %s waits until its lease ends: %s", ident, error)


@cache
def _receipts(url: str | None) -> Receipts:
    return store_at(url).receipts
