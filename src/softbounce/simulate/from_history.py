"""The history of the store as recorded reports: what it tells of each, without the addresses."""

from collections.abc import Iterable, Iterator

from msgspec import structs

from softbounce.core.decide import only_recipient
from softbounce.core.events import Event, Failure, content_hash
from softbounce.core.phone_numbers import zones_of_country
from softbounce.core.recipients import Channel, Recipient
from softbounce.core.records import Json
from softbounce.simulate.recording import Record, Report, recorded
from softbounce.store import Store
from softbounce.store.situations import Story


def remembered(store: Store, *, since: int, most: int | None = None) -> Record:
    """Return what ``store`` tells of messages first reported within ``since`` ms; ``most``: to look at."""
    stories = store.retries.stories(since=store.now() - since, most=most)
    return recorded(reports(stories), tells_all=False)


def reports(stories: Iterable[Story]) -> Iterator[Report]:
    """Yield the reports that ``stories`` tell of, in the order of each. A recipient is known by the hash.

    Country, domain and zone are those that the history keeps; a number whose digits are gone is in any zone
    of its country. Receipts after a resend of ours count as its answer.
    """
    for story in stories:
        was_sent = False
        for number, line in enumerate(story.history):
            was_sent |= line["k"] == "resent"
            if line["k"] in ("failed", "delivered"):
                event = _event(story, line, identity=f"{story.delivery.id}/{number}")
                answers = "ours" if was_sent and event.delivered else None
                yield Report(event=structs.replace(event, resend_id=answers), received=line["t"])


def _event(story: Story, line: Json, *, identity: str) -> Event:
    delivery, failure = story.delivery, None
    channel = Channel(delivery.channel) if delivery.channel else None
    if line.get("type") or line.get("code"):
        failure = Failure(type=line.get("type", ""), code=line.get("code", ""), smtp=line.get("smtp"))
    several = line.get("several", 1)
    return Event(
        delivered=line["k"] == "delivered",
        event_id=None,
        identity=content_hash(identity.encode()),
        at=line["at"] * 1000 if "at" in line else None,
        claim=delivery.claim,
        reference=delivery.reference,
        channel=channel,
        subject=_subject(story, channel),
        recipients=("•••",) * several,
        failure=failure,
        not_after=line.get("until"),
        timezone=line.get("zone"),
        provider=line.get("provider"),
        campaign=line.get("campaign"),
        operator=line.get("operator"),
    )


def _subject(story: Story, channel: Channel | None) -> Recipient | None:
    """Return who is meant, under the hash in place of the address; None: nobody in particular."""
    delivery = story.delivery
    if channel is None or delivery.rid.startswith("*"):
        return None
    if known := only_recipient(delivery.recipients, channel):
        return structs.replace(known, address=delivery.rid)
    told = next((line for line in story.history if "country" in line or "domain" in line), {})
    country = told.get("country")
    zones = zones_of_country(country) if country and channel is Channel.SMS else ()
    return Recipient(
        channel=channel, address=delivery.rid, country=country, domain=told.get("domain"), zones=zones
    )
