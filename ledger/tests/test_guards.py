"""Only the engine writes the books, and history never changes, whoever tries."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from creditsite.testing import check_deferred
from ledger import models
from ledger.models import CreditTransaction, Entry, Grant, Hold, Wallet
from ledger.services import posting
from ledger.tests.books import (
    START,
    award,
    buy,
    claw_back,
    grant_of,
    header,
    hold,
    new_wallet,
    reverse,
    settle,
    spend,
)

BOOKS = [
    models.Wallet,
    models.Grant,
    models.CreditTransaction,
    models.Entry,
    models.Restoration,
    models.MoneyReturn,
    models.Debt,
    models.DebtEntry,
    models.Hold,
    models.HoldAllocation,
]
HISTORY = [
    models.CreditTransaction,
    models.Entry,
    models.Restoration,
    models.DebtEntry,
    models.MoneyReturn,
]
tables = pytest.mark.parametrize("model", BOOKS, ids=lambda model: model.__name__)
replication = pytest.mark.parametrize("role", ["origin", "replica"])


@pytest.fixture
def wallet(db: None) -> int:
    """A wallet with a row in every table of the books."""
    wallet = new_wallet()
    bought = buy(wallet, 100, 1000)
    usage = spend(wallet, 80)
    claw_back(grant_of(bought), 100, 1000)
    reverse(usage, 10)
    award(wallet, 10)
    hold(wallet, 5)
    check_deferred()  # Of tables with checks pending, TRUNCATE is refused for another reason.
    return wallet


@contextmanager
def refused(message: str) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=message), transaction.atomic():
        yield


def execute(words: list[str], role: str = "origin", writer: str = "") -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
        cursor.execute("SELECT set_config('ledger.writer', %s, true)", [writer])
        cursor.execute(" ".join(words))


class TestTheBooks:
    @tables
    def test_refuse_a_queryset_update(self, wallet: int, model: type[models.Wallet]) -> None:
        assert model._default_manager.exists()
        column = next(field.name for field in model._meta.fields if not field.primary_key)
        value = model._default_manager.values_list(column, flat=True)[0]
        with refused("only the ledger engine writes the books"):
            model._default_manager.update(**{column: value})

    def test_refuse_a_queryset_delete(self, wallet: int) -> None:
        with refused("only the ledger engine writes the books"):
            Entry.objects.all()._raw_delete(using="default")

    def test_refuse_a_save(self, wallet: int) -> None:
        row = Wallet.objects.get(pk=wallet)
        row.award = 1_000_000
        with refused("only the ledger engine writes the books"):
            row.save()

    def test_refuse_an_insert(self, wallet: int) -> None:
        with refused("only the ledger engine writes the books"):
            Grant.objects.create(
                wallet_id=wallet, credit_type="award", amount=1, remaining=1, effective_at=START
            )

    @replication
    @tables
    def test_refuse_update_delete_and_truncate_by_sql(
        self, wallet: int, model: type[models.Wallet], role: str
    ) -> None:
        table, column = model._meta.db_table, "award" if model is Wallet else "wallet_id"
        for statement in (
            ["UPDATE", table, "SET", column, "=", column],
            ["DELETE FROM", table],
            ["TRUNCATE", table, "CASCADE"],
        ):
            with refused("refused: only the ledger engine|refused: what is written"):
                execute(statement, role)

    @replication
    @tables
    def test_refuse_delete_and_truncate_even_to_the_engine(
        self, wallet: int, model: type[models.Wallet], role: str
    ) -> None:
        table = model._meta.db_table
        for statement in (["DELETE FROM", table], ["TRUNCATE", table, "CASCADE"]):
            with refused("what is written there never changes"):
                execute(statement, role, "engine")

    @replication
    @pytest.mark.parametrize("model", HISTORY, ids=lambda model: model.__name__)
    def test_refuse_a_change_of_history_even_to_the_engine(
        self, wallet: int, model: type[models.Wallet], role: str
    ) -> None:
        with refused("what is written there never changes"):
            column = "amount_minor" if model is models.MoneyReturn else "amount"
            execute(
                ["UPDATE", model._meta.db_table, f"SET {column} = {column} + 1"], role, "engine"
            )

    def test_leave_no_mark_behind_when_the_engine_has_written(self, wallet: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('ledger.writer', true)")
            assert cursor.fetchone()[0] in (None, "")

    @pytest.mark.parametrize(
        ("table", "change"),
        [
            ("wallet", "award = -1"),
            ("wallet", "held = 1000"),
            ("wallet", "debt = -1"),
            ("wallet", "status = 'sleeping'"),
            ("grant", "remaining = amount + 1"),
            ("grant", "held = remaining + 1"),
            ("grant", "clawed = clawback_target + 1"),
            ("grant", "pending = remaining + 1"),
            ("grant", "returned_minor = paid_minor + 1"),
            ("grant", "expires_at = effective_at"),
            ("hold", "released = 1"),
            ("holdallocation", "pinned = amount + 1"),
            ("debt", "outstanding = amount + 1"),
        ],
    )
    def test_refuse_what_cannot_be_true_even_to_the_engine(
        self, wallet: int, table: str, change: str
    ) -> None:
        with refused("violates check|ledger_"):
            execute(["UPDATE", f"ledger_{table}", "SET", change], writer="engine")


class TestEraseText:
    words = {"reference_id": "ref", "description": "for Bob", "project": "p", "metadata": {"a": 1}}

    @pytest.fixture
    def erased(self, db: None) -> CreditTransaction:
        wallet = new_wallet()
        award(wallet, 10)
        paid = posting.draw(payers=[wallet], amount=1, header=header("usage", **self.words))
        posting.place_hold(
            payers=[wallet],
            amount=1,
            expires_at=timezone.now(),
            header=header("usage", **self.words),
        )
        self.digest = CreditTransaction.objects.get(pk=paid.transaction_id).text_digest
        assert posting.erase_text(wallet=wallet, at=START) == 1
        return CreditTransaction.objects.get(pk=paid.transaction_id)

    def test_empties_every_word_and_the_salt(self, erased: CreditTransaction) -> None:
        for row in (erased, Hold.objects.get(wallet=erased.wallet_id)):
            assert [row.reference_id, row.description, row.project] == ["", "", ""]
            assert row.metadata is None
            assert row.erased_at == START
        assert erased.text_salt is None

    def test_leaves_the_digest(self, erased: CreditTransaction) -> None:
        assert erased.text_digest is not None
        assert erased.text_digest == self.digest

    def test_happens_once(self, erased: CreditTransaction) -> None:
        assert posting.erase_text(wallet=erased.wallet_id, at=START) == 0
        with refused("what is written there never changes"):
            execute(["UPDATE ledger_credittransaction SET description = 'back'"], writer="engine")

    def test_takes_nothing_else_along(self, wallet: int) -> None:
        with refused("what is written there never changes"):
            execute(
                ["UPDATE ledger_credittransaction SET erased_at = now(), amount = amount + 1"],
                writer="engine",
            )

    def test_is_covered_by_a_digest_of_the_words_and_the_salt(self, db: None) -> None:
        wallet = new_wallet()
        posted = award(wallet, 10)
        spoken = posting.draw(payers=[wallet], amount=1, header=header("usage", **self.words))
        with connection.cursor() as cursor:
            cursor.execute(
                """SELECT text_digest = ledger_text_digest(text_salt, reference_id, description,
                                                           project, metadata)
                   FROM ledger_credittransaction WHERE id = %s""",
                [spoken.transaction_id],
            )
            assert cursor.fetchone() == (True,)
        assert CreditTransaction.objects.get(pk=posted.transaction_id).text_digest is None

    def test_is_not_undone_by_the_capture_of_a_hold(self, db: None) -> None:
        wallet = new_wallet()
        award(wallet, 10)
        job = posting.place_hold(
            payers=[wallet],
            amount=1,
            expires_at=timezone.now(),
            header=header("usage", **self.words),
        ).hold_id
        posting.erase_text(wallet=wallet, at=START)
        captured = settle(job, None)
        assert CreditTransaction.objects.get(pk=captured.transaction_id).description == ""
