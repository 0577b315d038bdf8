"""Working the queue: taking, giving to colleagues, writing."""

from datetime import timedelta

import pytest

from accounts.models import User
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import InvalidRequest, NotPermitted
from creditsite.testing.races import race
from disputes import errors
from disputes.models import Dispute
from disputes.queries.queue import ORDER, queue
from disputes.queries.timeline import timeline_of
from disputes.services.digest import tell_staff
from disputes.services.messages import MOST_REPLIES, add_note, write_to_staff, write_to_user
from disputes.services.review import assign_dispute
from disputes.tests.factories import (
    appeal,
    disputed,
    now,
    resolve,
    review,
    reviewed,
    states,
    support,
)
from ledger.errors import OwnWallet
from ledger.tests.factories import AT, DAY, HOUR, finance, wallet_with_credits

pytestmark = pytest.mark.django_db


def assign(dispute: Dispute, assignee: User | None, actor: User | None = None, **more):
    return assign_dispute(
        dispute=dispute, assignee=assignee, actor=actor or support(), at=AT + DAY, **more
    )


class TestReviewDispute:
    @pytest.mark.parametrize("group", ["Support", "Finance", "Admin"])
    def test_takes_it(self, group, mailoutbox):
        dispute, actor = disputed(), StaffFactory(groups=group)
        review(dispute, actor)
        assert states(dispute) == ("under_review", 1, 2)
        assert now(dispute).assignee == actor
        taken, note = dispute.events.order_by("id")[1:]
        assert (taken.kind, taken.is_internal, taken.text) == ("taken", False, "")
        assert (note.kind, note.is_internal, note.text) == ("note", True, "I take it.")
        event = AuditEvent.objects.get(action="disputes.dispute.reviewed")
        assert (event.reason, event.before, event.after) == (
            "I take it.",
            {"status": "pending"},
            {"status": "under_review", "assignee": actor.pk},
        )
        assert mailoutbox[-1].subject == "We are looking into your dispute"

    def test_is_not_for_others(self):
        dispute = disputed()
        root = User.objects.create_superuser("root@example.com")
        for actor in [UserFactory(), StaffFactory(groups="Auditor"), root]:
            with pytest.raises(NotPermitted):
                review(dispute, actor)
        assert states(dispute) == ("pending", 1, 1)

    def test_is_not_for_whose_own_it_is(self):
        actor = finance()
        dispute = disputed(wallet=wallet_with_credits(actor, award=100))
        with pytest.raises(OwnWallet):
            review(dispute, actor)

    def test_is_once(self):
        dispute = reviewed()
        with pytest.raises(errors.DisputeNotInState):
            review(dispute)

    def test_names_the_version_that_was_shown(self):
        dispute = disputed()
        assign(dispute, support())
        with pytest.raises(errors.DisputeChanged):
            review(dispute, version=1)
        assert review(dispute, version=2).version == 3

    def test_gives_it_to_a_colleague_who_hears_of_it(self, mailoutbox):
        colleague = support()
        dispute = review(disputed(), assignee=colleague)
        assert now(dispute).assignee == colleague
        assert mailoutbox[-1].to == [colleague.email]

    def test_of_an_appeal_is_for_somebody_else(self):
        first, dispute = finance(), reviewed()
        resolve(dispute, "rejected", actor=first)
        appeal(dispute)
        with pytest.raises(errors.SameReviewer):
            review(dispute, first)
        with pytest.raises(errors.CannotReview):
            review(dispute, assignee=first)
        assert review(dispute, first, assignee=finance()).status == "under_review"


class TestAssignDispute:
    def test_gives_and_takes_away(self):
        dispute, colleague = disputed(), support()
        assign(dispute, colleague)
        assert (states(dispute), now(dispute).assignee) == (("pending", 1, 2), colleague)
        assign(dispute, None)
        assert now(dispute).assignee is None
        assert AuditEvent.objects.filter(action="disputes.dispute.assigned").count() == 2

    def test_is_to_staff_who_review_and_whose_own_it_is_not(self):
        dispute = disputed()
        inactive = support(is_active=False)
        for assignee in [UserFactory(), StaffFactory(groups="Auditor"), inactive]:
            with pytest.raises(errors.CannotReview):
                assign(dispute, assignee)
        own = finance()
        with pytest.raises(errors.CannotReview):
            assign(disputed(wallet=wallet_with_credits(own, award=100)), own)

    def test_is_of_what_is_open(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        with pytest.raises(errors.DisputeNotInState):
            assign(dispute, support())


class TestMessages:
    def test_of_staff_reach_the_user_and_notes_do_not(self, mailoutbox):
        dispute, actor = disputed(), support()
        mailoutbox.clear()
        add_note(dispute=dispute, text="Ask the team of the model.", actor=actor, at=AT)
        assert mailoutbox == []
        write_to_user(dispute=dispute, text="Which job was it?", actor=actor, at=AT)
        assert "Which job was it?" in mailoutbox[0].body
        told = [event.text for event in timeline_of(dispute, with_internal=False)]
        assert told == ["", "Which job was it?"]
        everything = [event.text for event in timeline_of(dispute, with_internal=True)]
        assert everything == ["", "Ask the team of the model.", "Which job was it?"]
        assert states(dispute) == ("pending", 1, 1)
        recorded = AuditEvent.objects.filter(target_id=str(dispute.pk)).order_by("pk")
        assert [event.action for event in recorded] == [
            "disputes.note.written",
            "disputes.message.written",
        ]

    def test_of_the_user_reach_whom_it_is_assigned_to(self, mailoutbox):
        actor = support()
        dispute = review(disputed(), actor)
        write_to_staff(dispute=dispute, text="Job 7.", actor=dispute.opened_by, at=AT)
        assert mailoutbox[-1].to == [actor.email]

    def test_of_the_user_are_so_many(self):
        dispute = disputed()
        for _ in range(MOST_REPLIES):
            write_to_staff(dispute=dispute, text="Well?", actor=dispute.opened_by, at=AT)
        with pytest.raises(errors.TooManyMessages):
            write_to_staff(dispute=dispute, text="Well?", actor=dispute.opened_by, at=AT)

    def test_of_the_user_end_with_the_decision(self):
        dispute = reviewed()
        resolve(dispute, "rejected")
        with pytest.raises(errors.DisputeNotInState):
            write_to_staff(dispute=dispute, text="No!", actor=dispute.opened_by, at=AT)

    def test_are_not_for_strangers_nor_for_whose_own_it_is(self):
        own = finance()
        dispute = disputed(wallet=wallet_with_credits(own, award=100))
        with pytest.raises(errors.DisputeNotFound):
            write_to_staff(dispute=dispute, text="Hello", actor=UserFactory(), at=AT)
        for write in (add_note, write_to_user):
            with pytest.raises(OwnWallet):
                write(dispute=dispute, text="Hello", actor=own, at=AT)
            with pytest.raises(NotPermitted):
                write(dispute=dispute, text="Hello", actor=StaffFactory(groups="Auditor"), at=AT)
            with pytest.raises(InvalidRequest):
                write(dispute=dispute, text="", actor=support(), at=AT)


class TestTheQueue:
    def test_has_what_is_open_and_most_urgent_first(self):
        late = disputed(at=AT + HOUR)
        soon = review(disputed(at=AT + 3 * HOUR))
        new = disputed(at=AT + 2 * HOUR)
        ended = reviewed()
        resolve(ended, "rejected")
        at = late.due_at

        def found(**more):
            return list(queue(at=at, **more).order_by(*ORDER))

        assert found() == [late, new, soon]
        assert found(overdue=True) == [late]
        assert found(overdue=False) == [new, soon]
        assert found(status="resolved") == []
        assert found(status="rejected") == [ended]
        assert found(assignee=now(soon).assignee) == [soon]


class TestTheDigest:
    def test_tells_of_each_once_when_new_and_once_when_overdue(self, mailoutbox):
        actors = [support(), finance()]
        StaffFactory(groups="Auditor")
        first, second = disputed(), disputed(at=AT + 5 * HOUR)
        mailoutbox.clear()
        assert tell_staff(at=second.submitted_at) == 2
        assert tell_staff(at=second.submitted_at) == 0
        assert sorted(email.to[0] for email in mailoutbox) == sorted(a.email for a in actors)
        assert "New: 2\nNow overdue: 0\nOpen in all: 2" in mailoutbox[0].body
        mailoutbox.clear()
        assert tell_staff(at=first.due_at) == 1
        assert "New: 0\nNow overdue: 1\nOpen in all: 2" in mailoutbox[0].body
        assert tell_staff(at=first.due_at + timedelta(minutes=15)) == 0

    def test_tells_of_an_appeal_anew(self):
        dispute = reviewed()
        tell_staff(at=AT + HOUR)
        resolve(dispute, "rejected")
        appeal(dispute)
        assert tell_staff(at=AT + 9 * DAY) == 2

    def test_by_many_at_once_tells_once(self, ledger_db, mailoutbox):
        support()
        for _ in range(3):
            disputed()
        mailoutbox.clear()
        assert race(*[lambda: tell_staff(at=AT + DAY)] * 5) == ["int"] * 5
        told = [int(email.body.partition("New: ")[2].split("\n")[0]) for email in mailoutbox]
        assert sum(told) == 3
