from itertools import pairwise

import pytest

from creditsite.charts import DESK, HEIGHT, PHONE, Picture, Series, Shape, axis_of, drawing, short


def picture(*values, shape=Shape.BARS, labels=None, **more):
    series = [Series(f"series {number}", each) for number, each in enumerate(values, 1)]
    labels = labels or [f"label {number}" for number in range(len(values[0]))]
    return Picture(title="A picture", labels=labels, series=series, shape=shape, **more)


def inside(drawn):
    """Say whether every bar lies within the drawing."""
    return all(
        0 <= bar.x <= bar.x + bar.width <= drawn.width
        and 0 <= bar.y <= bar.y + bar.height <= drawn.height
        for bar in drawn.bars
    )


class TestAxis:
    @pytest.mark.parametrize(
        ("values", "low", "high", "step"),
        [
            ([0], 0, 1, 1),
            ([3], 0, 3, 1),
            ([7], 0, 8, 2),
            ([100], 0, 100, 50),
            ([101], 0, 150, 50),
            ([-30, 70], -50, 100, 50),
            ([-7], -8, 0, 2),
            ([10**15], 0, 10**15, 5 * 10**14),
        ],
    )
    def test_holds_all_figures_and_zero_in_round_steps(self, values, low, high, step):
        axis = axis_of(picture(values), 0, 100)
        assert (axis.low, axis.high, axis.step) == (low, high, step)
        assert len(axis.ticks(0)) <= 6

    def test_counts_whole_units_of_money_and_not_its_parts(self):
        axis = axis_of(picture([150], digits=2), 0, 100)
        assert [label for _, label in axis.ticks(2)] == ["0", "1", "2"]

    def test_has_the_sum_of_what_stands_on_each_other(self):
        assert axis_of(picture([60], [60]), 0, 100).high >= 120
        assert axis_of(picture([60], [60], shape=Shape.LINE), 0, 100).high < 120


class TestDrawing:
    @pytest.mark.parametrize("shape", [Shape.BARS, Shape.RANKS])
    @pytest.mark.parametrize("width", [DESK, PHONE])
    def test_bars_are_as_long_as_their_figures(self, shape, width):
        drawn = drawing(picture([10, 20, 0, -10], shape=shape), width)
        long = [bar.height if shape == Shape.BARS else bar.width for bar in drawn.bars]
        assert long == pytest.approx([long[0], 2 * long[0], long[0]], abs=0.25)
        assert inside(drawn)

    @pytest.mark.parametrize("shape", [Shape.BARS, Shape.RANKS])
    def test_parts_of_a_bar_follow_each_other(self, shape):
        first, second = drawing(picture([10], [30], shape=shape), DESK).bars
        assert (first.tone, second.tone) == (1, 2)
        if shape == Shape.BARS:
            assert second.y + second.height == pytest.approx(first.y, abs=0.2)
        else:
            assert first.x + first.width == pytest.approx(second.x, abs=0.2)

    @pytest.mark.parametrize("shape", [Shape.BARS, Shape.RANKS])
    def test_bars_beside_each_other_begin_at_the_base_and_share_the_room(self, shape):
        first, second = drawing(picture([20], [30], shape=shape, is_beside=True), DESK).bars
        [whole] = drawing(picture([20], shape=shape), DESK).bars
        if shape == Shape.BARS:
            assert first.y + first.height == pytest.approx(second.y + second.height, abs=0.2)
            assert (first.x, first.width) == pytest.approx((whole.x, whole.width / 2), abs=0.2)
            assert second.x == pytest.approx(first.x + first.width, abs=0.2)
        else:
            assert first.x == pytest.approx(second.x, abs=0.2)
            assert (first.y, first.height) == pytest.approx((whole.y, whole.height / 2), abs=0.2)

    def test_what_is_below_zero_hangs_from_the_base(self):
        drawn = drawing(picture([10], [-10]), DESK)
        above, below = drawn.bars
        assert above.y + above.height == pytest.approx(drawn.base.y1, abs=0.2)
        assert below.y == pytest.approx(drawn.base.y1, abs=0.2)

    def test_a_line_goes_through_its_figures(self):
        drawn = drawing(picture([0, 50, 100], shape=Shape.LINE), DESK)
        [(tone, points)] = drawn.lines
        ys = [float(point.split(",")[1]) for point in points.split()]
        assert tone == 1
        assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
        assert [dot.y for dot in drawn.dots] == ys

    @pytest.mark.parametrize("width", [DESK, PHONE])
    def test_words_do_not_lie_on_each_other(self, width):
        days = [f"{number} November" for number in range(30)]
        drawn = drawing(picture([1] * 30, labels=days), width)
        places = [words.x for words in drawn.words if "November" in words.text]
        assert len(places) >= 2
        assert min(b - a for a, b in pairwise(places)) > 6 * len(days[-1])

    def test_long_words_are_cut_beside_lying_bars(self):
        drawn = drawing(picture([1], labels=["x" * 200], shape=Shape.RANKS), PHONE)
        assert max(len(words.text) for words in drawn.words) < 25
        assert inside(drawn)

    def test_of_nothing_is_a_drawing(self):
        for shape in Shape:
            assert drawing(picture([], shape=shape, labels=[]), DESK).bars == []


class TestPicture:
    def test_says_what_is_pointed_at(self):
        one = drawing(picture([1500], labels=["July"]), DESK)
        assert [bar.says for bar in one.bars] == ["July: 1,500"]
        two = drawing(picture([1500], [2], labels=["July"], says="{} credits".format), DESK)
        assert [bar.says for bar in two.bars] == [
            "July: series 1, 1500 credits",
            "July: series 2, 2 credits",
        ]

    def test_has_a_legend_if_there_are_colours_to_tell_apart(self):
        assert picture([1]).legend == []
        assert picture([1], [2]).legend == [(1, "series 1"), (2, "series 2")]

    def test_tells_those_who_do_not_see_it(self):
        said = picture([1, 5], labels=["July", "August"]).summary
        assert said == "July to August: series 1 at most 5."

    def test_knows_when_there_is_nothing_to_see(self):
        assert picture([0, 0]).is_empty
        assert not picture([0, -1]).is_empty

    def test_is_as_high_on_a_phone(self):
        assert picture([1]).phone.height == picture([1]).desk.height == HEIGHT


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (1_500, "1.5k"),
        (-20_000, "−20k"),
        (3_000_000, "3M"),
        (5 * 10**9, "5B"),
        (2 * 10**12, "2T"),
    ],
)
def test_round_numbers_are_short(number, text):
    assert short(number) == text
