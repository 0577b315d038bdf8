from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from audit.services import record
from creditsite.testing.people import as_role

LIST = "/admin/audit/auditevent/"


def an_event(**fields):
    at = datetime(2026, 11, 20, 12, tzinfo=UTC)
    group = Group.objects.get(name="Finance")
    return record("accounts.user.activated", **{"actor": None, "target": group, "at": at, **fields})


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
            with django_assert_num_queries(7):
                client.get(LIST)
            an_event()
