"""How everything is timed: forms in turn, each part in a process of its own."""

import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch

from cdlib.fast.memory import keep_freed_memory

# One server imports the libraries, and every process is forked from it. Elsewhere than on Linux
# a fork may break system libraries.
_processes = get_context("forkserver" if sys.platform == "linux" else "spawn")
_processes.set_forkserver_preload(["cdlib.bench"])


@dataclass(frozen=True)
class Options:
    """Images of `size` pixels, nets of `width` (Table 1's is 1), steps of `batch` images."""

    size: int
    width: float
    batch: int
    repeats: int
    threads: int

    @property
    def clock(self) -> Callable[[], float]:
        """Processor time with one thread: others on the machine hardly disturb it."""
        return time.process_time if self.threads == 1 else time.perf_counter

    def as_dict(self) -> dict[str, Any]:
        clock = "processor time" if self.threads == 1 else "wall clock"
        return asdict(self) | {"clock": clock}


def interleaved(forms: dict[str, Callable[[], object]], options: Options) -> dict[str, list[float]]:
    """Seconds of each call, by form: one round that does not count, then `repeats` rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(1 + options.repeats):
        for name, call in forms.items():
            began = options.clock()
            call()
            seconds[name].append(options.clock() - began)
    return {name: values[1:] for name, values in seconds.items()}


def paired_ratio(above: list[float], below: list[float]) -> float:
    """Median of above / below, round by round."""
    return median(a / b for a, b in zip(above, below, strict=True))


def peak_memory() -> int:
    """The most memory that this process has held, in bytes.

    On Linux its own record: `getrusage` counts what the parent held, too.
    """
    try:
        status = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status)[1])


def in_own_process(
    options: Options, function: Callable[..., Any], *arguments: Any
) -> tuple[Any, float]:
    """`function(options, *arguments)` in a new process: its result, and the peak memory in MB.

    Raises:
        ChildProcessError: the process died.
        Exception: whatever `function` raised.
    """
    reader, writer = _processes.Pipe(duplex=False)
    call = (writer, options, function, arguments)
    process = _processes.Process(target=_answer, args=call, daemon=True)
    process.start()
    writer.close()  # the process's own is left, and its end is the end of the pipe
    try:
        answer = reader.recv()
    except EOFError:
        process.join()
        raise ChildProcessError(
            f"{function.__module__}: the measurement died (exit code {process.exitcode}); "
            "if memory ran out, give a smaller --batch or --size"
        ) from None
    finally:
        process.kill()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _answer(
    writer: Connection, options: Options, function: Callable[..., Any], arguments: tuple
) -> None:
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    keep_freed_memory()
    try:
        writer.send((function(options, *arguments), peak_memory() / 1e6))
    except Exception as error:
        writer.send(error)
