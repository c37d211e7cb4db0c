"""What a person sees of a running notebook: a live line in a terminal, else lines at intervals."""

import time
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

INTERVAL = 30.0  # seconds between lines where there is no terminal


def clock(seconds: float) -> str:
    """75 -> `1:15`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Display:
    """Of one notebook: cell k of n, the time it has taken, and what it last printed."""

    def __init__(self, console: Console, name: str, cells: int) -> None:
        self.console = console
        self.name = name
        self.cells = cells
        self.cell = 0
        self.passing = ""
        self.began = self.last_line = time.monotonic()
        self.live = Live(
            console=console, get_renderable=self._status, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        else:
            self.print(f"{self.name}: started")
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def print(self, line: str) -> None:
        self.passing = ""
        self.last_line = time.monotonic()
        self.console.print(Text(line), soft_wrap=True)

    def tick(self) -> None:
        """A line now and then where nothing is live."""
        if not self.console.is_terminal and time.monotonic() - self.last_line > INTERVAL:
            self.print(self._status().plain.replace("\n", "").rstrip())

    def _status(self) -> Text:
        state = f"{self.name}  cell {self.cell}/{self.cells}  {clock(self.seconds)}"
        # A line of its own, so that a bar's rate and time left are not cut off.
        return Text(f"{state}\n  {self.passing}", no_wrap=True, overflow="ellipsis")
