import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit.models import Verification
from audit.sealing import seal
from audit.tasks import seal_audit, verify_audit
from audit.tests.seals import AT, events, tamper
from audit.verification import State
from ledger.tests import books


def said_by(*arguments: str) -> str:
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


class TestCommands:
    def test_seal_and_verify(self, ledger_db, sealing):
        events(2)
        books.award(books.new_wallet(), 10)
        assert "2 events are not sealed yet" in said_by("verify_audit")
        said = said_by("seal_audit")
        assert "Sealed 2 events and 1 rows of the books, up to record 3." in said
        assert "There was nothing to seal." in said_by("seal_audit")
        assert "3 records and 1 rows of the books" in said_by("verify_audit", "--ledger")
        (key,) = State.read(sealing / "state.json").keys
        assert f"public key {key}" in said
        with pytest.raises(CommandError, match="1 places"):
            said_by("verify_audit", "--public-key", "00" * 32, "--state", str(sealing / "none"))

    def test_verify_exits_with_1_and_keeps_its_state_when_the_record_is_broken(
        self, ledger_db, sealing
    ):
        events(2)
        seal(at=AT)
        said_by("verify_audit")
        state = (sealing / "state.json").read_text()
        tamper("UPDATE audit_auditevent SET reason = 'better'")
        events(1)
        seal(at=AT)
        output = StringIO()
        with pytest.raises(CommandError, match="2 places") as broken:
            call_command("verify_audit", "--json", stdout=output)
        assert broken.value.returncode == 1
        document = json.loads(output.getvalue())
        assert (document["sound"], document["records"]) == (False, 3)
        assert [(each["kind"], each["seal"]) for each in document["breaks"]] == [
            ("edited", 1),
            ("edited", 2),
        ]
        assert (sealing / "state.json").read_text() == state

    @pytest.mark.django_db
    def test_seal_says_what_is_in_the_way(self, sealing, settings):
        settings.DEMO = False
        settings.AUDIT_SIGNING_KEY_FILE = ""
        with pytest.raises(CommandError, match="AUDIT_SIGNING_KEY_FILE is not set"):
            said_by("seal_audit")

    @pytest.mark.django_db
    def test_verify_says_that_it_has_nothing_to_hold_the_record_against(self, sealing):
        said = said_by("verify_audit", "--checkpoints", "", "--state", "")
        assert "There are no checkpoints elsewhere to hold it against." in said


class TestTasks:
    def test_seal_and_verify_and_raise_the_alarm(self, ledger_db, sealing, caplog):
        events(2)
        seal_audit()
        verify_audit()
        verification = Verification.objects.get()
        assert (verification.is_sound, verification.seals) == (True, 2)
        assert "audit.record_broken" not in caplog.text
        tamper("UPDATE audit_auditevent SET reason = 'better' WHERE id %% 2 = 0")
        verify_audit()
        verification = Verification.objects.latest("pk")
        assert (verification.is_sound, len(verification.findings)) == (False, 1)
        assert "audit.record_broken" in caplog.text
        assert "was edited in its text" in caplog.text

    @pytest.mark.django_db
    def test_say_why_they_did_not_seal(self, sealing, caplog):
        (sealing / "key.pem").write_text("no key")
        events(1)
        seal_audit()
        assert "audit.not_sealed" in caplog.text
