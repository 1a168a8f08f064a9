"""Options and filter words that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from softbounce.cli.shared import output as console

Output = Annotated[
    console.Output, typer.Option("--output", "-o", help="table for people, json and ndjson for programs")
]
Form = Annotated[console.Form, typer.Option("--format", help="csv for spreadsheets, ndjson for programs")]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="FILTER", help="key:value words; comma: or, leading -: not")
]
NeededWords = Annotated[
    list[str], typer.Argument(metavar="FILTER", help="key:value words; comma: or, leading -: not")
]
Reason = Annotated[str, typer.Option("--reason", help="Why: it is what the audit shows")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who, for the audit; else your user name")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the count")]
Period = Annotated[
    int, typer.Option("--for", parser=console.duration, metavar="TIME", show_default="1h", help="30m, 2h, 3d")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what matches, change nothing")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show addresses in full; the audit notes it")]
Channel = Annotated[
    str | None, typer.Option("--channel", help="sms, email or letter; else by the address's looks")
]
Merchant = Annotated[str | None, typer.Option("--merchant", help="For this merchant only")]
Policy = Annotated[
    Path | None, typer.Option("--policy", help="else SOFTBOUNCE_POLICY, else config/policy.yaml")
]
Every = Annotated[
    int,
    typer.Option(
        parser=console.duration,
        metavar="TIME",
        show_default="the hand-over rate",
        help="Send one message each time; 2s",
    ),
]
