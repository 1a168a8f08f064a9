"""What commands share: the open store, the policy, recipients and filter words."""

import getpass
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import typer

from softbounce.cli.shared.output import IN_PART, Json, as_line, say
from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.core.recipients import Channel, form
from softbounce.core.texts import plain
from softbounce.embedded import find_store
from softbounce.errors import InvalidSettings, StoreUnreachable
from softbounce.settings import Settings, policy_text
from softbounce.store import Store
from softbounce.store.audit import By
from softbounce.store.hash_key import hash_in
from softbounce.stores import open_store
from softbounce.urls import mask_url
from softbounce.worker.sinks.target_secrets import apprise_url, signing_keys

STRIDE = 250  # items between two updates of a counter
T = TypeVar("T")


@contextmanager
def opened() -> Iterator[Store]:
    """Open the store that the settings name."""
    settings = Settings.load()
    url = store_url(settings)
    with naming(url), closing(open_store(settings, url)) as store:
        yield store


def unreachable_targets(policy: Policy) -> Iterator[str]:
    """Yield each target of notices whose secret this machine cannot read, with the reason."""
    for target in policy.notify:
        try:
            if target.secret:
                _ = (apprise_url if target.type == "apprise" else signing_keys)(target.secret)
        except InvalidSettings as error:
            yield f"target {target.name}, as seen from here: {error}"


@contextmanager
def naming(url: str) -> Iterator[None]:
    """Add the store's URL, without its password, to the error that it is away."""
    try:
        yield
    except StoreUnreachable as error:
        message = f"{mask_url(url)}: {error}"
        raise StoreUnreachable(message) from error


def store_url(settings: Settings) -> str:
    """Return the URL of the store that is set or runs on the data folder. Raises ``StoreUnreachable``."""
    if url := find_store(settings):
        return url
    message = (
        f"no store: SOFTBOUNCE_REDIS_URL is not set, and nothing runs on {settings.data} (SOFTBOUNCE_DATA). "
        "Start one there: softbounce run"
    )
    raise StoreUnreachable(message)


def policy_of(path: Path | None = None, what_if: Sequence[str] = ()) -> Policy:
    """Return the policy at ``path``, else the one that the settings name. Raises ``InvalidPolicy``."""
    text, file = policy_text(path)
    return policy_file.load(text, file=file, what_if=what_if)


def policy_in_force(store: Store, path: Path | None = None, what_if: Sequence[str] = ()) -> Policy:
    """Return the policy at ``path``, else the one applied for all workers, else the settings' file."""
    if path is None and (applied := store.policies.applied()):
        return policy_file.load(applied.text, file=applied.file, what_if=what_if)
    return policy_of(path, what_if)


def by_whom(actor: str | None, reason: str) -> By:
    """Return who acts, the user by default, and why: what the audit shows."""
    try:
        return By(actor or getpass.getuser(), reason)
    except (KeyError, OSError):  # the user of a container may have no name
        return By(f"uid {os.getuid()}", reason)


def note_reveal(store: Store, what: str) -> None:
    """Note in the audit that somebody looks at the addresses of ``what`` in full."""
    store.audit.note(action="reveal", what=what, by=by_whom(None, "--reveal"))


def note_list_reveal(store: Store, noun: str, words: Collection[str] | None, *, bare: str) -> None:
    """Note the same for all that filter words find."""
    note_reveal(store, f"{noun} {' '.join(hashed_words(words, store, bare=bare)) or 'all'}")


def channel_of(value: str, given: str | None) -> Channel:
    """Return the channel that is given, else the one that the form of the address shows."""
    if given is not None:
        try:
            return Channel(given.lower())
        except ValueError:
            message = f"unknown channel '{plain(given)}': it is sms, email or letter"
            raise InvalidSettings(message) from None
    if hash_in(value):
        return Channel.SMS  # a hash is found without its channel
    if channel := form(value):
        return channel
    message = "the address does not say what it is: add --channel sms, email or letter"
    raise InvalidSettings(message)


def spelled(words: Collection[str] | None, *, bare: str) -> list[str]:
    """Return filter words in full: those without a key are values of the key ``bare``, joined by or."""
    named = [word for word in words or () if ":" in word]
    values = [word for word in words or () if ":" not in word]
    return [*named, f"{bare}:{','.join(values)}"] if values else named


def hashed_words(
    words: Collection[str] | None, store: Store, *, bare: str, channel: str | None = None
) -> list[str]:
    """Return filter words in full, each recipient's address replaced by the hash under which it is known."""

    def known(value: str) -> str:
        is_hash = hash_in(value) is not None or "*" in value
        return value if is_hash else f"r_{store.suppressions.rid(value, channel_of(value, channel))}"

    found = []
    for word in spelled(words, bare=bare):
        key, _, values = word.partition(":")
        is_recipient = key.removeprefix("-") == "recipient" and values
        found.append(f"{key}:{','.join(map(known, values.split(',')))}" if is_recipient else word)
    return found


def fail_in_part(failures: Sequence[Json], *, of: int) -> None:
    """Print what failed to stderr as NDJSON and exit 5, if anything did."""
    for failure in failures:
        say(as_line(failure))
    exit_in_part(len(failures), of=of)


def exit_in_part(failed: int, *, of: int) -> None:
    """Say how many failed and exit 5, if any did."""
    if failed:
        say(f"{failed:,} of {of:,} failed")
        raise typer.Exit(IN_PART)


def tracked(items: Iterable[T], title: str) -> Iterator[T]:
    """Yield the items; on a terminal, stderr shows every few hundred how many were taken."""
    number, is_shown = 0, sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        if is_shown and number % STRIDE == 0:
            typer.echo(f"\r{title}: {number:,}", err=True, nl=False)
        yield item
    if is_shown and number >= STRIDE:
        typer.echo("\r\x1b[K", err=True, nl=False)
