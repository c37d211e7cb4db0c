"""One notebook through papermill, in a process of its own.

A process a notebook gives its memory back at the end. Jupyter puts each kernel in a session of
its own, so that no signal to the study's process group would reach it: the study ends the whole
tree of processes itself, and the notebook's process does so where the study was killed.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Job:
    source: Path
    output: Path  # written after every cell, and last when the notebook ends or fails
    log: Path  # what its processes print past Jupyter, such as why a kernel did not start
    parameters: dict[str, Any]
    folder: Path  # the notebook's working directory


@dataclass(frozen=True)
class CellStarted:
    """`number` counts code cells, as the `In [n]` of the executed copy does."""

    number: int
    first_line: str


@dataclass(frozen=True)
class Printed:
    """A line of the notebook's output; a `passing` one, of a bar, gives way to the next."""

    line: str
    passing: bool


@dataclass(frozen=True)
class Failed:
    reason: str


Event = CellStarted | Printed | Failed


def execute(job: Job) -> Iterator[Event | None]:
    """Run a notebook and tell what happens; None about every half second where nothing does.

    A notebook failed if there is a `Failed`, which then is the last event. To close the iterator
    ends the notebook and all its processes.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="cdlib-", ignore_cleanup_errors=True) as scratch:
        process = context.Process(target=_execute, args=(job, scratch, sender), daemon=True)
        process.start()
        sender.close()
        try:
            while True:
                yield receiver.recv() if receiver.poll(0.5) else None
        except EOFError:
            process.join()
        finally:
            if process.is_alive():
                family = psutil.Process(process.pid).children(recursive=True)
                process.kill()  # first, so that it starts nothing more
                _kill(family)
                process.join()
    if process.exitcode:
        yield Failed(f"the notebook's process ended with {_exit_word(process.exitcode)}")


def _exit_word(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _execute(job: Job, scratch: str, events: Connection) -> None:
    """In the notebook's process."""
    os.setsid()  # a terminal's Ctrl-C is the study's to handle
    _redirect_output(job.log)
    logging.disable()  # the events say it
    threading.Thread(target=_end_with_the_study, args=(scratch,), daemon=True).start()
    _prepare_environment(scratch)

    import papermill  # heavy

    number = 0

    def started(cell: Any, cell_index: int) -> None:
        nonlocal number
        number += 1
        events.send(CellStarted(number, cell.source.strip().split("\n")[0]))

    try:
        papermill.execute_notebook(
            job.source,
            job.output,
            job.parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            cwd=job.folder,
            start_timeout=300,  # seconds; a kernel is slow to come where trainings run beside it
            stdout_file=_Relay(events, bars_only=False),
            stderr_file=_Relay(events, bars_only=True),
            on_cell_execute=started,
            extra_arguments=["--log-level=ERROR"],  # else its warnings fill the log
        )
    except Exception as error:
        events.send(Failed(failure_reason(error)))


def _redirect_output(log: Path) -> None:
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _end_with_the_study(scratch: str) -> None:
    study = multiprocessing.parent_process()
    assert study is not None
    study.join()
    _kill(psutil.Process().children(recursive=True))
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def _prepare_environment(scratch: str) -> None:
    """This interpreter's kernel, and none of the user's Jupyter and IPython settings."""
    kernels = os.path.join(sys.prefix, "share", "jupyter")
    others = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = f"{kernels}{os.pathsep}{others}" if others else kernels
    for place in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "TMPDIR"):
        os.environ[place] = scratch  # what a killed kernel leaves goes with this folder
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning at every start, to the log


def failure_reason(error: Exception) -> str:
    """One line for whatever papermill raises; a cell's error, a dead kernel and a timeout come as
    three unrelated exceptions."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    match error:
        case PapermillExecutionError():
            text = f"{error.ename}: {error.evalue}"
        case DeadKernelError():
            text = "the kernel died: memory ran out, or compiled code crashed"
        case CellTimeoutError():
            text = f"timeout: {error}"
        case _:
            text = f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= 500 else f"{text[:500]}..."


class _Relay:
    """A file for papermill to write a stream to: sends the stream's lines on.

    Bars come as lines that begin with a carriage return, on standard error; what else is there,
    warnings mostly, is left to the executed copy.
    """

    def __init__(self, events: Connection, *, bars_only: bool) -> None:
        self.events = events
        self.bars_only = bars_only
        self.rest = ""

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            if "\r" in line or not self.bars_only:
                self._send(line, passing=False)
        if "\r" in self.rest:
            self._send(self.rest, passing=True)
            self.rest = "\r" + self.rest.rpartition("\r")[2]

    def flush(self) -> None:
        pass

    def _send(self, line: str, *, passing: bool) -> None:
        shown = line.rstrip("\r").rpartition("\r")[2].rstrip()
        if shown:
            self.events.send(Printed(shown, passing))
