"""What was measured, and whether it reaches what was promised."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure, and the bound that it is to keep, if it is to keep one."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    digits: int = 2

    @property
    def is_reached(self) -> bool | None:
        if self.at_least is None and self.at_most is None:
            return None
        value = round(self.value, self.digits)
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def row(self) -> list[str]:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else ""
        bound = f"≤ {self.at_most:g}" if self.at_most is not None else bound
        verdict = {None: "", True: "reached", False: "**missed**"}[self.is_reached]
        return [self.name, f"{self.value:,.{self.digits}f}", bound, verdict, self.note]

    def facts(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": self.value,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "reached": self.is_reached,
            "note": self.note,
        }


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up."""
    cells = [list(headings), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def figures_table(figures: Iterable[Figure]) -> str:
    return table(["figure", "measured", "target", "", "of"], (figure.row() for figure in figures))
