"""A progress bar for commands: one line, drawn over itself on a terminal, silent elsewhere."""

from typing import TextIO

WIDTH = 30


class ProgressBar:
    """Draws ``done`` of ``total`` on ``stream``; nothing unless that is a terminal."""

    def __init__(self, stream: TextIO, unit: str) -> None:
        self.stream, self.unit = stream, unit
        self.is_shown = stream.isatty()

    def draw(self, done: int, total: int) -> None:
        if self.is_shown:
            filled = WIDTH * done // total if total else WIDTH
            bar = "#" * filled + "-" * (WIDTH - filled)
            self.stream.write(f"\r[{bar}] {done:,} of {total:,} {self.unit}")
            self.stream.flush()

    def end(self) -> None:
        if self.is_shown:
            self.stream.write("\n")
