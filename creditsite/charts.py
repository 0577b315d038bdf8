"""
Pictures of figures as SVG, drawn by the server: no script, and what they show is in a table too.

A picture is drawn twice, for a desk and for a phone, and the style sheet shows one of them: so
letters keep their size on both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

DESK, PHONE = 960, 360
HEIGHT = 270
LETTER = 6.9  # The width of one, about, in the units of the view box.
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 26
BAR = 0.72  # Of the room that it has.
WIDEST_BAR = 44
ROW = 28
MOST_DOTS = 62
MOST_TICKS = 5


class Shape(StrEnum):
    BARS = "bars"
    LINE = "line"
    RANKS = "ranks"  # Bars that lie, one below the other, with room for words.


@dataclass(frozen=True, slots=True)
class Series:
    """What one colour shows: a whole number for each label."""

    name: str
    values: Sequence[int]


class Line(NamedTuple):
    x1: float
    y1: float
    x2: float
    y2: float


class Words(NamedTuple):
    x: float
    y: float
    anchor: str
    text: str


class Mark(NamedTuple):
    """A bar, or a dot of no size, in one of six colours, and what it says when pointed at."""

    tone: int
    says: str
    x: float
    y: float
    width: float = 0
    height: float = 0


class Drawing(NamedTuple):
    """What the template writes down, in the units of its view box."""

    width: float
    height: float
    grid: Sequence[Line]
    base: Line
    words: Sequence[Words]
    bars: Sequence[Mark] = ()
    lines: Sequence[tuple[int, str]] = ()
    dots: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """
    Figures to be drawn: as bars, those of a label in one bar or in bars beside each other, or as
    lines.

    ``says`` writes a figure out. The axis counts in ``10 ** digits``, as for minor units of money.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    shape: Shape = Shape.BARS
    is_beside: bool = False
    digits: int = 0
    says: Callable[[int], str] = "{:,}".format

    @property
    def legend(self) -> list[tuple[int, str]]:
        """The colour of each series; nothing where there is one, which the title names."""
        named = [*enumerate((each.name for each in self.series), 1)]
        return named if len(named) > 1 else []

    @property
    def summary(self) -> str:
        """Say what is drawn, to who cannot see it."""
        span = " to ".join(dict.fromkeys([*self.labels[:1], *self.labels[-1:]]))
        parts = [f"{each.name} at most {self.says(max(each.values))}" for each in self.series]
        return f"{span}: {', '.join(parts)}." if self.labels else ""

    @property
    def is_empty(self) -> bool:
        return not any(any(each.values) for each in self.series)

    @property
    def desk(self) -> Drawing:
        return drawing(self, DESK)

    @property
    def phone(self) -> Drawing:
        return drawing(self, PHONE)

    def pointed_at(self, series: Series, index: int) -> str:
        name = f"{series.name}, " if len(self.series) > 1 else ""
        return f"{self.labels[index]}: {name}{self.says(series.values[index])}"


class Axis(NamedTuple):
    """Where figures from ``low`` to ``high`` are between two ends of a drawing."""

    low: int
    high: int
    step: int
    start: float
    end: float

    def place(self, value: int) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self, digits: int) -> list[tuple[float, str]]:
        values = range(self.low, self.high + 1, self.step)
        return [(self.place(value), short(value // 10**digits)) for value in values]


def drawing(picture: Picture, width: float) -> Drawing:
    """Return ``picture`` as it is drawn so wide."""
    return ranks(picture, width) if picture.shape == Shape.RANKS else columns(picture, width)


def columns(picture: Picture, width: float) -> Drawing:
    """Draw bars that stand, or lines."""
    bottom, right = HEIGHT - BOTTOM, width - RIGHT
    axis = axis_of(picture, bottom, TOP)
    band = (right - LEFT) / max(len(picture.labels), 1)
    middles = [round(LEFT + band * (index + 0.5), 1) for index in range(len(picture.labels))]
    every = max(1, -int(-widest(picture.labels) // band))
    thick = round(min(band * BAR, WIDEST_BAR), 1)
    bars, lines, dots = [], [], []
    if picture.shape == Shape.LINE:
        for tone, series in enumerate(picture.series, 1):
            points = [*zip(middles, map(axis.place, series.values), strict=True)]
            lines.append((tone, " ".join(f"{x},{y}" for x, y in points)))
            if len(points) <= MOST_DOTS:
                dots += [
                    Mark(tone, picture.pointed_at(series, index), *point)
                    for index, point in enumerate(points)
                ]
    else:
        for index, tone, says, low, high in parts(picture, axis):
            x, thin = across(picture, tone, middles[index], thick)
            bars.append(Mark(tone, says, x, high, thin, round(low - high, 1)))
    return Drawing(
        width,
        HEIGHT,
        grid=[Line(LEFT, y, right, y) for y, _ in axis.ticks(picture.digits)],
        base=Line(LEFT, axis.place(0), right, axis.place(0)),
        words=[Words(LEFT - 8, y + 4, "end", text) for y, text in axis.ticks(picture.digits)]
        + [
            Words(x, bottom + 18, "middle", text)
            for x, text in [*zip(middles, picture.labels, strict=True)][::every]
        ],
        bars=bars,
        lines=lines,
        dots=dots,
    )


def ranks(picture: Picture, width: float) -> Drawing:
    """Draw bars that lie."""
    longest = int(width * 0.42 / LETTER)
    labels = [cut(label, longest) for label in picture.labels]
    left, right, bottom = widest(labels), width - 3 * RIGHT, TOP + ROW * len(labels)
    axis = axis_of(picture, left, right)
    middles = [TOP + ROW * (index + 0.5) for index in range(len(labels))]
    bars = []
    for index, tone, says, low, high in parts(picture, axis):
        y, thin = across(picture, tone, middles[index], ROW * BAR)
        bars.append(Mark(tone, says, low, y, round(high - low, 1), thin))
    return Drawing(
        width,
        bottom + BOTTOM,
        grid=[Line(x, TOP, x, bottom) for x, _ in axis.ticks(picture.digits)],
        base=Line(axis.place(0), TOP, axis.place(0), bottom),
        words=[Words(x, bottom + 18, "middle", text) for x, text in axis.ticks(picture.digits)]
        + [Words(left - 8, y + 4, "end", label) for y, label in zip(middles, labels, strict=True)],
        bars=bars,
    )


def across(picture: Picture, tone: int, middle: float, thick: float) -> tuple[float, float]:
    """Return where a bar of a colour begins and how thick it is, in the room around ``middle``."""
    if not picture.is_beside:
        return round(middle - thick / 2, 1), round(thick, 1)
    thin = thick / len(picture.series)
    return round(middle - thick / 2 + (tone - 1) * thin, 1), round(thin, 1)


def parts(picture: Picture, axis: Axis) -> Iterator[tuple[int, int, str, float, float]]:
    """
    Yield the parts of each bar: label, colour, what it says, and from where to where it reaches.

    What is below zero hangs from the base by itself.
    """
    for index in range(len(picture.labels)):
        reached = {True: 0, False: 0}
        for tone, series in enumerate(picture.series, 1):
            if value := series.values[index]:
                start = 0 if picture.is_beside else reached[value > 0]
                reached[value > 0] = start + value
                low, high = sorted([start, start + value])
                says = picture.pointed_at(series, index)
                yield index, tone, says, axis.place(low), axis.place(high)


def axis_of(picture: Picture, start: float, end: float) -> Axis:
    """Return the axis on which all of ``picture`` has its place, and zero."""
    by_label = [*zip(*(series.values for series in picture.series), strict=True)]
    if picture.shape == Shape.LINE or picture.is_beside:
        ends = [end for values in by_label for end in values]
    else:
        ends = [sum(v for v in values if v > 0) for values in by_label]
        ends += [sum(v for v in values if v < 0) for values in by_label]
    low, high = min([0, *ends]), max([0, *ends])
    unit = 10**picture.digits
    span = max(high - low, unit)
    step = next(
        factor * unit * 10**power
        for power in range(40)
        for factor in (1, 2, 5)
        if span <= factor * unit * 10**power * (MOST_TICKS - 1)
    )
    low, high = low // step * step, -(-high // step) * step
    return Axis(low, max(high, low + step), step, start, end)


def widest(labels: Sequence[str]) -> float:
    """Return the room that the longest of ``labels`` takes, and some between it and the next."""
    return max([len(label) for label in labels] or [0]) * LETTER + 12


def cut(label: str, longest: int) -> str:
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def short(number: int) -> str:
    """Return a round number as an axis has room for it: 20k, 1.5M."""
    text = f"{number}"
    for size, letter in [(10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")]:
        if abs(number) >= size:
            text = f"{number / size:g}{letter}"
            break
    return text.replace("-", "−")
