"""All planted bugs, found in the modules of this folder."""

import importlib
import pkgutil

import checks.mutants

from .mutant import Mutant

NO_LISTS = ("mutant", "catalogue", "__main__")


def catalogue() -> list[Mutant]:
    """Return every planted bug of every list, in the order of the lists."""
    names = sorted(one.name for one in pkgutil.iter_modules(checks.mutants.__path__))
    modules = [importlib.import_module(f"checks.mutants.{name}") for name in names if name not in NO_LISTS]
    return [mutant for module in modules for mutant in module.MUTANTS]
