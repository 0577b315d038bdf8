"""The money rule: in Python and in SQL, and what it never does."""

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money_rule import deferred_minor, recognised_minor, released_minor


@st.composite
def figures(draw: st.DrawFn) -> dict[str, int]:
    amount = draw(st.integers(1, 1_000_000_000))
    paid_minor = draw(st.integers(0, 10**12))
    return {
        "amount": amount,
        "consumed": draw(st.integers(0, amount)),
        "paid_minor": paid_minor,
        "returned_minor": draw(st.integers(0, paid_minor)),
    }


class TestRecognisedMinor:
    def test_is_the_share_of_the_credits_consumed(self) -> None:
        figures = {"paid_minor": 1000, "returned_minor": 0, "amount": 3}
        assert [recognised_minor(**figures, consumed=n) for n in range(4)] == [0, 333, 666, 1000]

    def test_is_never_more_than_was_kept(self) -> None:
        assert recognised_minor(paid_minor=1000, returned_minor=500, consumed=80, amount=100) == 500

    def test_is_nothing_when_all_was_carried_over(self) -> None:
        assert recognised_minor(paid_minor=0, returned_minor=0, consumed=0, amount=0) == 0

    @given(figures=figures())
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @pytest.mark.django_db
    def test_is_what_the_engine_says(self, figures: dict[str, int]) -> None:
        names = ("paid_minor", "returned_minor", "consumed", "amount")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT ledger_recognised(%s, %s, %s, %s)", [figures[name] for name in names]
            )
            assert cursor.fetchone() == (recognised_minor(**figures),)


class TestDeferredMinor:
    @given(figures=figures())
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    def test_and_recognised_are_what_was_paid_and_not_returned(
        self, figures: dict[str, int]
    ) -> None:
        kept = figures["paid_minor"] - figures["returned_minor"]
        assert recognised_minor(**figures) + deferred_minor(**figures) == kept
        assert deferred_minor(**figures) >= 0

    def test_is_nothing_once_the_last_credit_is_consumed(self) -> None:
        assert deferred_minor(paid_minor=1000, returned_minor=0, consumed=3, amount=3) == 0


class TestReleasedMinor:
    figures = {"paid_minor": 1000, "returned_minor": 0, "consumed": 10, "amount": 30}

    def test_is_the_share_of_what_staff_took(self) -> None:
        assert released_minor(**self.figures, remaining=15, taken=5) == 166
        assert deferred_minor(**self.figures, remaining=15, taken=5) == 1000 - 333 - 166

    def test_is_all_that_is_not_recognised_when_nothing_is_left(self) -> None:
        assert released_minor(**self.figures, remaining=0, taken=20) == 667
        assert deferred_minor(**self.figures, remaining=0, taken=20) == 0

    def test_is_nothing_while_staff_took_nothing(self) -> None:
        assert released_minor(**self.figures, remaining=20, taken=0) == 0
