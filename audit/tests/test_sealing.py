import os
import time
from datetime import timedelta

import psycopg
import pytest

from audit import checkpoints
from audit import sealing as sealer
from audit.checkpoints import BadKeyFile, last_of, make_key
from audit.models import AuditEvent, AuditSeal, Checkpoint, SealedRange, UnsealedEvent
from audit.sealing import SealingRefused, seal
from audit.tests.seals import (
    AT,
    breaks,
    checked,
    events,
    execute,
    seal_numbers,
    superuser,
)
from audit.tests.seals import tear_off_seals as roll_back_to
from creditsite.testing import race
from creditsite.testing.commands import database_url
from ledger.tests import books

MINUTE = timedelta(minutes=1)


@pytest.mark.django_db
class TestSeal:
    def test_numbers_and_chains_every_event(self, sealing):
        made = events(3)
        assert seal(at=AT).events == 3
        seals = AuditSeal.objects.order_by("number")
        assert [s.event_id for s in seals] == [event.pk for event in made]
        assert seal_numbers() == [1, 2, 3]
        assert bytes(seals[0].previous_hash) == bytes(32)
        assert [bytes(s.previous_hash) for s in seals[1:]] == [bytes(s.hash) for s in seals[:2]]
        assert not UnsealedEvent.objects.exists()

    def test_goes_on_where_it_ended(self, sealing):
        events(2)
        seal(at=AT)
        events(2)
        sealed = seal(at=AT + MINUTE)
        assert (sealed.events, sealed.head.number) == (2, 4)
        assert seal_numbers() == [1, 2, 3, 4]
        assert breaks(sealing) == []

    def test_seals_more_than_fit_in_one_statement(self, sealing, monkeypatch):
        monkeypatch.setattr(sealer, "EVENTS_AT_A_TIME", 3)
        events(8)
        assert seal(at=AT).events == 8
        assert seal_numbers() == list(range(1, 9))
        assert breaks(sealing) == []

    def test_signs_nothing_where_there_is_nothing_to_seal(self, sealing):
        assert seal(at=AT).head is None
        assert not Checkpoint.objects.exists()
        assert not (sealing / "checkpoints.jsonl").exists()

    def test_appends_the_signed_head_elsewhere(self, sealing):
        events(2)
        head = seal(at=AT).head
        assert last_of(sealing / "checkpoints.jsonl") == head
        assert head.signers() == set(checkpoints.Signer(sealing / "key.pem").keys)

    def test_hashes_as_it_always_did(self, sealing):
        AuditEvent.objects.create(
            pk=1,
            at=AT,
            action="ledger.price.added",
            actor_id=5,
            actor_label="ada",
            on_behalf_of_id=6,
            on_behalf_of_label="bob",
            target_type="ledger.feature",
            target_id="9",
            target_label="report",
            before={"price": 1},
            after={"price": 2},
            reason="a new price",
            request_id="r1",
            address="192.0.2.7",
            approval_id=3,
            text_salt="00000000-0000-4000-8000-000000000001",
        )
        assert seal(at=AT).head.hash.hex() == HASH_OF_EXAMPLE

    def test_leaves_a_row_that_was_sealed_already(self, sealing):
        (event,) = events(1)
        seal(at=AT)
        execute("INSERT INTO audit_unsealedevent VALUES (%s)", event.pk)
        assert seal(at=AT).events == 0


@pytest.mark.django_db
class TestAfterACrash:
    def test_appends_what_was_committed_and_not_yet_appended(self, sealing, settings):
        events(1)
        seal(at=AT)
        settings.AUDIT_CHECKPOINT_FILE = str(sealing / "away" / "checkpoints.jsonl")
        (sealing / "away").write_text("no directory")
        events(1)
        with pytest.raises(OSError, match="away"):
            seal(at=AT + MINUTE)
        assert Checkpoint.objects.count() == 2
        assert breaks(sealing) == []
        settings.AUDIT_CHECKPOINT_FILE = str(sealing / "checkpoints.jsonl")
        assert seal(at=AT + MINUTE).events == 0
        heads = list(checkpoints.read(sealing / "checkpoints.jsonl"))
        assert [head.number for head in heads] == [1, 2]
        assert breaks(sealing) == []

    def test_repeats_a_line_that_was_cut(self, sealing):
        file = sealing / "checkpoints.jsonl"
        events(1)
        seal(at=AT)
        events(1)
        seal(at=AT + MINUTE)
        os.truncate(file, file.stat().st_size - 20)
        assert last_of(file).number == 1
        assert breaks(sealing) == []
        seal(at=AT + MINUTE)
        assert [head.number for head in checkpoints.read(file)] == [1, 2]
        assert breaks(sealing) == []

    def test_refuses_to_go_on_when_the_database_was_rolled_back(self, sealing):
        events(2)
        seal(at=AT)
        roll_back_to(0)
        with pytest.raises(SealingRefused, match="Record 2 was signed"):
            seal(at=AT)
        assert not AuditSeal.objects.exists()

    def test_refuses_to_go_on_when_the_chain_is_another(self, sealing):
        events(2)
        seal(at=AT)
        line = (sealing / "checkpoints.jsonl").read_text()
        roll_back_to(0)
        (sealing / "checkpoints.jsonl").unlink()
        seal(at=AT + MINUTE)
        (sealing / "checkpoints.jsonl").write_text(line)
        with pytest.raises(SealingRefused, match="rolled back or rewritten"):
            seal(at=AT)


@pytest.mark.django_db
class TestKeys:
    def test_are_made_by_a_demo(self, sealing):
        (sealing / "key.pem").unlink()
        events(1)
        assert seal(at=AT).head.signers()
        assert (sealing / "key.pem").stat().st_mode & 0o777 == 0o600

    def test_are_not_made_in_production(self, sealing, settings):
        settings.DEMO = False
        (sealing / "key.pem").unlink()
        events(1)
        with pytest.raises(BadKeyFile):
            seal(at=AT)
        settings.AUDIT_SIGNING_KEY_FILE = ""
        with pytest.raises(BadKeyFile, match="not set"):
            seal(at=AT)
        assert UnsealedEvent.objects.count() == 1

    def test_are_never_overwritten(self, sealing):
        before = (sealing / "key.pem").read_bytes()
        make_key(sealing / "key.pem")
        assert (sealing / "key.pem").read_bytes() == before
        assert [each.name for each in sealing.iterdir()] == ["key.pem"]

    @pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\n"])
    def test_must_be_keys(self, sealing, content):
        (sealing / "key.pem").write_bytes(content)
        with pytest.raises(BadKeyFile):
            seal(at=AT)


@pytest.mark.django_db
class TestLedger:
    def test_is_sealed_by_wallet_and_number(self, sealing):
        first, second = books.new_wallets(2)
        books.award(first, 10)
        books.award(first, 10)
        books.award(second, 10)
        sealed = seal(at=AT)
        assert (sealed.rows, sealed.head.number) == (3, 1)
        ranges = SealedRange.objects.order_by("stream_id")
        assert [(r.stream_id, r.first, r.last, len(r.digests)) for r in ranges] == [
            (first, 1, 2, 64),
            (second, 1, 1, 32),
        ]
        assert breaks(sealing, ledger=True) == []

    def test_goes_on_where_each_wallet_ended(self, sealing):
        first, second = books.new_wallets(2)
        books.award(first, 10)
        seal(at=AT)
        books.award(first, 10)
        books.award(second, 10)
        assert seal(at=AT).rows == 2
        assert checked(sealing, ledger=True).rows == 3

    def test_is_sealed_once_a_minute_by_the_worker(self, sealing):
        wallet = books.new_wallet()
        books.award(wallet, 10)
        assert seal(at=AT, due_only=True).rows == 1
        books.award(wallet, 10)
        assert seal(at=AT + MINUTE / 2, due_only=True).rows == 0
        assert seal(at=AT + MINUTE, due_only=True).rows == 1

    def test_asks_only_wallets_that_moved_but_all_of_them_once_an_hour(self, sealing):
        old, new = books.new_wallets(2)
        seen = books.award(old, 10)
        seal(at=AT)
        late = books.award(old, 10)
        # As if it had been written, and not committed, long ago.
        for posted, milliseconds in [(seen, 1), (late, 2)]:
            moved = f"00000000-000{milliseconds}" + str(posted.transaction_id)[13:]
            renumber(posted.transaction_id, moved)
        books.award(new, 10)
        assert seal(at=AT + MINUTE, due_only=True).rows == 1
        assert seal(at=AT + 60 * MINUTE, due_only=True).rows == 1

    def test_takes_a_large_wallet_in_parts(self, sealing, monkeypatch):
        monkeypatch.setattr(sealer, "ROWS_AT_A_TIME", 4)
        monkeypatch.setattr(sealer, "STREAMS_AT_A_TIME", 2)
        wallets = books.new_wallets(3)
        for wallet, number in zip(wallets, [3, 6, 1], strict=True):
            for _ in range(number):
                books.award(wallet, 10)
        assert seal(at=AT).rows == 10
        assert [s.source for s in AuditSeal.objects.all()] == ["ledger"] * 3
        assert breaks(sealing, ledger=True) == []
        assert checked(sealing, ledger=True).rows == 10

    @pytest.mark.breaks_the_books
    def test_refuses_a_wallet_with_a_gap(self, sealing):
        wallet = books.new_wallet()
        books.award(wallet, 10)
        books.award(wallet, 10)
        with superuser("ledger_entry", "ledger_credittransaction"):
            execute("DELETE FROM ledger_entry")
            execute("DELETE FROM ledger_credittransaction WHERE number = 1")
            with pytest.raises(SealingRefused, match="number 1 is missing"):
                seal(at=AT)


def renumber(old: object, new: str) -> None:
    """Give a transaction another key, and its lines with it."""
    with superuser("ledger_entry", "ledger_credittransaction"):
        execute("SET CONSTRAINTS ALL DEFERRED")
        execute("UPDATE ledger_credittransaction SET id = %s WHERE id = %s", new, old)
        execute("UPDATE ledger_entry SET transaction_id = %s WHERE transaction_id = %s", new, old)


class TestWriters:
    def test_that_commit_late_are_sealed_late_and_once(self, ledger_db, sealing):
        events(1)
        with psycopg.connect(database_url()) as late:
            (early_id,) = late.execute(INSERT).fetchone()
            (event,) = events(1)
            assert event.pk > early_id
            assert seal(at=AT).events == 2
            late.commit()
        assert seal(at=AT).events == 1
        assert seal(at=AT).events == 0
        assert AuditSeal.objects.get(number=3).event_id == early_id
        assert breaks(sealing) == []

    def test_that_roll_back_leave_no_gap(self, ledger_db, sealing):
        events(1)
        with psycopg.connect(database_url()) as other:
            other.execute(INSERT)
            other.rollback()
        events(1)
        assert seal(at=AT).head.number == 2

    def test_wait_for_no_sealer(self, ledger_db, sealing):
        events(1)
        with psycopg.connect(database_url()) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [sealer.LOCK])
            assert seal(at=AT) is None
            events(1)
        assert seal(at=AT).events == 2

    def test_and_two_sealers_at_once_make_one_chain(self, ledger_db, sealing):
        writers, each, ended = 32, 30, []

        def write():
            for seals in range(3):
                events(each // 3)
                while Checkpoint.objects.count() <= seals:
                    time.sleep(0.01)
            ended.append(1)

        def keep_sealing():
            while len(ended) < writers:
                seal(at=AT)

        assert set(race(*[write] * writers, keep_sealing, keep_sealing)) == {"NoneType"}
        seal(at=AT)
        assert seal_numbers() == list(range(1, writers * each + 1))
        assert AuditEvent.objects.filter(seal__isnull=False).count() == writers * each
        assert Checkpoint.objects.count() > 2
        assert breaks(sealing) == []


INSERT = """
    INSERT INTO audit_auditevent (at, action, actor_label, on_behalf_of_label, target_type,
        target_id, target_label, reason, request_id)
    VALUES (now(), 'accounts.user.activated', 'x', '', 'auth.group', '1', 'x', '', '') RETURNING id
"""
HASH_OF_EXAMPLE = "7c33976ea7f82b1e46848394e84cf11e499f62ff38817bd827e28ad5546f235f"
