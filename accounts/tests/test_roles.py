from datetime import UTC, datetime

import pytest

from accounts.errors import InUse
from accounts.models import Role
from accounts.services.roles import delete_role
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "it was never sold"


def delete(role):
    delete_role(role=role, actor=StaffFactory(), reason=REASON, at=AT)


@pytest.mark.django_db
class TestDeleteRole:
    def test_deletes_one_that_nobody_has_and_records_what_it_was(self):
        role = Role.objects.create(code="student", name="Student", allotment=50)
        pk = role.pk
        delete(role)
        assert not Role.objects.filter(pk=pk).exists()
        event = AuditEvent.objects.get()
        assert (event.action, event.reason) == ("accounts.role.deleted", REASON)
        assert (event.target_id, event.target_label) == (str(pk), "Student")
        assert event.before == {
            "code": "student",
            "name": "Student",
            "allotment": 50,
            "pool_seats": 0,
        }

    def test_refuses_one_that_somebody_has(self):
        role = Role.objects.get(code="recruitpro")
        UserFactory(role=role, is_active=False)
        with pytest.raises(InUse, match="Users who have the role RecruitPro: 1"):
            delete(role)
        assert Role.objects.filter(pk=role.pk).exists()
        assert not AuditEvent.objects.exists()

    def test_refuses_the_one_that_signing_up_gives(self):
        with pytest.raises(InUse, match="Who signs up gets the role"):
            delete(Role.objects.get(code="member"))
