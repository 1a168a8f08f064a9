"""Every error that softbounce raises, and which of three answers it asks for.

SoftbounceError
├── RefuseToStart            a person must mend something before a worker may run
│   ├── InvalidPolicy        the policy file, all problems at once
│   ├── UnsafeStore          the store may evict or lose what we keep
│   ├── WrongKey             another hash key than the one this store was written with
│   └── InvalidSettings      a setting is missing or contradicts another
├── InvalidEvent             dead-letter: the input cannot be read; it will not get better by itself
├── ScriptFailed             the store's script cannot take what it was given; half of a batch may pass
├── InvalidRecipient         a value that is no address on that channel
├── NotFound                 the thing a command names does not exist
└── TryAgain                 redeliver: nothing is wrong with the input
    ├── NewerRecord          a later release of softbounce wrote the record: that release takes the event
    ├── StoreUnreachable     no answer, or an answer that says "not now" (loading, read-only, disk full)
    │   └── Forbidden        the store's ACL does not let our user do this
    └── Overloaded           the store is above 90 % of its memory
"""

# ruff: noqa: N818 - a name says what is wrong or asked for; the root alone has the suffix


class SoftbounceError(Exception):
    """Root of the tree; catch this to catch everything softbounce raises."""


class RefuseToStart(SoftbounceError):
    """A person must mend something before a worker may run."""


class InvalidPolicy(RefuseToStart):
    """The policy file is wrong; ``problems`` lists every mistake in line order."""

    def __init__(self, problems: "list[str]") -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class UnsafeStore(RefuseToStart):
    """The store may evict or lose what softbounce keeps in it."""


class WrongKey(RefuseToStart):
    """The hash key differs from the one the store was written with: every lookup would miss."""


class InvalidSettings(RefuseToStart):
    """A setting, or what a person gives a command, is missing, contradicts another or is too long.

    ``path`` names the field where there is one.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}" if path else reason)


class InvalidEvent(SoftbounceError):
    """The input cannot be read; ``path`` names the field (``claim.communication.reference``), or is empty."""

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}" if path else reason)


class ScriptFailed(SoftbounceError):
    """A script of the store fails on what it was given, and has changed nothing; a repeat fails again."""


class InvalidRecipient(SoftbounceError):
    """A value that is no address on its channel; never holds the address itself."""


class NotFound(SoftbounceError):
    """The named delivery, case, entry or dead letter does not exist.

    ``noun`` and ``words``: the command ``softbounce NOUN list WORDS`` lists those that exist.
    """

    def __init__(self, message: str, noun: str = "", words: str = "") -> None:
        super().__init__(message)
        self.noun, self.words = noun, words


class TryAgain(SoftbounceError):
    """Nothing is wrong with the input; the same call may succeed later."""


class NewerRecord(TryAgain):
    """A later release wrote the record that an event is about; a worker of that release is to take it."""


class StoreUnreachable(TryAgain):
    """The store gives no answer, or says that it cannot take a write now."""


class Forbidden(StoreUnreachable):
    """The store's ACL does not let our user do this; a person may mend it while we wait."""


class Overloaded(TryAgain):
    """The store is above 90 % of its memory; producers should slow down."""
