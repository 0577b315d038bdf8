"""Erasing a person: what stands in the way, what is decided, what goes and what stays."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from accounts.errors import DecisionMissing, ErasureBlocked, InvalidFields, NamesThePerson
from accounts.models import Erasure, Job, TeamMembership, User
from accounts.services import approvals, erasure
from accounts.services.api_keys import create_api_key, revoke_api_key
from accounts.services.erasure import list_erasures, preview_erasure, replay_erasure
from accounts.services.jobs import create_job, run_job
from accounts.services.people_data import relations_to_users
from accounts.services.users import activate_user, register_user
from accounts.tests.erasing import AT, REASON, approved, asked_for, erased
from accounts.tests.factories import StaffFactory, TeamAdminFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import Conflict, NotPermitted
from creditsite.testing import race
from creditsite.testing.people import as_role
from ledger.choices import TransactionKind
from ledger.models import CreditTransaction, Referral, Wallet
from ledger.services import posting
from ledger.tests.factories import (
    balances_of,
    moves_of,
    open_hold,
    seat,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

PASSWORD = "correct horse battery"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def list_of_its_own(settings, tmp_path):
    settings.ERASURE_LIST_FILE = tmp_path / "elsewhere" / "erasures.jsonl"


def obstacles(user: User) -> list[str]:
    return preview_erasure(user=user, at=AT).obstacles


@pytest.mark.django_db
class TestWhatStandsInTheWay:
    def test_is_nothing_for_a_plain_user(self):
        assert obstacles(UserFactory()) == []

    def test_is_being_staff(self):
        with pytest.raises(ErasureBlocked, match="staff"):
            asked_for(StaffFactory())
        assert obstacles(UserFactory(is_superuser=True)) != []

    def test_is_a_team_of_theirs(self):
        team = TeamFactory(owner=TeamAdminFactory())
        assert obstacles(team.owner) == [f"They own the team {team.pk}: dissolve it first."]

    def test_is_a_team_with_their_name(self):
        user = UserFactory(name="Zoe Canary")
        team = TeamFactory(name="Friends of zoe canary")
        assert obstacles(user) == [f"The team {team.pk} has their name: give it another first."]

    def test_is_a_live_api_key(self):
        owner = StaffFactory()
        key, _ = create_api_key(
            name="x", owner=owner, scopes=["credits:read"], actor=None, at=AT, reason=REASON
        )
        User.objects.filter(pk=owner.pk).update(is_staff=False)
        owner.refresh_from_db()
        assert obstacles(owner) == ["They own 1 live API keys: revoke them first."]
        revoke_api_key(key=key, actor=None, reason=REASON, at=AT)
        assert obstacles(owner) == []

    def test_is_a_running_job(self):
        user = UserFactory()
        create_job(kind="x", params={}, chunks=[(0, 1)], created_by=user)
        assert obstacles(user) == ["1 jobs of theirs are not finished: wait, or cancel them."]

    def test_is_an_open_hold(self):
        wallet = wallet_with_credits(award=10, at=AT)
        open_hold(wallet, 4, at=AT)
        assert obstacles(wallet.user) == [
            "Running jobs hold credits (1 holds): wait until they end."
        ]

    def test_is_asked_again_when_it_is_approved(self):
        wallet = wallet_with_credits(award=10, at=AT)
        asked = asked_for(wallet.user)
        open_hold(wallet, 4, at=AT)
        ended = approved(asked)
        assert ended.status == "failed"
        assert "hold" in ended.error
        assert User.objects.get(pk=wallet.user_id).is_active


@pytest.mark.django_db
def test_nobody_lets_a_tombstone_in_again():
    tombstone = erased(UserFactory())
    with pytest.raises(Conflict, match="sign up anew"):
        activate_user(user=tombstone, actor=StaffFactory(), reason=REASON, at=AT)


@pytest.mark.django_db
class TestWhatIsDecided:
    def test_purchased_credits_are_forfeited_only_when_agreed_to(self):
        wallet = wallet_with_credits(purchase=300, award=50, partner=5, at=AT)
        for too_little in ({}, {"forfeit_purchased": 299}):
            with pytest.raises(DecisionMissing, match="300 purchased"):
                asked_for(wallet.user, decided=too_little)
        erased(wallet.user, decided={"forfeit_purchased": 300})
        assert moves_of(wallet)[-1] == ("void", -355)
        assert Wallet.objects.get(pk=wallet.pk).status == "closed"
        assert balances_of(wallet, AT) == {"award": 0, "purchase": 0, "partner": 0}

    def test_more_bought_meanwhile_takes_a_new_decision(self):
        wallet = wallet_with_credits(purchase=300, at=AT)
        asked = asked_for(wallet.user)
        wallet_with_credits(wallet.user, purchase=1, at=AT)
        ended = approved(asked)
        assert ended.status == "failed"
        assert balances_of(wallet, AT)["purchase"] == 301

    def test_a_debt_is_written_off_only_when_agreed_to(self):
        wallet = wallet_with_credits(award=10, at=AT)
        header = posting.Header(
            kind=TransactionKind.USAGE, at=AT, caller="test", key=erasure.uuid.uuid4(),
            fingerprint=erasure.uuid.uuid4(),
        )  # fmt: skip
        posting.draw(payers=[wallet.pk], amount=25, short="debt", header=header)
        with pytest.raises(DecisionMissing, match="debt of 15"):
            asked_for(wallet.user, decided={})
        erased(wallet.user, decided={"write_off_debt": 15})
        assert Wallet.objects.get(pk=wallet.pk).debt == 0

    def test_what_has_expired_is_breakage_and_not_released_by_staff(self):
        wallet = wallet_with_credits(purchase=30, at=AT, expires_at=AT + DAY)
        erased(wallet.user, decided={"forfeit_purchased": 30}, at=AT + DAY)
        assert moves_of(wallet)[1:] == [("expiry", -30)]


@pytest.mark.django_db
class TestAsking:
    def test_is_for_admin(self):
        for group in ["Finance", "Support", "Auditor"]:
            with pytest.raises(NotPermitted):
                erasure.request_erasure(
                    user=UserFactory(),
                    decided={},
                    reason=REASON,
                    actor=StaffFactory(groups=group),
                    at=AT,
                )

    @pytest.mark.parametrize("reason", ["Zoe CANARY wrote", "mail of ZOE@example.com came"])
    def test_refuses_a_reason_that_names_the_person(self, reason):
        user = UserFactory(email="zoe@example.com", name="Zoe Canary")
        with pytest.raises(NamesThePerson):
            erasure.request_erasure(
                user=user, decided={}, reason=reason, actor=StaffFactory(), at=AT
            )

    def test_takes_a_second_person(self):
        asked = asked_for(UserFactory())
        with pytest.raises(NotPermitted):
            approvals.approve(approval=asked, checker=asked.maker, note="", at=AT)
        assert Job.objects.count() == 0

    def test_freezes_no_name_and_tells_who_it_is_as_of_now(self):
        asked = asked_for(UserFactory(email="zoe@example.com", name="Zoe Canary"))
        assert asked.sentence == f"Erase the personal data of user {asked.about_id}."
        [said] = erasure.state(asked.payload, AT)
        assert said == f"User {asked.about_id} is zoe@example.com"

    def test_twice_at_once_is_refused(self):
        user = UserFactory()
        first, second = asked_for(user), asked_for(user)
        approved(first)
        assert approved(second).status == "failed"


@pytest.mark.django_db
class TestErasing:
    def test_leaves_a_tombstone(self):
        user = register_user(email="zoe@example.com", password=PASSWORD, name="Zoe Canary", at=AT)
        identity, code = user.identity, user.referral_code
        tomb = erased(user)
        assert tomb.email == f"erased-{user.pk}@erased.invalid"
        assert (tomb.name, tomb.role, tomb.is_active, tomb.last_login) == ("", None, False, None)
        assert not tomb.has_usable_password()
        assert tomb.identity != identity
        assert tomb.referral_code != code
        assert tomb.token_version > user.token_version
        kept = Erasure.objects.get()
        assert (kept.user_id, kept.identity, kept.erased_at) == (user.pk, identity, AT)

    def test_leaves_a_record_that_names_nobody(self):
        user = register_user(email="zoe@example.com", password=PASSWORD, name="Zoe Canary", at=AT)
        tomb = erased(user)
        event = AuditEvent.objects.get(action="accounts.user.erased")
        assert (event.target_id, event.target_label) == (str(tomb.pk), tomb.email)
        assert (event.reason, event.approval_id is None) == (REASON, False)

    def test_signing_up_again_gives_no_second_award(self):
        person = {"email": "zoe@example.com", "password": PASSWORD}
        erased(register_user(**person, at=AT))
        again = register_user(**person, at=AT + DAY)
        assert balances_of(again.wallet, AT + DAY) == {"award": 0, "purchase": 0, "partner": 0}
        given = CreditTransaction.objects.filter(kind="award").aggregate(Sum("amount"))
        assert given["amount__sum"] == 350

    def test_nobody_signs_up_as_a_tombstone(self):
        with pytest.raises(InvalidFields):
            register_user(email="erased-7@erased.invalid", password=PASSWORD, at=AT)

    def test_takes_seats_and_what_they_wrote_in_pools(self):
        owner, member, other = TeamAdminFactory(), UserFactory(role=None), UserFactory(role=None)
        pool = wallet_with_credits(owner, award=100, at=AT)
        seat(TeamFactory(owner=owner), member, other)
        for person in (member, other):
            spend(pool, 1, actor_id=person.pk, description=f"by {person.pk}", at=AT)
        erased(member)
        texts = CreditTransaction.objects.filter(wallet=pool, kind="usage").order_by("number")
        assert list(texts.values_list("description", flat=True)) == ["", f"by {other.pk}"]
        assert list(TeamMembership.objects.values_list("user", flat=True)) == [other.pk]

    def test_is_done_again_by_a_job_that_was_killed(self, monkeypatch):
        wallet = wallet_with_credits(award=10, at=AT)
        spend(wallet, 1, description="text", at=AT)
        job = Job.objects.get(pk=approved(asked_for(wallet.user)).result["job"])

        def fail(*args, **kwargs):
            raise KeyError("killed")

        with monkeypatch.context() as broken:
            broken.setattr(erasure, "_bury", fail)
            with pytest.raises(KeyError):
                run_job(job)
        assert CreditTransaction.objects.filter(wallet=wallet, description="text").exists()
        Job.objects.filter(pk=job.pk).update(status="pending")
        run_job(job)
        assert User.objects.get(pk=wallet.user_id).email.endswith("@erased.invalid")
        assert not CreditTransaction.objects.filter(wallet=wallet, description="text").exists()

    def test_forgets_whom_they_were_referred_by_and_not_that_it_counts(self):
        set_credit_settings(referral_credits=30)
        referrer = UserFactory()
        user = UserFactory(referrer=referrer, date_joined=AT)
        erased(user)
        referral = Referral.objects.get()
        assert (referral.referrer, referral.referred, referral.credits) == (referrer, None, 30)

    def test_knows_what_becomes_of_every_row_that_points_at_a_user(self):
        """A new foreign key to users: say here that it stays, or let CASCADE take it away."""
        stays = {
            relation.related_model._meta.label + "." + relation.field.name
            for relation in relations_to_users()
            if relation.on_delete.__name__ != "CASCADE"
        }
        assert stays == {
            "accounts.ApiKey.owner",
            "accounts.Approval.about",
            "accounts.Approval.checker",
            "accounts.Approval.maker",
            "accounts.Job.created_by",
            "accounts.Team.owner",
            "accounts.User.referrer",
            "billing.AutoTopUp.user",
            "billing.Break.explained_by",
            "billing.CreditRate.changed_by",
            "billing.Discounts.changed_by",
            "billing.OfferVersion.created_by",
            "billing.Promotion.created_by",
            "billing.ProjectAccount.user",
            "billing.ProjectCost.added_by",
            "billing.Redemption.user",
            "billing.ErasedReferral.referrer",
            "billing.ErasedReferral.user",
            "billing.ShareLine.user",
            "billing.SharePayout.paid_by",
            "billing.ShareStatement.payee",
            "billing.ShareTerm.payee",
            "ledger.Batch.maker",
            "ledger.CreditSettings.changed_by",
            "ledger.CreditTransaction.actor",
            "ledger.FeaturePrice.created_by",
            "ledger.Hold.actor",
            "ledger.Referral.referred",
            "ledger.Referral.referrer",
            "ledger.Wallet.user",
            "billing.Payment.user",
            "billing.Refund.asked_by",
            "billing.ReviewItem.resolved_by",
            "billing.StripeCustomer.user",
            "billing.Subscription.user",
            "billing.SubscriptionChange.asked_by",
            "billing.Tier.assigned_by",
            "billing.Tier.ended_by",
            "disputes.Answer.asked_by",
            "disputes.Attachment.uploaded_by",
            "disputes.Decision.decided_by",
            "disputes.Dispute.assignee",
            "disputes.Dispute.opened_by",
            "disputes.DisputeEvent.actor",
            "token_blacklist.OutstandingToken.user",
        }


class TestTwoAtOnce:
    def test_erase_once(self, ledger_db):
        user = UserFactory()
        args = {"user": user, "reason": REASON, "actor": None, "at": AT}
        outcomes = race(*[lambda: erasure.erase_user(**args)] * 4)
        assert outcomes == ["NoneType"] * 4
        assert Erasure.objects.count() == 1
        assert AuditEvent.objects.filter(action="accounts.user.erased").count() == 1


@pytest.mark.django_db
class TestTheList:
    def test_gets_a_line_once(self, settings):
        user = UserFactory()
        identity = user.identity
        erased(user)
        assert (list_erasures(at=AT), list_erasures(at=AT)) == (1, 0)
        [line] = settings.ERASURE_LIST_FILE.read_text().splitlines()
        assert json.loads(line) == {
            "user_id": user.pk,
            "identity": str(identity),
            "erased_at": "2026-11-20T12:00:00+00:00",
        }

    def test_is_replayed_on_a_restored_database(self, settings):
        wallet = wallet_with_credits(purchase=10, at=AT)
        user = wallet.user
        settings.ERASURE_LIST_FILE.parent.mkdir()
        lines = [
            {"user_id": user.pk, "identity": str(user.identity)},
            {"user_id": 999_999, "identity": str(user.identity)},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        settings.ERASURE_LIST_FILE.write_text(text + '{"user_id": 1, "iden')
        out = StringIO()
        call_command("replay_erasures", stdout=out)
        assert out.getvalue() == "1 of 2 users were erased again.\n"
        assert User.objects.get(pk=user.pk).email.endswith("@erased.invalid")
        assert balances_of(wallet, AT)["purchase"] == 0
        out = StringIO()
        call_command("replay_erasures", stdout=out)
        assert out.getvalue() == "0 of 2 users were erased again.\n"

    def test_erases_nobody_else_with_the_same_number(self):
        one, other = UserFactory(), UserFactory()
        with pytest.raises(Conflict, match="somebody else"):
            replay_erasure(user_id=one.pk, identity=other.identity, at=AT)

    def test_says_whom_it_could_not_erase(self, settings):
        staff = StaffFactory()
        settings.ERASURE_LIST_FILE.parent.mkdir()
        line = json.dumps({"user_id": staff.pk, "identity": str(staff.identity)})
        settings.ERASURE_LIST_FILE.write_text(line + "\n")
        with pytest.raises(CommandError, match="1 users are not erased"):
            call_command("replay_erasures", stdout=StringIO(), stderr=StringIO())


@pytest.mark.django_db
class TestPage:
    def page(self, user: User) -> str:
        return f"/admin/accounts/user/{user.pk}/erase/"

    def posted(self, user: User, **fields: str) -> dict[str, str]:
        return {
            "confirmed": "yes",
            "reason": REASON,
            "confirmation": f"ERASE {user.email}",
            "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            **fields,
        }

    def test_shows_what_goes_and_what_stays(self):
        wallet = wallet_with_credits(purchase=300, at=AT)
        shown = as_role("Admin").get(self.page(wallet.user)).content.decode()
        assert "Forfeit 300 purchased credits" in shown
        assert "Kept: A row without a name" in shown

    def test_asks_a_second_person_once(self):
        wallet = wallet_with_credits(purchase=300, at=AT)
        user, admin = wallet.user, as_role("Admin")
        agreed = self.posted(user, forfeit_purchased_300="on")
        admin.post(self.page(user), self.posted(user))
        admin.post(self.page(user), agreed | {"confirmation": "ERASE"})
        admin.post(self.page(user), agreed | {"forfeit_purchased_299": "on"})
        for _ in range(2):
            admin.post(self.page(user), agreed)
        [approval] = user.approvals_about.all()
        assert approval.payload == {"user_id": user.pk, "decided": {"forfeit_purchased": 300}}

    def test_is_for_admin(self):
        user = UserFactory()
        assert [
            group
            for group in ["Admin", "Auditor", "Finance", "Support"]
            if as_role(group).get(self.page(user)).status_code == 200
        ] == ["Admin"]

    def test_is_not_offered_twice(self):
        tomb = erased(UserFactory())
        assert as_role("Admin").get(self.page(tomb)).status_code == 302
