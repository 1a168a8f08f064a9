"""``python -m softbounce``, the same as ``softbounce``."""

from softbounce.cli.main import run

if __name__ == "__main__":
    run()
