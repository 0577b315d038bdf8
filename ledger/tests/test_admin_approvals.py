"""Approvals in the admin: what waits for whom, deciding on it, and asking for it."""

import pytest

from accounts.models import Approval, User
from accounts.services.approvals import withdraw
from audit.models import AuditEvent
from creditsite.testing.people import as_role
from ledger.models import Wallet
from ledger.tests.factories import (
    AT,
    CustomerFactory,
    asked_credits,
    spend,
    wallet_with_credits,
)
from ledger.tests.pages import REASON, errors, opened, page_of, resent, said, sent, text

LIST = "/admin/accounts/approval/"


@pytest.fixture
def finance(db):
    return as_role("Finance")


@pytest.fixture
def wallet(db):
    return wallet_with_credits(CustomerFactory(email="bob@example.com"), award=350_000)


@pytest.fixture
def approval(wallet):
    return asked_credits(wallet, 250_000)


def offered(client, approval):
    context = client.get(page_of(approval)).context
    return [act["name"] for act in context["page_actions"]]


def sentences(client, whose=""):
    response = client.get(LIST, {"whose": whose} if whose else {})
    return [approval.sentence for approval in response.context["cl"].result_list]


@pytest.mark.django_db
class TestAsking:
    def typed(self, act):
        return {
            "add": {"credit_type": "award", "amount": "250000"},
            "remove": {"credit_type": "", "amount": "250000"},
            "set": {"award": "100000"},
        }[act]

    @pytest.mark.parametrize("act", ["add", "remove", "set"])
    def test_says_that_it_waits_and_where(self, finance, wallet, act):
        page = page_of(wallet, act)
        response = sent(finance, page, **self.typed(act), confirmation="MOVE 250000")
        approval = Approval.objects.get()
        (message,) = said(response)
        assert message.startswith("It waits for a second person")
        assert f'href="{page_of(approval)}"' in message
        assert Wallet.objects.get(pk=wallet.pk).award == 350_000
        assert (approval.maker, approval.reason) == (finance.user, REASON)

    def test_asks_once_for_a_page_sent_twice(self, finance, wallet):
        page = page_of(wallet, "add")
        typed = opened(finance, page) | self.typed("add") | {"confirmation": "MOVE 250000"}
        for _ in range(2):
            resent(finance, page, typed)
        assert Approval.objects.count() == 1

    def test_waits_to_reverse_a_large_transaction(self, finance, wallet):
        spent = spend(wallet, 250_000)
        url = f"/admin/ledger/credittransaction/{spent.transaction_id}/reverse/"
        response = sent(finance, url, confirmation="REVERSE 2")
        assert said(response)[0].startswith("It waits for a second person")
        assert Approval.objects.get().kind == "ledger.reverse_transaction"


@pytest.mark.django_db
class TestTheList:
    def test_shows_first_what_waits_for_me(self, finance, wallet):
        theirs = asked_credits(wallet, 250_000)
        own = asked_credits(wallet, actor=finance.user)
        withdraw(
            approval=asked_credits(wallet, 100_002), maker=User.objects.latest("pk"), note="", at=AT
        )
        assert sentences(finance) == sentences(finance, "waiting") == []  # asked in a past June
        assert sentences(finance, "asked") == [own.sentence]
        assert len(sentences(finance, "all")) == 3
        assert theirs.sentence in sentences(finance, "all")

    def test_counts_what_waits_beside_its_entry_of_the_menu(self, finance, wallet, time_machine):
        time_machine.move_to(AT)
        asked_credits(wallet, 250_000)
        asked_credits(wallet, 250_000, actor=finance.user)
        assert sentences(finance) == ["Add 250,000 award credits to bob@example.com"]
        menu = finance.get("/admin/").context["sidebar_navigation"]
        badges = {item["title"]: item["badge"] for group in menu for item in group["items"]}
        assert badges["Approvals"] == 1
        assert not any(badges[title] for title in badges if title != "Approvals")

    def test_shows_all_to_the_auditor(self, approval):
        assert sentences(as_role("Auditor")) == [approval.sentence]

    def test_costs_the_same_for_one_and_three(self, finance, wallet, django_assert_num_queries):
        for more in (1, 2):
            for _ in range(more):
                asked_credits(wallet, 250_000)
            with django_assert_num_queries(6):
                finance.get(LIST, {"whose": "all"})

    def test_is_closed_to_support(self, approval):
        support = as_role("Support")
        for url in (LIST, page_of(approval), page_of(approval, "approve")):
            assert support.get(url).status_code == 403


@pytest.mark.django_db
class TestDeciding:
    @pytest.fixture(autouse=True)
    def june(self, time_machine):
        time_machine.move_to(AT)

    def test_offers_what_fits_who_looks(self, finance, wallet):
        own, theirs = asked_credits(wallet, actor=finance.user), asked_credits(wallet)
        assert offered(finance, own) == ["withdraw"]
        assert offered(finance, theirs) == ["approve", "refuse"]
        assert "Nobody decides on what they asked for" in text(finance.get(page_of(own)))
        assert offered(as_role("Auditor"), theirs) == []

    def test_offers_nothing_about_a_wallet_of_ones_own(self, finance):
        approval = asked_credits(wallet_with_credits(finance.user))
        assert offered(finance, approval) == []
        assert "wallet of theirs" in text(finance.get(page_of(approval)))

    def test_shows_what_will_be_done_and_the_present_state(self, finance, approval, wallet):
        spend(wallet, 7)
        for page in ("change", "approve"):
            shown = text(finance.get(page_of(approval, page)))
            assert "Add 250,000 award credits to bob@example.com" in shown
            assert "bob@example.com has now: award 349,993" in shown
            assert "the customer asked" in shown

    def test_approves(self, finance, approval, wallet):
        response = sent(finance, page_of(approval, "approve"))
        assert said(response) == [
            "Approved, and done: Add 250,000 award credits to bob@example.com"
        ]
        approval.refresh_from_db()
        assert (approval.status, approval.checker, approval.note) == (
            "executed",
            finance.user,
            REASON,
        )
        assert Wallet.objects.get(pk=wallet.pk).award == 600_000
        assert offered(finance, approval) == []

    def test_says_why_the_books_refused(self, finance, wallet):
        approval = asked_credits(wallet, 650_000)
        wallet_with_credits(wallet.user, award=1)
        response = sent(finance, page_of(approval, "approve"))
        assert said(response) == [
            "Approved, but refused when it was tried:"
            " Staff may bring a balance to 1,000,000 credits at the most."
        ]

    def test_says_that_the_maker_may_no_longer(self, finance, approval):
        approval.maker.groups.clear()
        response = sent(finance, page_of(approval, "approve"))
        assert said(response) == ["Refused: Who asked for it may no longer do this."]

    def test_refuses_and_withdraws(self, finance, wallet):
        theirs, own = asked_credits(wallet), asked_credits(wallet, actor=finance.user)
        assert said(sent(finance, page_of(theirs, "refuse")))[0].startswith("Refused: Add")
        assert said(sent(finance, page_of(own, "withdraw")))[0].startswith("Withdrawn: Add")
        assert Wallet.objects.get(pk=wallet.pk).award == 350_000

    def test_keeps_on_record_who_was_not_let(self, finance, wallet):
        approval = asked_credits(wallet, actor=finance.user)
        response = sent(finance, page_of(approval, "approve"))
        assert errors(response) == ["Nobody decides on what they asked for themselves."]
        denied = AuditEvent.objects.get(action="accounts.approval.denied")
        assert (denied.actor_id, denied.approval_id) == (finance.user.pk, approval.pk)

    def test_asks_why(self, finance, approval):
        response = sent(finance, page_of(approval, "approve"), reason=" ")
        assert errors(response)
        approval.refresh_from_db()
        assert approval.status == "waiting"

    def test_is_no_page_once_it_has_ended(self, finance, approval):
        sent(finance, page_of(approval, "refuse"))
        response = finance.get(page_of(approval, "approve"), follow=True)
        assert said(response) == ["That is not possible here, or no longer."]

    def test_asks_who_it_is_after_five_minutes(self, finance, approval, time_machine):
        time_machine.shift(301)
        response = finance.get(page_of(approval, "approve"))
        assert (response.status_code, "reauthenticate" in response["Location"]) == (302, True)
