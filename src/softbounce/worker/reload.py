"""The policy in force: read at start, and again whenever the file's content changes."""

from pathlib import Path

from softbounce.core import policy_file
from softbounce.core.policy import Policy
from softbounce.errors import InvalidPolicy, InvalidSettings
from softbounce.settings import policy_text
from softbounce.store.policies import Revision
from softbounce.telemetry import get_logger
from softbounce.worker.faults import reached

log = get_logger()


class PolicyInForce:
    """The last valid policy: the one that is applied in the store, else the file.

    What becomes invalid later changes nothing, and says so loudly, once.
    """

    def __init__(self, path: Path | None) -> None:
        self._seen = policy_text(path)
        file = Path(self._seen[1])
        self._path = (
            file if path or file.is_file() else None
        )  # the file we began with: no other steps in for it
        self.current: Policy = policy_file.load(self._seen[0], file=self._seen[1])
        self.text = self._seen[0]  # of ``current``

    def refresh(self, applied: Revision | None = None, *, asked: bool = False) -> None:
        """Swap the policy if its content has changed; ``asked`` reads and reports it in any case.

        ``applied`` goes before the file, which is then not even read.
        """
        try:
            seen = (applied.text, applied.file) if applied else policy_text(self._path)
        except InvalidSettings as error:
            if self._seen != (gone := ("", str(error))) or asked:
                self._seen = gone
                log.error("policy.reload_failed", problems=[str(error)], kept=self.current.revision)  # noqa: TRY400
            return
        if seen == self._seen and not asked:
            return
        self._seen = seen
        text, file = seen
        reached("policy.read")
        try:
            self.current = policy_file.load(text, file=file)
        except InvalidPolicy as error:
            log.error("policy.reload_failed", problems=error.problems, kept=self.current.revision)  # noqa: TRY400
        else:
            self.text = text
            reached("policy.loaded")
            log.info("policy.loaded", policy_revision=self.current.revision, file=file)
