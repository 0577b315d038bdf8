"""Large adjustments over the API: 202, decided over the API, answered when they are sent again."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.choices import StaffGroup
from accounts.models import Approval
from accounts.tests.factories import StaffFactory
from audit.models import AuditEvent
from ledger.models import CreditTransaction
from ledger.tests.api import as_service, as_user, figures_of, poor_user, refused, wrong_fields

ADD, REMOVE, APPROVALS = "admin/credits/add", "admin/credits/remove", "admin/approvals"
NOTE = {"note": "looks right"}


@pytest.fixture
def user(db):
    return poor_user(email="bob@example.com")


@pytest.fixture
def maker(db):
    return StaffFactory(groups=StaffGroup.FINANCE)


@pytest.fixture
def checker(db):
    return StaffFactory(groups=StaffGroup.FINANCE)


def about(user, amount=250_000, **more):
    return {"user_id": user.pk, "reason": "Goodwill", "amount": amount, **more}


def asked(maker, user, key="k"):
    """Ask for 250,000 credits and return the approval's path."""
    approval = as_user(maker).post(ADD, about(user), key=key).json()["approval"]
    return f"{APPROVALS}/{approval['id']}"


@pytest.mark.django_db
class TestAsking:
    def test_answers_that_it_waits_and_the_same_again(self, user, maker):
        caller = as_user(maker)
        first = caller.post(ADD, about(user), key="k")
        approval = Approval.objects.get()
        assert first.status_code == 202
        assert first.json() == {
            "approval": {
                "id": str(approval.public_id),
                "kind": "ledger.add_credits",
                "status": "waiting",
                "expires_at": approval.expires_at.isoformat().replace("+00:00", "Z"),
            }
        }
        again = caller.post(ADD, about(user), key="k")
        assert (again.status_code, again.json()) == (202, first.json())
        assert figures_of(user) == (0, 0, 0, 0, 0)

    def test_answers_the_transaction_again_once_it_is_executed(self, user, maker, checker):
        path = asked(maker, user)
        ended = as_user(checker).post(f"{path}/approve", NOTE).json()
        again = as_user(maker).post(ADD, about(user), key="k")
        assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
        assert ended["result"] == {"transactions": [again.json()["transaction"]["id"]]}
        assert again.json()["transaction"]["amount"] == 250_000
        assert again.json()["balance"]["awards"] == 250_000
        assert CreditTransaction.objects.count() == 1

    def test_answers_that_it_was_refused(self, user, maker, checker):
        path = asked(maker, user)
        as_user(checker).post(f"{path}/refuse", NOTE)
        response = as_user(maker).post(ADD, about(user), key="k")
        assert refused(response) == (409, "approval_ended")
        assert response.json()["approval"] == {"id": path.split("/")[-1], "status": "refused"}

    def test_refuses_the_key_of_what_waits_for_another_request(self, user, maker):
        asked(maker, user)
        response = as_user(maker).post(ADD, about(user, 5), key="k")
        assert refused(response) == (422, "idempotency_key_reused")

    def test_lets_the_books_refuse_first(self, user, maker):
        response = as_user(maker).post(REMOVE, about(user))
        assert refused(response) == (402, "insufficient_credits")
        assert Approval.objects.count() == 0

    def test_is_asked_by_the_owner_of_a_service_key(self, user, maker, checker):
        service = as_service("credits:admin", owner=maker)
        response = service.post(ADD, about(user), key="k")
        approval = Approval.objects.get()
        assert (response.status_code, approval.maker) == (202, maker)
        assert approval.caller.startswith("key:")
        path = f"{APPROVALS}/{approval.public_id}"
        assert refused(as_user(maker).post(f"{path}/approve", NOTE)) == (403, "own_request")
        assert as_user(checker).post(f"{path}/approve", NOTE).json()["status"] == "executed"
        assert service.post(ADD, about(user), key="k").status_code == 200


@pytest.mark.django_db
class TestDeciding:
    def test_approves_and_shows_what_came_of_it(self, user, maker, checker):
        path = asked(maker, user)
        waiting = as_user(checker).get(path).json()
        assert waiting["sentence"] == "Add 250,000 award credits to bob@example.com"
        assert waiting["payload"] == Approval.objects.get().payload
        assert waiting["maker"] == {"id": maker.pk, "email": maker.email}
        assert (waiting["status"], waiting["checker"], waiting["result"]) == ("waiting", None, None)
        ended = as_user(checker).post(f"{path}/approve", NOTE)
        assert ended.status_code == 200
        assert (ended.json()["status"], ended.json()["note"]) == ("executed", "looks right")
        assert ended.json()["checker"] == {"id": checker.pk, "email": checker.email}
        assert figures_of(user)[0] == 250_000
        assert as_user(maker).get(path).json() == ended.json()

    def test_shows_why_it_failed(self, user, maker, checker):
        path = asked(maker, user)
        as_user(checker).post(ADD, about(user, 90_000), key="one")
        other = as_user(maker).post(ADD, about(user, 800_000)).json()["approval"]["id"]
        as_user(checker).post(f"{APPROVALS}/{other}/approve", NOTE)
        ended = as_user(checker).post(f"{path}/approve", NOTE).json()
        assert (ended["status"], ended["result"]) == ("failed", None)
        assert ended["error"] == "Staff may bring a balance to 1,000,000 credits at the most."
        assert figures_of(user)[0] == 890_000

    def test_refuses_and_withdraws(self, user, maker, checker):
        one, other = asked(maker, user, "1"), asked(maker, user, "2")
        assert as_user(checker).post(f"{one}/refuse", NOTE).json()["status"] == "refused"
        assert as_user(maker).post(f"{other}/withdraw", NOTE).json()["status"] == "withdrawn"
        for path in (one, other):
            response = as_user(checker).post(f"{path}/approve", NOTE)
            assert refused(response) == (409, "approval_not_waiting")
        assert figures_of(user)[0] == 0

    def test_keeps_the_maker_out_and_records_it(self, user, maker):
        path = asked(maker, user)
        for act in ("approve", "refuse"):
            assert refused(as_user(maker).post(f"{path}/{act}", NOTE)) == (403, "own_request")
        assert AuditEvent.objects.filter(action="accounts.approval.denied").count() == 2

    def test_keeps_the_owner_of_the_wallet_out(self, maker):
        owner = StaffFactory(groups=StaffGroup.ADMIN)
        path = asked(maker, owner)
        assert refused(as_user(owner).post(f"{path}/approve", NOTE)) == (403, "own_wallet")

    def test_lets_nobody_else_withdraw(self, user, maker, checker):
        path = asked(maker, user)
        assert refused(as_user(checker).post(f"{path}/withdraw", NOTE)) == (403, "not_your_request")

    @pytest.mark.parametrize("act", ["approve", "refuse", "withdraw"])
    def test_needs_a_note_and_nothing_else(self, user, maker, checker, act):
        path = asked(maker, user)
        assert wrong_fields(as_user(checker).post(f"{path}/{act}", {})) == ["note"]
        assert wrong_fields(as_user(checker).post(f"{path}/{act}", {**NOTE, "payload": {}})) == [
            "payload"
        ]

    def test_does_not_find_what_is_not_there(self, checker):
        path = f"{APPROVALS}/{uuid.uuid4()}"
        assert refused(as_user(checker).get(path)) == (404, "not_found")
        assert refused(as_user(checker).post(f"{path}/approve", NOTE)) == (404, "not_found")

    @pytest.mark.parametrize("act", ["approve", "refuse"])
    def test_takes_a_sign_in_of_the_last_minutes(self, user, maker, checker, act, time_machine):
        path, caller = asked(maker, user), as_user(checker)
        time_machine.move_to(timezone.now() + timedelta(seconds=302))
        assert refused(caller.post(f"{path}/{act}", NOTE)) == (403, "recent_sign_in_required")
        assert as_user(checker).post(f"{path}/{act}", NOTE).status_code == 200


@pytest.mark.django_db
class TestListing:
    def ids(self, caller, **query):
        return [row["id"] for row in caller.get(APPROVALS, query).json()["results"]]

    def test_filters_by_status_and_by_whose(self, user, maker, checker):
        one = asked(maker, user, "1").split("/")[-1]
        other = asked(checker, user, "2").split("/")[-1]
        caller = as_user(checker)
        caller.post(f"{APPROVALS}/{one}/refuse", NOTE)
        third = asked(maker, user, "3").split("/")[-1]
        assert self.ids(caller) == [third, other, one]
        assert self.ids(caller, status="refused") == [one]
        assert self.ids(caller, mine="asked") == [other]
        assert self.ids(caller, mine="to_decide") == [third]
        assert self.ids(caller, mine="to_decide", status="refused") == []
        assert refused(caller.get(APPROVALS, {"mine": "yes"}))[0] == 400

    def test_counts_what_is_late_among_the_expired(self, user, maker, checker, time_machine):
        path = asked(maker, user)
        time_machine.move_to(timezone.now() + timedelta(days=8))
        caller = as_user(checker)
        assert self.ids(caller, status="waiting") == self.ids(caller, mine="to_decide") == []
        assert self.ids(caller, status="expired") == [path.split("/")[-1]]
        assert caller.get(path).json()["status"] == "expired"

    def test_costs_the_same_for_one_and_three(self, user, maker, django_assert_num_queries):
        caller = as_user(maker)
        for key in ("1", "23"):
            for each in key:
                asked(maker, user, each)
            with django_assert_num_queries(3):
                caller.get(APPROVALS)

    @pytest.mark.parametrize("group", ["Auditor", "Admin"])
    def test_is_for_the_auditor_too(self, user, maker, group):
        path = asked(maker, user)
        caller = as_user(StaffFactory(groups=group))
        assert len(self.ids(caller)) == 1
        assert caller.get(path).status_code == 200

    def test_is_for_no_service_and_nobody_else(self, user, maker):
        path = asked(maker, user)
        service = as_service(owner=StaffFactory())
        support = as_user(StaffFactory(groups="Support"))
        for caller in (service, support, as_user(user)):
            assert refused(caller.get(APPROVALS)) == (403, "not_permitted")
            for act in ("approve", "refuse", "withdraw"):
                assert refused(caller.post(f"{path}/{act}", NOTE, key="k"))[0] == 403
        auditor = as_user(StaffFactory(groups="Auditor"))
        assert refused(auditor.post(f"{path}/approve", NOTE)) == (403, "not_permitted")
