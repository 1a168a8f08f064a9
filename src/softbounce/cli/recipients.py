"""``softbounce recipients``: a person's right to be forgotten, and keys that an upgrade changes."""

from typing import Annotated

import typer

from softbounce.cli.shared import options
from softbounce.cli.shared.change import Intent, changing
from softbounce.cli.shared.output import IN_PART, say
from softbounce.cli.shared.session import channel_of, opened, policy_in_force, tracked
from softbounce.core.texts import count
from softbounce.settings import Settings, StreamSink

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Erase a recipient's address; move keys.")


@app.command()
@changing("dry_run", "output")
def forget(
    recipient: Annotated[str, typer.Argument(help="An address, or its r_... hash")],
    *,
    intent: Intent,
    channel: options.Channel = None,
) -> None:
    """Erase the address wherever it is kept; waiting retries to it end. The hash stays, and so does a block.

    Dead letters that hold it are deleted. Exit code 5 if reports that no worker has read yet hold it, too.
    """
    sink = Settings.load().sink
    with opened() as store:
        policy = policy_in_force(store)
        streams = {store.keys.stream("resend"): "command", store.keys.stream("notices"): "notice"}
        streams |= {target.stream: "notice" for target in policy.notify if target.stream}
        streams |= {sink.key: "command"} if isinstance(sink, StreamSink) else {}
        rid = store.suppressions.rid(recipient, channel_of(recipient, channel))
        if intent.dry_run:
            found = store.erasure.find(rid, streams=streams)
        else:
            found = store.erasure.erase(
                rid, streams=streams, by=intent.by, history_kept=policy.retention.history
            )
        counts = found.counts()
        places = sum(counts.values())
        held = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in counts.items() if number)
        facts = {"action": "forget", "recipient": f"r_{rid}", "dryRun": intent.dry_run, "places": places}
        facts |= counts | {"unread": found.unread, "block": found.has_block}
        verb = "Found" if intent.dry_run else "Erased"
        sentence = f"{verb} in {places:,} place{'s' * (places != 1)}{f' ({held})' if held else ''}: r_{rid}."
        sentence += " A block on it stays." if found.has_block else " There is no block on it."
        intent.tell(sentence, facts)
        if intent.dry_run:
            say("Dry run: nothing changed.")
        elif places:
            say("The store's files hold it until the next rewrite: redis-cli BGREWRITEAOF; and old backups.")
        if found.unread:
            say(f"{found.unread:,} unread: reports that no worker took in hold it, too. Run it again later.")
            raise typer.Exit(IN_PART)


@app.command()
@changing("dry_run", "output")
def rekey(*, intent: Intent) -> None:
    """Move blocks whose address has another key since an upgrade, for a country has renumbered.

    Blocks whose address was not kept stay where they are: they are known by their hash alone.
    """
    with opened() as store:
        moved, unknown = 0, 0
        for entry, field in tracked(store.suppressions.moved(), "blocks"):
            if field is None:
                unknown += 1
                continue
            moved += 1
            if not intent.dry_run:
                store.suppressions.move(entry, field, by=intent.by)
        verb = "To be moved" if intent.dry_run else "Moved"
        sentence = f"{verb}: {count(moved, 'blocks')}."
        if unknown:
            sentence += f" {unknown:,} more are known by their hash alone: their address was not kept."
        facts = {"action": "rekey", "dryRun": intent.dry_run, "moved": moved, "unknown": unknown}
        intent.tell(sentence, facts)
