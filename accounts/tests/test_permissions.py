import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from accounts import permissions
from accounts.choices import StaffGroup
from accounts.permissions import PERMISSIONS, UnknownPermissions, staff_may
from accounts.tests.factories import StaffFactory, UserFactory


def granted(group):
    pairs = group.permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in pairs}


def migrate():
    call_command("migrate", verbosity=0)


@pytest.mark.django_db
class TestSyncStaffGroups:
    def test_gave_each_group_what_the_table_says(self):
        assert {group.name: granted(group) for group in Group.objects.all()} == {
            group.value: set(names) for group, names in PERMISSIONS.items()
        }

    def test_mends_what_somebody_changed(self):
        support = Group.objects.get(name="Support")
        support.permissions.set(Permission.objects.filter(codename="adjust_wallet"))
        migrate()
        assert granted(support) == PERMISSIONS[StaffGroup.SUPPORT]

    def test_fails_on_a_name_that_no_model_declares(self, monkeypatch):
        table = PERMISSIONS | {StaffGroup.SUPPORT: frozenset({"ledger.mint_gold"})}
        monkeypatch.setattr(permissions, "PERMISSIONS", table)
        with pytest.raises(UnknownPermissions, match=r"ledger\.mint_gold"):
            migrate()

    def test_waits_while_something_is_not_migrated_yet(self, monkeypatch):
        table = PERMISSIONS | {
            StaffGroup.SUPPORT: frozenset({"ledger.mint_gold", "accounts.view_user"})
        }
        monkeypatch.setattr(permissions, "PERMISSIONS", table)
        monkeypatch.setattr(permissions, "unapplied_migrations", lambda using: True)
        migrate()
        assert granted(Group.objects.get(name="Support")) == {"accounts.view_user"}


@pytest.mark.django_db
class TestTable:
    def test_lets_finance_touch_no_rights_and_no_keys(self):
        rights = {
            name
            for name in PERMISSIONS[StaffGroup.FINANCE]
            if name.startswith(("accounts.", "auth."))
        }
        acts = {name for name in rights if not name.split(".")[1].startswith("view_")}
        assert acts == {"accounts.decide_approval"}
        assert "accounts.view_apikey" not in rights

    @pytest.mark.parametrize(
        ("group", "more"),
        [
            (StaffGroup.SUPPORT, {"disputes.review_dispute"}),
            (StaffGroup.AUDITOR, {"audit.export_auditevent", "ledger.export_report"}),
        ],
    )
    def test_lets_readers_look_and_support_review_disputes(self, group, more):
        looking = {name for name in PERMISSIONS[group] if name.split(".")[1].startswith("view_")}
        assert PERMISSIONS[group] - looking == more

    def test_lets_the_auditor_see_whatever_anybody_sees_but_mail(self):
        seen = {name for names in PERMISSIONS.values() for name in names if ".view_" in name}
        assert seen - PERMISSIONS[StaffGroup.AUDITOR] == {"accounts.view_email"}


MONEY = "ledger.adjust_wallet"


@pytest.mark.django_db
class TestStaffMay:
    @pytest.mark.parametrize(
        ("group", "answer"),
        [("Admin", True), ("Finance", True), ("Support", False), ("Auditor", False)],
    )
    def test_follows_the_table(self, group, answer):
        assert staff_may(StaffFactory(groups=group), MONEY) is answer

    @pytest.mark.parametrize("taken", ["is_active", "is_staff"])
    def test_wants_active_staff(self, taken):
        assert staff_may(StaffFactory(groups="Finance", **{taken: False}), MONEY) is False

    def test_is_no_door_for_a_superuser_without_a_group(self):
        superuser = UserFactory(is_staff=True, is_superuser=True)
        assert superuser.has_perm(MONEY)
        assert staff_may(superuser, MONEY) is False

    def test_is_no_door_for_a_permission_given_by_hand(self):
        user = UserFactory(is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="adjust_wallet"))
        assert staff_may(user, MONEY) is False

    def test_knows_no_other_permission(self):
        assert staff_may(StaffFactory(), "ledger.mint_gold") is False


@pytest.mark.django_db
class TestMigration:
    def test_made_the_roles_with_their_allotments(self):
        rows = apps.get_model("accounts", "Role").objects.values_list(
            "code", "allotment", "pool_seats"
        )
        assert set(rows) == {
            ("member", 350, 0),
            ("admin", 1_000, 0),
            ("team_admin", 5_000, 4),
            ("recruitpro", 1_000, 0),
            ("super_admin", 10_000, 0),
        }
