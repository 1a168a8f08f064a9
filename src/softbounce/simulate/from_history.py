"""Turns the store's history into recorded reports, without the addresses."""

from collections.abc import Iterable, Iterator

from msgspec import structs

from softbounce.core.decide import only_recipient
from softbounce.core.events import Event, Failure, content_hash
from softbounce.core.history import HistoryLine
from softbounce.core.recipients import Channel, Recipient
from softbounce.core.zones import zones_of_country
from softbounce.simulate.recording import Record, Report, recorded
from softbounce.store import Store
from softbounce.store.situations import Story


def remembered(store: Store, *, since: int, most: int | None = None) -> Record:
    """Return the record of at most ``most`` messages that were first reported within ``since`` ms."""
    stories = store.retries.stories(since=store.now() - since, most=most)
    return recorded(reports(stories), tells_all=False)


def reports(stories: Iterable[Story]) -> Iterator[Report]:
    """Yield the reports of ``stories``, in the order of each. A recipient's address is its hash.

    Country, domain and zone are those that the history keeps; a number whose digits are gone is in any zone
    of its country. Receipts after a resend of ours count as its answer.
    """
    for story in stories:
        was_sent = False
        for number, line in enumerate(story.history):
            was_sent |= line.kind == "resent"
            if line.kind in ("failed", "delivered"):
                event = _event(story, line, identity=f"{story.delivery.id}/{number}")
                answers = "ours" if was_sent and event.delivered else None
                yield Report(event=structs.replace(event, resend_id=answers), received=line.at)


def _event(story: Story, line: HistoryLine, *, identity: str) -> Event:
    delivery, failure = story.delivery, None
    channel = Channel(delivery.channel) if delivery.channel else None
    if line.type or line.code:
        failure = Failure(type=line.type or "", code=line.code or "", smtp=line.smtp, text=line.text)
    return Event(
        delivered=line.kind == "delivered",
        event_id=None,
        identity=content_hash(identity.encode()),
        at=None if line.dated_s is None else line.dated,
        claim=delivery.claim,
        reference=delivery.reference,
        channel=channel,
        subject=_subject(story, channel),
        recipients=("•••",) * line.several,
        failure=failure,
        not_after=line.until,
        timezone=line.zone,
        provider=line.provider,
        campaign=line.campaign,
        operator=line.operator,
    )


def _subject(story: Story, channel: Channel | None) -> Recipient | None:
    """Return the recipient, with the hash as the address; None where no single one is known."""
    delivery = story.delivery
    if channel is None or delivery.rid.startswith("*"):
        return None
    if known := only_recipient(delivery.recipients, channel, lacks_plus=True):
        return structs.replace(known, address=delivery.rid)
    line = next((one for one in story.history if one.country or one.domain), None)
    country, domain = (line.country, line.domain) if line else (None, None)
    zones = zones_of_country(country) if country and channel is Channel.SMS else ()
    return Recipient(channel=channel, address=delivery.rid, country=country, domain=domain, zones=zones)
