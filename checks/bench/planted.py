"""A slower copy of our code, which the guard must notice: batches of 5 instead of hundreds, in the intake and the pump."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from checks.bench.contenders import ROOT

PLACES = ("worker/intake.py", "worker/handover.py")
BATCH = re.compile(r"^BATCH = \d+", re.MULTILINE)


def show() -> int:
    """Measure the copy, print what fell; 0 if the guard has caught it."""
    with tempfile.TemporaryDirectory(prefix="bench-planted-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "config", Path(folder) / "config")
        for name in PLACES:
            path = source / "softbounce" / name
            text, found = BATCH.subn("BATCH = 5", path.read_text(encoding="utf-8"))
            if found != 1:
                raise RuntimeError(f"{name} has changed; plant it anew")
            path.write_text(text, encoding="utf-8")
        words = [sys.executable, "-m", "checks.bench", "--short", "--only", "intake", "due"]
        env = os.environ | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}"}
        ran = subprocess.run(words, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    fell = [line for line in ran.stdout.splitlines() if line.startswith("FELL")]
    print("\n".join(fell) or ran.stdout)
    print(f"a copy that takes 5 at a time: {'caught' if fell and ran.returncode == 1 else 'NOT CAUGHT'}")
    return int(not fell or ran.returncode != 1)
