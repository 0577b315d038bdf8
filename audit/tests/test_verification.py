import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from audit.checkpoints import Signer, make_key, read
from audit.models import AuditEvent, AuditSeal
from audit.sealing import Head, seal, seal_events
from audit.services import erase_text
from audit.tests.seals import (
    AT,
    an_event,
    breaks,
    checked,
    events,
    execute,
    kinds,
    located,
    superuser,
    tamper,
    tear_off_seals,
)
from creditsite.running.environment import ROOT
from creditsite.testing import check_deferred
from ledger.models import CreditTransaction
from ledger.services import posting
from ledger.tests import books

MINUTE = timedelta(minutes=1)
RECORDS = 60

# How byte {i}, counted from 0, of column {c} is flipped, and how many bytes there are.
TEXT = (
    "overlay({c} placing chr(ascii(substr({c}, {i} + 1, 1)) # 1) from {i} + 1 for 1)",
    "length({c})",
)
NUMBER = ("{c} # (128::bigint << 8 * {i})", "8")
SMALL_NUMBER = ("({c}::int # (64 << 8 * {i}))::smallint", "2")
INSTANT = ("{c} + interval '1 microsecond' * (1::bigint << 8 * {i})", "8")
BYTES = ("set_byte({c}, {i}, get_byte({c}, {i}) # 1)", "length({c})")
UUID = (
    "encode(set_byte(uuid_send({c}), {i}, get_byte(uuid_send({c}), {i}) # 1), 'hex')::uuid",
    "16",
)
ADDRESS = ("{c} - (1::bigint << 8 * {i})", "4")
JSON = (  # Letters only: of what else it is made of, a flipped byte is no JSON any more.
    "overlay({c}::text placing chr(ascii(substr({c}::text, {i} + 1, 1)) # 1)"
    " from {i} + 1 for 1)::jsonb",
    "CASE WHEN substr({c}::text, {i} + 1, 1) ~ '[a-z]' THEN length({c}::text) END",
)

EVENT_COLUMNS = {
    "id": NUMBER,
    "at": INSTANT,
    "action": TEXT,
    "actor_id": NUMBER,
    "actor_label": TEXT,
    "on_behalf_of_id": NUMBER,
    "on_behalf_of_label": TEXT,
    "target_type": TEXT,
    "target_id": TEXT,
    "target_label": TEXT,
    "before": JSON,
    "after": JSON,
    "reason": TEXT,
    "request_id": TEXT,
    "address": ADDRESS,
    "approval_id": NUMBER,
    "text_salt": UUID,
}
SEAL_COLUMNS = {
    "number": NUMBER,
    "version": SMALL_NUMBER,
    "source": TEXT,
    "at": INSTANT,
    "event_id": NUMBER,
    "digest": BYTES,
    "previous_hash": BYTES,
    "hash": BYTES,
}


def sixty_records() -> None:
    """Seal records of all shapes: with everything, with nothing that may be missing."""
    someone = Group(pk=3, name="ada")
    for i in range(RECORDS):
        an_event(
            target=Group(pk=i, name=f"user{i}"),
            at=AT + timedelta(seconds=i),
            reason="asked for" if i % 2 else "",
            **(
                {
                    "actor": someone,
                    "on_behalf_of": someone,
                    "before": {"role": "agent"},
                    "after": {"role": "none"},
                    "approval_id": i,
                }
                if i % 3
                else {}
            ),
        )
    with superuser():
        execute(
            "UPDATE audit_auditevent SET request_id = 'r17', address = '192.0.2.7'"
            " WHERE id %% 3 = 1"
        )


@pytest.mark.django_db
class TestAFlippedByte:
    def test_of_an_event_is_found_and_located(self, sealing):
        sixty_records()
        seal(at=AT)
        assert breaks(sealing) == []
        with superuser():
            for column, how in EVENT_COLUMNS.items():
                assert flip_every_byte(sealing, "audit_auditevent", column, *how) >= 20

    def test_of_a_seal_is_found_and_located(self, sealing):
        sixty_records()
        seal(at=AT)
        check_deferred()
        for rule in ["counts_from_1", "seals_one_thing"]:
            execute(f"ALTER TABLE audit_auditseal DROP CONSTRAINT audit_auditseal_{rule}")
        with superuser():
            for column, how in SEAL_COLUMNS.items():
                assert flip_every_byte(sealing, "audit_auditseal", column, *how) >= 100

    @pytest.mark.parametrize(
        ("column", "how"), [("number", NUMBER), ("at", INSTANT), ("hash", BYTES)]
    )
    def test_of_a_checkpoint_is_found(self, sealing, column, how):
        events(2)
        seal(at=AT)
        with superuser():
            for i in range(8):
                with rolled_back():
                    value = how[0].format(c=column, i=i)
                    execute(f"UPDATE audit_checkpoint SET {column} = {value}")  # noqa: S608
                    assert "signature" in kinds(sealing)

    def test_of_the_file_of_checkpoints_is_found(self, sealing):
        for _ in range(2):
            events(1)
            seal(at=AT)
        file = sealing / "checkpoints.jsonl"
        content = file.read_bytes()
        assert all(head.signers() for head in read(file))
        for i in range(content.index(b"\n"), len(content) - 1):  # Without \n it would be cut short.
            file.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
            assert any(isinstance(line, bytes) or not line.signers() for line in read(file))
        assert kinds(sealing) == ["checkpoint"]


@contextmanager
def rolled_back():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def flip_every_byte(sealing, table: str, column: str, value: str, length: str) -> int:
    """Flip byte after byte of a column in every record; each must be reported, and no other."""
    key = "id" if table == "audit_auditevent" else "number"
    numbers = dict(AuditSeal.objects.values_list("event_id" if key == "id" else key, "number"))
    total = 0
    for i in range(32):
        with rolled_back():
            changed = flip(table, key, column, value=value, length=length, i=i)
            if not changed:
                continue
            found = {each.seal for each in breaks(sealing)} - {None}
        if column == "number":
            assert {new for _, new in changed} <= found
        else:
            assert found == {numbers[old] for old, _ in changed}
        total += len(changed)
    return total


def flip(
    table: str, key: str, column: str, *, value: str, length: str, i: int
) -> list[tuple[int, int]]:
    """Flip byte ``i`` where there is one; return the keys of those records, before and after."""
    value, length = (part.format(c=column, i=i) for part in (value, length))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH old AS (SELECT {key} AS key, {value} AS flipped FROM {table}"  # noqa: S608
            f" WHERE {column} IS NOT NULL AND {length} > {i})"
            f" UPDATE {table} AS t SET {column} = old.flipped FROM old WHERE t.{key} = old.key"
            f" RETURNING old.key, t.{key}"
        )
        return cursor.fetchall()


@pytest.mark.django_db
class TestARecord:
    """Ten events, sealed in two runs: seals 1 to 4 and 5 to 10."""

    @pytest.fixture(autouse=True)
    def ten_events(self, sealing):
        self.events = [event.pk for event in events(4)]
        seal(at=AT)
        self.events += [event.pk for event in events(6)]
        seal(at=AT + MINUTE)
        assert checked(sealing).seals == 10
        assert breaks(sealing) == []

    def test_that_is_deleted(self, sealing):
        tamper("DELETE FROM audit_auditevent WHERE id IN (%s, %s)", self.events[2], self.events[9])
        assert located(sealing) == [("deleted", 3), ("deleted", 10)]

    def test_that_is_deleted_with_its_seal(self, sealing):
        tamper("DELETE FROM audit_auditevent WHERE id = %s", self.events[2])
        tamper("DELETE FROM audit_auditseal WHERE number = 3")
        assert located(sealing) == [("missing", 3)]

    def test_that_is_inserted_past_the_trigger(self, sealing):
        with superuser():
            execute(INSERT)
        (found,) = breaks(sealing)
        assert (found.kind, found.event) == ("inserted", AuditEvent.objects.latest("pk").pk)

    def test_that_is_deleted_before_it_was_sealed(self, sealing):
        (event,) = events(1)
        tamper("DELETE FROM audit_auditevent WHERE id = %s", event.pk)
        (found,) = breaks(sealing)
        assert (found.kind, found.event) == ("deleted", event.pk)

    def test_that_is_swapped_with_another(self, sealing):
        first, second = self.events[1], self.events[6]
        tamper("UPDATE audit_auditevent SET id = -1 WHERE id = %s", first)
        tamper("UPDATE audit_auditevent SET id = %s WHERE id = %s", first, second)
        tamper("UPDATE audit_auditevent SET id = %s WHERE id = -1", second)
        assert located(sealing) == [("edited", 2), ("edited", 7)]

    def test_whose_seal_is_swapped_with_another(self, sealing):
        tamper("UPDATE audit_auditseal SET number = 99 WHERE number = 2")
        tamper("UPDATE audit_auditseal SET number = 2 WHERE number = 7")
        tamper("UPDATE audit_auditseal SET number = 7 WHERE number = 99")
        assert located(sealing) == [("edited", 2), ("edited", 7)]

    def test_that_is_edited_and_sealed_anew(self, sealing):
        reseal_edited(3, self.events[2])
        assert located(sealing) == [("edited", 4)]

    def test_at_the_end_that_is_edited_and_sealed_anew(self, sealing):
        reseal_edited(10, self.events[9])
        assert located(sealing) == [("rewritten", 10)]

    def test_that_is_sealed_and_not_signed(self, sealing):
        events(1)
        seal(at=AT + MINUTE)
        (sealing / "checkpoints.jsonl").unlink()
        tamper("DELETE FROM audit_checkpoint WHERE number = 11")
        assert ("unsigned", 11) in located(sealing)

    def test_whose_text_is_gone_without_an_erasure(self, sealing):
        tamper(
            "UPDATE audit_auditevent SET actor_label = '', target_label = '', reason = '',"
            " text_salt = NULL, erased_at = now() WHERE id = %s",
            self.events[4],
        )
        (found,) = breaks(sealing)
        assert (found.seal, found.says) == (
            5,
            f"record 5 (event {self.events[4]}) lost its text, and no erasure says so",
        )

    def test_that_waits_for_its_seal_is_named_and_no_break(self, sealing):
        (event,) = events(1)
        report = checked(sealing)
        assert (report.unsealed, report.breaks) == ([event.pk], [])


def reseal_edited(number: int, event: int) -> None:
    """Edit an event and make its seal anew, as who can write all tables does."""
    before = AuditSeal.objects.get(number=number)
    tamper("UPDATE audit_auditevent SET reason = 'better' WHERE id = %s", event)
    with superuser():
        execute("DELETE FROM audit_auditseal WHERE number = %s", number)
        execute("INSERT INTO audit_unsealedevent VALUES (%s)", event)
        seal_events(Head(number - 1, bytes(before.previous_hash)), at=before.at)


@pytest.mark.django_db
class TestTheEnd:
    def test_that_is_cut_off_is_missed(self, sealing):
        events(4)
        seal(at=AT)
        events(3)
        seal(at=AT)
        state = checked(sealing).state
        tear_off_seals(after=4)
        assert located(sealing) == [("behind", 5)]
        assert located(sealing, file=None, state=state) == [("behind", 5)]
        assert located(sealing, file=None) == []  # Nothing outside of the database to tell by.

    def test_of_a_restored_backup_that_went_on_is_another(self, sealing):
        events(4)
        seal(at=AT)
        events(3)
        seal(at=AT)
        file = sealing / "checkpoints.jsonl"
        kept = file.read_bytes()
        state = checked(sealing).state
        tear_off_seals(after=4)
        file.unlink()
        events(2)
        seal(at=AT + MINUTE)
        assert located(sealing) == []
        assert located(sealing, state=state) == [("rewritten", 7)]
        file.write_bytes(kept)
        assert ("rewritten", 7) in located(sealing)


@pytest.mark.django_db
class TestAChainRewrittenByASuperuser:
    @pytest.fixture(autouse=True)
    def rewritten(self, sealing, settings):
        events(5)
        seal(at=AT)
        self.report = checked(sealing)
        assert self.report.is_sound
        self.kept = (sealing / "checkpoints.jsonl").read_bytes()
        tamper("UPDATE audit_auditevent SET reason = 'better'")
        tear_off_seals()
        settings.AUDIT_SIGNING_KEY_FILE = str(sealing / "theirs.pem")
        make_key(sealing / "theirs.pem")
        (sealing / "checkpoints.jsonl").unlink()
        seal(at=AT)

    def test_is_found_by_the_checkpoints_elsewhere(self, sealing):
        (sealing / "checkpoints.jsonl").write_bytes(self.kept)
        assert sorted(located(sealing)) == [("rewritten", 5), ("signature", 5)]

    def test_is_found_by_what_was_seen_before(self, sealing):
        assert ("rewritten", 5) in located(sealing, state=self.report.state)

    def test_is_found_by_the_public_key(self, sealing):
        assert located(sealing, public_keys=self.report.state.keys) == [("signature", 5)]

    def test_is_found_when_more_was_sealed_since(self, sealing):
        events(1)
        seal(at=AT)
        assert ("signature", 6) in located(sealing, public_keys=self.report.state.keys)


@pytest.mark.django_db
class TestAnotherKey:
    def test_is_trusted_that_the_old_one_signed_with(self, sealing, settings):
        events(1)
        seal(at=AT)
        old = checked(sealing).state
        new = Path(settings.AUDIT_SIGNING_KEY_FILE).with_name("new.pem")
        make_key(new)
        both = sealing / "both.pem"
        both.write_bytes(new.read_bytes() + (sealing / "key.pem").read_bytes())
        for file in [both, new]:
            settings.AUDIT_SIGNING_KEY_FILE = str(file)
            events(1)
            seal(at=AT)
        report = checked(sealing, public_keys=old.keys)
        assert report.breaks == []
        assert report.state.keys == list(Signer(new).keys)
        settings.AUDIT_SIGNING_KEY_FILE = str(sealing / "key.pem")
        events(1)
        seal(at=AT)
        assert located(sealing, public_keys=old.keys) == [("signature", 4)]
        assert located(sealing, state=report.state) == [("signature", 4)]

    def test_is_not_trusted_that_signs_alone(self, sealing, settings):
        events(1)
        seal(at=AT)
        settings.AUDIT_SIGNING_KEY_FILE = str(sealing / "new.pem")
        make_key(sealing / "new.pem")
        events(1)
        seal(at=AT)
        assert located(sealing) == [("signature", 2)]


@pytest.mark.django_db
class TestErasure:
    def test_keeps_the_record_sound(self, sealing):
        made = events(3, reason="asked by ada@example.com")
        made += events(1)
        seal(at=AT)
        assert erase_text(actor_ids=[], targets=[], words=["Ada@Example.com"], at=AT) == 3
        assert breaks(sealing) == []
        seal(at=AT)
        report = checked(sealing)
        assert (report.seals, report.breaks) == (5, [])

    def test_of_what_is_not_sealed_yet_seals_what_is_left(self, sealing):
        events(2)
        assert erase_text(actor_ids=[], targets=[("auth.group", "7")], words=[], at=AT) == 2
        seal(at=AT)
        assert breaks(sealing) == []
        tamper("UPDATE audit_auditevent SET reason = 'back again' WHERE erased_at IS NOT NULL")
        assert located(sealing) == [("edited", 1), ("edited", 2)]

    def test_is_itself_not_erased(self, sealing):
        events(1)
        erase_text(actor_ids=[], targets=[("auth.group", "7")], words=[], at=AT)
        assert (
            erase_text(actor_ids=[], targets=[("audit.auditevent", "")], words=["system"], at=AT)
            == 0
        )


SET = "UPDATE ledger_credittransaction SET "
EDITS = [
    SET + "amount = amount + 1, award = award + 1 WHERE number = 2",
    SET + "recorded_at = recorded_at + interval '1 us' WHERE number = 2",
    SET + "caller = 'key:2' WHERE number = 2",
    SET + "description = 'nothing' WHERE number = 2",
    SET + "description = '', text_salt = NULL WHERE number = 2",
]
LEDGER_BREAKS = {
    **dict.fromkeys(EDITS, "edited"),
    "UPDATE ledger_entry SET amount = amount - 1 WHERE amount = -5": "edited",
    "UPDATE ledger_grant SET paid_minor = 1": "edited",
    "DELETE FROM ledger_entry WHERE amount = -5": "edited",
    """INSERT INTO ledger_entry (transaction_id, position, grant_id, wallet_id, credit_type, amount)
       SELECT transaction_id, 9, grant_id, wallet_id, credit_type, 1 FROM ledger_entry
       WHERE amount = -5""": "edited",
    """DELETE FROM ledger_entry WHERE amount = -5;
       DELETE FROM ledger_credittransaction WHERE number = 2""": "deleted",
    "UPDATE ledger_credittransaction SET number = 7 WHERE number = 2": "deleted",
}


@pytest.mark.django_db
@pytest.mark.breaks_the_books
class TestLedger:
    @pytest.fixture(autouse=True)
    def books_of_two(self, sealing):
        self.wallet, self.other = books.new_wallets(2)
        books.buy(self.wallet, 10, 1000)
        posting.draw(
            payers=[self.wallet],
            amount=5,
            header=books.header("usage", description="a report"),
        )
        books.award(self.other, 3)
        seal(at=AT)
        assert breaks(sealing, ledger=True) == []

    @pytest.mark.parametrize(("statement", "kind"), LEDGER_BREAKS.items())
    def test_is_found_and_located(self, sealing, statement, kind):
        with superuser("ledger_credittransaction", "ledger_entry", "ledger_grant"):
            assert execute(statement) > 0
        number = 1 if "ledger_grant" in statement else 2
        found = [
            each
            for each in breaks(sealing, ledger=True)
            if each.says.startswith(f"ledger {self.wallet}: number {number} ")
        ]
        assert [(each.kind, each.seal) for each in found] == [(kind, 1)]

    def test_is_sound_after_an_erasure(self, sealing):
        posting.erase_text(wallet=self.wallet, at=books.START)
        assert CreditTransaction.objects.filter(erased_at__isnull=False).count() == 1
        assert breaks(sealing, ledger=True) == []

    def test_digests_are_sealed_too(self, sealing):
        tamper(
            "UPDATE audit_sealedrange SET digests = set_byte(digests, 3, get_byte(digests, 3) # 1)"
            " WHERE last = 2"
        )
        assert located(sealing, ledger=True) == [("edited", 1)]

    def test_says_what_is_not_sealed_yet(self, sealing):
        books.award(self.other, 3)
        report = checked(sealing, ledger=True)
        assert (report.rows, report.unsealed_rows, report.breaks) == (3, {"ledger": 1}, [])


class TestTheReader:
    def test_needs_no_django(self):
        code = "import audit.verification, ledger.sealing, sys; assert 'django' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


INSERT = """
    INSERT INTO audit_auditevent (at, action, actor_label, on_behalf_of_label, target_type,
        target_id, target_label, reason, request_id)
    VALUES (now(), 'accounts.user.activated', 'x', '', 'auth.group', '1', 'x', '', '')
"""
