import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from audit.models import AuditEvent, AuditSeal, Checkpoint, Verification
from audit.sealing import seal
from audit.services import record
from audit.warnings import warnings
from creditsite.testing.people import as_role

LIST = "/admin/audit/auditevent/"
SEALS = "/admin/audit/checkpoint/"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def an_event(action="accounts.user.activated", **fields):
    group = Group.objects.get(name="Finance")
    return record(action, **{"actor": None, "target": group, "at": AT, **fields})


@pytest.mark.django_db
class TestAuditEventAdmin:
    @pytest.mark.parametrize(
        ("group", "status"), [("Admin", 200), ("Auditor", 200), ("Finance", 403), ("Support", 403)]
    )
    def test_is_open_to_admin_and_auditor(self, group, status):
        assert as_role(group).get(LIST).status_code == status

    def test_shows_and_finds_sentences(self):
        an_event(reason="the first reason")
        an_event(reason="another thing")
        page = as_role("Auditor").get(LIST, {"q": "first"}).content.decode()
        assert "The system activated Finance" in page
        assert "the first reason" in page
        assert "another thing" not in page

    def test_filters_by_action_and_by_target(self):
        an_event(reason="the first reason")
        client = as_role("Auditor")
        user = {"target_type": "accounts.user", "target_id": client.user.pk}
        for query, count in [
            ({"action": "accounts.user.activated"}, 1),
            ({"action": "ledger.price.added"}, 0),
            (user, 0),
        ]:
            page = client.get(LIST, query).content.decode()
            assert page.count("the first reason") == count

    def test_shows_before_and_after(self):
        event = an_event(before={"award": 1234567}, after={"award": 7654321})
        page = as_role("Auditor").get(reverse("admin:audit_auditevent_change", args=[event.pk]))
        assert "1234567" in page.content.decode()
        assert "7654321" in page.content.decode()

    @pytest.mark.parametrize("door", ["add/", "{pk}/delete/"])
    def test_neither_adds_nor_deletes(self, door):
        client = as_role("", is_superuser=True)
        assert client.get(LIST + door.format(pk=an_event().pk)).status_code == 403

    def test_changes_nothing(self):
        event = an_event(reason="as it was")
        client = as_role("", is_superuser=True)
        assert client.post(f"{LIST}{event.pk}/change/", {"reason": "better"}).status_code == 403
        event.refresh_from_db()
        assert event.reason == "as it was"

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Auditor")
        for _ in range(2):
            an_event()
            with django_assert_num_queries(5):
                client.get(LIST)
            an_event()

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"actor": "ADA@example"}, ["by ada"]),
            ({"actor": "4"}, ["by ada"]),
            ({"target": "Finance"}, ["by ada", "by the system"]),
            ({"target": "nobody"}, []),
            ({"sealed": "yes"}, ["by ada"]),
            ({"sealed": "no"}, ["by the system"]),
            ({"at_from": "2026-11-20", "at_to": "2026-11-20"}, ["by ada", "by the system"]),
            ({"at_from": "2026-11-21"}, []),
        ],
    )
    def test_filters(self, sealing, query, found):
        an_event(actor=User(pk=4, email="ada@example.com"), reason="by ada")
        seal(at=AT)
        an_event(reason="by the system")
        page = as_role("Auditor").get(LIST, query).content.decode()
        assert [each for each in ["by ada", "by the system"] if each in page] == found

    def test_shows_the_seal_of_an_event(self, sealing):
        event = an_event()
        client = as_role("Auditor")
        assert "not yet" in client.get(LIST).content.decode()
        seal(at=AT)
        page = client.get(f"{LIST}{event.pk}/change/").content.decode()
        assert bytes(AuditSeal.objects.get().hash).hex() in page


@pytest.mark.django_db
class TestExport:
    def export(self, client, query="", **data):
        data = {
            "confirmed": "yes",
            "request_id": str(uuid.uuid4()),
            "format": "csv",
            "reason": "the yearly audit",
            **data,
        }
        return client.post(f"{LIST}export/?{query}", data)

    @pytest.mark.parametrize(
        ("group", "status"), [("Admin", 200), ("Auditor", 200), ("Finance", 403), ("Support", 403)]
    )
    def test_is_open_to_admin_and_auditor(self, group, status):
        client = as_role(group)
        assert client.get(f"{LIST}export/").status_code == status
        assert self.export(client).status_code == status
        assert AuditEvent.objects.filter(action="audit.exported").exists() == (status == 200)

    def test_has_every_event_of_the_list_and_its_seal(self, sealing):
        for number in range(60):
            an_event(reason=f"no. {number}", before={"award": number})
        seal(at=AT)
        an_event(action="ledger.price.added")
        answer = self.export(as_role("Auditor"), "action=accounts.user.activated&p=2")
        assert answer["Content-Disposition"].endswith('.csv"')
        rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
        assert [row["reason"] for row in rows] == [f"no. {number}" for number in range(60)]
        assert rows[7]["event"] == "The system activated Finance"
        assert json.loads(rows[7]["before"]) == {"award": 7}
        assert rows[7]["seal"] == "8"
        assert rows[7]["hash"] == bytes(AuditSeal.objects.get(number=8).hash).hex()

    def test_is_json_too(self, sealing):
        an_event(before={"award": 7})
        seal(at=AT)
        an_event()
        first, second = json.loads(self.export(as_role("Auditor"), format="json").getvalue())
        assert (first["before"], first["seal"], second["seal"]) == ({"award": 7}, 1, None)

    def test_has_no_formulas(self):
        an_event(reason="=HYPERLINK(1)")
        answer = self.export(as_role("Auditor"))
        (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
        assert row["reason"] == "'=HYPERLINK(1)"

    def test_is_recorded_with_reason_and_filter(self):
        an_event()
        client = as_role("Auditor")
        self.export(client, "q=nothing-like-it&sealed=no")
        event = AuditEvent.objects.latest("pk")
        assert str(event) == "auditor@staff.example.com exported 0 audit events"
        assert (event.actor_id, event.reason) == (client.user.pk, "the yearly audit")
        assert event.after == {
            "format": "csv",
            "filters": {"q": "nothing-like-it", "sealed": "no"},
        }

    def test_needs_a_reason_and_a_known_format(self):
        client = as_role("Auditor")
        for wrong in [{"reason": "short"}, {"format": "exe"}]:
            assert "Download" in self.export(client, **wrong).content.decode()
        assert not AuditEvent.objects.exists()

    def test_asks_to_sign_in_again_after_a_while(self):
        client = as_role("Auditor")
        with time_machine.travel(timedelta(minutes=6) + timezone.now()):
            assert client.get(f"{LIST}export/").status_code == 302
            assert "Nothing was changed yet" in self.export(client).content.decode()
        assert not AuditEvent.objects.exists()

    def test_is_offered_with_the_filters_of_the_list(self):
        page = as_role("Auditor").get(LIST, {"sealed": "no"}).content.decode()
        assert f'href="{LIST}export/?sealed=no"' in page


@pytest.mark.django_db
class TestSeals:
    @pytest.mark.parametrize(
        ("group", "status"), [("Admin", 200), ("Auditor", 200), ("Finance", 403), ("Support", 403)]
    )
    def test_are_open_to_admin_and_auditor(self, group, status):
        assert as_role(group).get(SEALS).status_code == status

    def test_are_shown_with_the_last_verification(self, sealing):
        an_event()
        seal(at=AT)
        an_event()
        client = as_role("Auditor")
        page = client.get(SEALS).content.decode()
        assert "Not verified yet" in page
        assert bytes(Checkpoint.objects.get().hash).hex()[:16] in page
        found(is_sound=True)
        page = client.get(SEALS).content.decode()
        assert "all as they were sealed" in page
        assert "1 event waits for a seal" in page
        assert client.get(f"{SEALS}1/change/").status_code == 200
        assert client.post(f"{SEALS}1/change/", {"at": "2020-01-01"}).status_code == 403

    def test_are_warned_of_on_the_start_page(self):
        found(is_sound=False)
        for group, is_warned in [("Admin", True), ("Auditor", True), ("Finance", False)]:
            page = as_role(group).get("/admin/").content.decode()
            assert ("not as it was sealed: record 7 was edited" in page) == is_warned


@pytest.mark.django_db
class TestWarnings:
    def test_are_none_when_all_is_well(self):
        found(is_sound=True)
        an_event(at=AT)
        assert warnings(AT) == []

    def test_tell_of_a_sealer_or_a_verifier_that_stands_still(self):
        found(is_sound=True)
        an_event(at=AT)
        late = AT + timedelta(hours=4)
        assert warnings(late) == [
            "Nobody has verified the audit record since 2026-11-20 12:00 UTC.",
            "Audit events have waited for their seal for more than ten minutes.",
        ]


def found(*, is_sound: bool) -> None:
    Verification.objects.create(
        at=AT,
        is_sound=is_sound,
        seals=1,
        unsealed=1,
        seconds=0.1,
        findings=[] if is_sound else ["record 7 was edited"],
    )
