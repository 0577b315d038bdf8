from datetime import UTC, datetime

import pytest
from django.contrib.auth import authenticate
from django.db import transaction

from accounts import events
from accounts.choices import StaffGroup
from accounts.errors import InvalidFields, LastAdmin, OwnAccount
from accounts.models import Role, User
from accounts.services import users
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict
from creditsite.testing.races import race

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASON = "asked for by the user"
PASSWORD = "correct horse battery"


@pytest.fixture
def heard(monkeypatch):
    """What subscribers of each event are told during the test, beside those that are there."""
    told = []
    for event in [
        events.user_registered,
        events.role_changed,
        events.partner_changed,
        events.agent_changed,
    ]:
        monkeypatch.setattr(
            event,
            "handlers",
            [*event.handlers, lambda name=event.name, **facts: told.append((name, facts))],
        )
    return told


def register(**fields):
    return users.register_user(
        **{"email": "new@example.com", "password": PASSWORD, "at": AT, **fields}
    )


def recorded():
    return [
        (e.action, e.actor_label, e.reason, e.before, e.after)
        for e in AuditEvent.objects.order_by("pk")
    ]


@pytest.mark.django_db
class TestUserSave:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: User.objects.create_user("new@example.com"),
            lambda: User.objects.create_superuser("new@example.com", "x"),
            lambda: User.objects.create(email="new@example.com"),
            lambda: UserFactory(email="new@example.com"),
            lambda: register(),
        ],
        ids=["create_user", "create_superuser", "create", "factory", "register_user"],
    )
    def test_announces_a_new_user_once_by_whatever_path(self, heard, make):
        user = make()
        user.save()
        facts = {"user": user, "at": user.date_joined, "actor": None}
        assert heard == [("user_registered", facts)]

    def test_makes_no_user_when_a_subscriber_fails(self, monkeypatch):
        def fail(**facts):
            raise Conflict("No award today.")

        monkeypatch.setattr(events.user_registered, "handlers", [fail])
        with pytest.raises(Conflict):
            User.objects.create_user("new@example.com")
        assert not User.objects.exists()

    def test_stores_the_address_in_one_form(self):
        user = User.objects.create_user("  ＮＥＷ@Example.COM ")
        assert user.email == "new@example.com"
        assert User.objects.get_by_natural_key("NEW@example.com") == user


class TestEvent:
    def test_calls_a_handler_once_however_often_it_subscribes(self):
        event, told = events.Event("happened", frozenset({"what"})), []
        event.subscribe(told.append)
        event.subscribe(told.append)
        assert len(event.handlers) == 1

    def test_refuses_other_facts_than_it_carries(self):
        with pytest.raises(TypeError, match="happened carries"):
            events.Event("happened", frozenset({"what"})).publish(why=1)


@pytest.mark.django_db
class TestRegisterUser:
    def test_makes_a_member_who_can_sign_in(self):
        referrer = UserFactory()
        user = register(
            email="New@Example.com", name=" Ada ", referral_code=referrer.referral_code.lower()
        )
        assert (user.email, user.name, user.role.code) == ("new@example.com", "Ada", "member")
        assert (user.referrer, user.date_joined, user.is_staff) == (referrer, AT, False)
        assert authenticate(username="new@example.com", password=PASSWORD) == user

    @pytest.mark.parametrize(
        ("fields", "errors"),
        [
            ({"email": "nobody"}, {"email": ["Enter a valid email address."]}),
            ({"email": "a\0@example.com"}, {"email": ["Enter a valid email address."]}),
            (
                {"email": "TAKEN@example.com"},
                {"email": ["A user with this e-mail address exists already."]},
            ),
            ({"name": "a\u202eb"}, {"name": ["The character U+202E is not allowed here."]}),
            ({"referral_code": "NOPE"}, {"referral_code": ["Nobody has this referral code."]}),
            ({"referral_code": "\0"}, {"referral_code": ["Nobody has this referral code."]}),
            ({"password": "\ud800" * 12}, {"password": ["The password holds half a character."]}),
        ],
    )
    def test_says_which_field_is_wrong_and_makes_nobody(self, fields, errors):
        UserFactory(email="taken@example.com")
        with pytest.raises(InvalidFields) as refusal:
            register(**fields)
        assert refusal.value.errors == errors
        assert refusal.value.numbers == {"errors": errors}
        assert User.objects.count() == 1

    def test_asks_the_validators_about_the_password(self):
        with pytest.raises(InvalidFields) as refusal:
            register(email="octopus@example.com", password="octopus")
        assert set(refusal.value.errors) == {"password"}
        assert len(refusal.value.errors["password"]) > 1

    def test_takes_no_code_of_somebody_inactive(self):
        referrer = UserFactory(is_active=False)
        with pytest.raises(InvalidFields):
            register(referral_code=referrer.referral_code)

    def test_makes_one_of_two_at_once(self, ledger_db):
        assert sorted(race(register, register)) == ["InvalidFields", "User"]
        assert User.objects.count() == 1


@pytest.mark.django_db
class TestCreateStaff:
    def test_makes_staff_of_a_group_and_nothing_more(self):
        actor = StaffFactory()
        user = users.create_staff(
            email="fin@example.com",
            password=PASSWORD,
            groups=[StaffGroup.FINANCE],
            actor=actor,
            at=AT,
            reason=REASON,
        )
        assert (user.is_staff, user.is_superuser, user.role) == (True, False, None)
        assert recorded() == [
            (
                "accounts.staff.created",
                actor.email,
                REASON,
                None,
                {"is_staff": True, "groups": ["Finance"]},
            )
        ]


@pytest.mark.django_db
class TestChangeRole:
    def test_changes_records_and_announces(self, heard):
        user, actor = UserFactory(), StaffFactory()
        heard.clear()
        member, admin = user.role, Role.objects.get(code="admin")
        users.change_role(user=user, role=admin, actor=actor, reason=REASON, at=AT)
        user.refresh_from_db()
        assert user.role == admin
        assert recorded() == [
            (
                "accounts.user.role_changed",
                actor.email,
                REASON,
                {"role": "member"},
                {"role": "admin"},
            )
        ]
        facts = {"user": user, "at": AT, "actor": actor, "previous_role": member}
        assert heard == [("role_changed", facts)]

    def test_refuses_the_role_they_have(self):
        user = UserFactory()
        with pytest.raises(Conflict):
            users.change_role(user=user, role=user.role, actor=StaffFactory(), reason=REASON, at=AT)
        assert recorded() == []


@pytest.mark.django_db
class TestChangePartner:
    def test_changes_records_and_announces(self, heard):
        user, actor = UserFactory(), StaffFactory()
        heard.clear()
        users.change_partner(user=user, is_partner=True, actor=actor, reason=REASON, at=AT)
        user.refresh_from_db()
        assert user.is_partner
        assert [e[0] for e in recorded()] == ["accounts.user.partner_changed"]
        assert heard == [("partner_changed", {"user": user, "at": AT, "actor": actor})]

    def test_keeps_the_flag_when_a_subscriber_refuses(self, monkeypatch):
        def refuse(**facts):
            raise Conflict("Credits are held.")

        user, actor = UserFactory(), StaffFactory()
        monkeypatch.setattr(events.partner_changed, "handlers", [refuse])
        with pytest.raises(Conflict, match="held"):
            users.change_partner(user=user, is_partner=True, actor=actor, reason=REASON, at=AT)
        user.refresh_from_db()
        assert not user.is_partner
        assert recorded() == []


@pytest.mark.django_db
class TestChangeAgent:
    def test_announces(self, heard):
        user, actor = UserFactory(), StaffFactory()
        heard.clear()
        users.change_agent(user=user, is_agent=True, actor=actor, reason=REASON, at=AT)
        assert heard == [("agent_changed", {"user": user, "at": AT, "actor": actor})]


FLAGS = [
    (users.change_agent, {"is_agent": True}, "is_agent", True, "accounts.user.agent_changed"),
    (
        users.change_partner,
        {"is_partner": True},
        "is_partner",
        True,
        "accounts.user.partner_changed",
    ),
    (users.deactivate_user, {}, "is_active", False, "accounts.user.deactivated"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("change", "given", "flag", "value", "action"), FLAGS)
class TestFlags:
    def test_are_set_once_and_recorded(self, change, given, flag, value, action):
        user, actor = UserFactory(), StaffFactory()
        record = {"user": user, "actor": actor, "reason": REASON, "at": AT, **given}
        change(**record)
        with pytest.raises(Conflict):
            change(**record)
        user.refresh_from_db()
        assert getattr(user, flag) is value
        assert recorded() == [(action, actor.email, REASON, {flag: not value}, {flag: value})]

    def test_are_not_changed_by_oneself(self, change, given, flag, value, action):
        actor = StaffFactory()
        with pytest.raises(OwnAccount):
            change(user=actor, actor=actor, reason=REASON, at=AT, **given)
        actor.refresh_from_db()
        assert getattr(actor, flag) is not value
        assert recorded() == []


@pytest.mark.django_db
class TestDeactivateUser:
    def test_ends_tokens_for_good(self):
        user, actor = UserFactory(), StaffFactory()
        record = {"user": user, "actor": actor, "reason": REASON, "at": AT}
        users.deactivate_user(**record)
        users.activate_user(**record)
        user.refresh_from_db()
        assert (user.is_active, user.token_version) == (True, 1)


@pytest.mark.django_db
class TestSetStaffGroups:
    def test_changes_records_and_ends_tokens(self):
        user, actor = StaffFactory(groups=StaffGroup.SUPPORT), StaffFactory()
        record = {
            "user": user,
            "is_staff": True,
            "groups": ["Finance"],
            "actor": actor,
            "reason": REASON,
        }
        users.set_staff_groups(**record, at=AT)
        user.refresh_from_db()
        assert ([g.name for g in user.groups.all()], user.token_version) == (["Finance"], 1)
        before = {"is_staff": True, "groups": ["Support"]}
        after = {"is_staff": True, "groups": ["Finance"]}
        assert recorded() == [("accounts.user.staff_changed", actor.email, REASON, before, after)]
        with pytest.raises(Conflict):
            users.set_staff_groups(**record, at=AT)

    @pytest.mark.parametrize("groups", [[], ["Admin", "Finance"]])
    def test_refuses_the_own_account(self, groups):
        actor = StaffFactory()
        with pytest.raises(OwnAccount):
            users.set_staff_groups(
                user=actor, is_staff=True, groups=groups, actor=actor, reason=REASON, at=AT
            )
        assert [g.name for g in actor.groups.all()] == ["Admin"]


def taken_from(user, actor):
    return users.set_staff_groups(
        user=user, is_staff=False, groups=[], actor=actor, reason=REASON, at=AT
    )


def deactivated_by(user, actor):
    return users.deactivate_user(user=user, actor=actor, reason=REASON, at=AT)


class TestKeepAnAdmin:
    @pytest.mark.django_db
    def test_refuses_to_lose_the_last_one(self):
        admin = StaffFactory()
        StaffFactory(is_active=False)
        StaffFactory(is_staff=False)
        StaffFactory(groups="Finance")
        with transaction.atomic(), pytest.raises(LastAdmin):
            users.keep_an_admin(without=admin)

    @pytest.mark.django_db
    def test_lets_others_go(self):
        admin, other = StaffFactory(), StaffFactory()
        for user in (other, UserFactory(), StaffFactory(groups="Finance")):
            users.keep_an_admin(without=user)
        users.deactivate_user(user=other, actor=admin, reason=REASON, at=AT)
        with pytest.raises(LastAdmin):
            users.keep_an_admin(without=admin)

    @pytest.mark.parametrize("end", [taken_from, deactivated_by])
    def test_lets_two_admins_not_end_each_other(self, ledger_db, end):
        for _ in range(5):
            ada, bob = StaffFactory(), StaffFactory()
            User.objects.exclude(pk__in=[ada.pk, bob.pk]).update(is_active=False)
            outcomes = race(lambda: end(ada, bob), lambda: end(bob, ada))  # noqa: B023
            assert sorted(outcomes) == ["NotPermitted", "User"]
            admins = User.objects.filter(groups__name="Admin", is_staff=True, is_active=True)
            assert admins.count() == 1


@pytest.mark.django_db
class TestSetPassword:
    def test_changes_it_and_ends_tokens_without_recording_it(self):
        user, actor = UserFactory(), StaffFactory()
        users.set_password(user=user, password=PASSWORD, actor=actor, reason=REASON, at=AT)
        assert authenticate(username=user.email, password=PASSWORD) == user
        user.refresh_from_db()
        assert user.token_version == 1
        assert recorded() == [("accounts.user.password_set", actor.email, REASON, None, None)]

    def test_refuses_a_weak_one(self):
        user = UserFactory()
        with pytest.raises(InvalidFields):
            users.set_password(
                user=user, password="12345", actor=StaffFactory(), reason=REASON, at=AT
            )
        user.refresh_from_db()
        assert (user.password, user.token_version) == ("!", 0)


@pytest.mark.django_db
class TestRenameUser:
    def test_changes_the_name_only(self):
        user, actor = UserFactory(name="Ada"), StaffFactory()
        stale = User.objects.get(pk=user.pk)
        users.deactivate_user(user=user, actor=actor, reason=REASON, at=AT)
        users.rename_user(user=stale, name="Grace", actor=actor, reason=REASON, at=AT)
        user.refresh_from_db()
        assert (user.name, user.is_active) == ("Grace", False)
        assert recorded()[1] == (
            "accounts.user.renamed",
            actor.email,
            REASON,
            {"name": "Ada"},
            {"name": "Grace"},
        )
