"""How a command ends: what a user can cause is one line and an exit code, not a traceback.

Exit codes: 1 a notebook failed, 2 something given is wrong or missing, 130 interrupted.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what a user can cause, and an interrupt, inside the block into a line and a code."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        leave(f"error: {_one_line(error)}", 2)
    except KeyboardInterrupt:
        leave("interrupted; the same command goes on from here", 130)


def leave(message: str, code: int) -> NoReturn:
    print(f"cdlib: {message}", file=sys.stderr)
    raise SystemExit(code)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
