"""A bug put here on purpose: the fuzzer must find it, or it finds nothing."""


def planted(raw: bytes) -> str:
    """Fail on input that random bytes do not hit; only who watches the branches gets there."""
    for place, wanted in enumerate(b'{"z":'):
        if len(raw) <= place or raw[place] != wanted:
            return "missed"
    message = "the planted bug"
    raise RuntimeError(message)
