"""The policy in force: read at start, and again whenever the file's content changes."""

from pathlib import Path

from softbounce.core.policy import file as policy_file
from softbounce.core.policy.model import Policy
from softbounce.errors import InvalidPolicy, InvalidSettings
from softbounce.settings import policy_text
from softbounce.store.policies import Revision
from softbounce.telemetry import get_logger
from softbounce.worker.crash_points import reached

log = get_logger()

_TORN = (
    "it is the beginning of the policy in force, as a file is that could not be written to its end. "
    "If you mean it, change any line before its end (a comment will do), or: softbounce policy apply"
)


class PolicyInForce:
    """The last valid policy: the one that is applied in the store, else the file.

    A file that becomes invalid changes nothing, and is logged once.
    """

    def __init__(self, path: Path | None) -> None:
        self._read = self._seen = policy_text(path)
        file = Path(self._seen[1])
        self._path = file if path or file.is_file() else None  # no other file is read in its place
        self.current: Policy = policy_file.load(self._seen[0], file=self._seen[1])
        self.text = self._seen[0]  # of ``current``

    def refresh(self, applied: Revision | None = None, *, asked: bool = False) -> None:
        """Swap the policy if its content has changed; ``asked`` reads and reports it in any case.

        ``applied`` wins over the file, which is then not read. A file may be half written when it
        is looked at, and half a policy can be a valid one that holds every message: a change counts once
        two looks in a row found the same, and the mere beginning of the policy in force is refused.
        """
        try:
            seen = (applied.text, applied.file) if applied else policy_text(self._path)
        except InvalidSettings as error:
            if self._read != (gone := ("", str(error))) or asked:
                self._read = self._seen = gone
                log.error("policy.reload_failed", problems=[str(error)], kept=self.current.revision)  # noqa: TRY400
            return
        is_still, self._seen = seen == self._seen, seen
        if not asked and (seen == self._read or not (applied or is_still)):
            return
        self._read = seen
        text, file = seen
        reached("policy.read")
        try:
            self.current = _load(text, file=file, before="" if applied else self.text)
        except InvalidPolicy as error:
            log.error("policy.reload_failed", problems=error.problems, kept=self.current.revision)  # noqa: TRY400
        else:
            self.text = text
            reached("policy.loaded")
            log.info("policy.loaded", policy_revision=self.current.revision, file=file)


def _load(text: str, *, file: str, before: str) -> Policy:
    policy = policy_file.load(text, file=file)
    if text != before and before.startswith(text):
        raise InvalidPolicy([f"{file}: {_TORN}"])
    return policy
