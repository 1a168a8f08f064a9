"""The numbers by which one telephone is known, as ``dialling.toml`` lists them: one of them is its key."""

import re
import tomllib
from importlib.resources import files

from msgspec import Struct


class Plan(Struct, frozen=True):
    """How the numbers of one calling code are dialled today, and how they were or are dialled otherwise."""

    key: re.Pattern[str]
    rules: tuple[tuple[re.Pattern[str], str], ...]

    def today(self, national: str) -> str:
        """Return the national digits of the same telephone as they are dialled today."""
        for pattern, digits in self.rules:
            if found := pattern.fullmatch(national):
                return self.today(found.expand(digits))
        return national


def _read() -> dict[int, Plan]:
    text = files("softbounce.core").joinpath("dialling.toml").read_text(encoding="utf-8")
    return {
        int(code): Plan(
            re.compile(plan["key"]), tuple((re.compile(known), digits) for known, digits in plan["rules"])
        )
        for code, plan in tomllib.loads(text).items()
    }


PLANS = _read()
"""By calling code; a country that is not among them needs no rule."""
