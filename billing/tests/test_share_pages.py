"""The pages of revenue share: of staff, and of who earns."""

from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import Approval
from accounts.tests.factories import StaffFactory
from billing.models import ShareLine, SharePayout, ShareStatement, ShareTerm
from billing.tests.shares import (
    AFTER,
    IN_JANUARY,
    agent,
    earned_in_january,
    make_months,
    owned_feature,
    partner,
    pay,
    use,
)
from creditsite.testing.people import sign_in_now
from ledger.tests.books import START, buy, new_wallet
from ledger.tests.factories import (
    DAY,
    CustomerFactory,
    finance,
    priced_feature,
    set_credit_settings,
)
from ledger.tests.pages import errors, page_of, recorded, said, sent, text

pytestmark = pytest.mark.django_db
STATEMENTS = "/admin/billing/sharestatement/"
TERMS = "/admin/billing/shareterm/"
EARNINGS = "/billing/earnings/"


@pytest.fixture(autouse=True)
def ten_and_twenty_percent(db: None) -> None:
    set_credit_settings(
        agent_revenue_share=Decimal(10), partner_revenue_share=Decimal(20), changed_at=START - DAY
    )


def signed_in(group: str = "Finance") -> Client:
    return as_user(StaffFactory(groups=group))


def as_user(user: object) -> Client:
    client = Client()
    client.force_login(user)
    sign_in_now(client, user)
    return client


def partner_statement() -> ShareStatement:
    owner, wallet = partner(), new_wallet()
    owned_feature(owner)
    buy(wallet, 100, 1_000)
    use(wallet, 30, IN_JANUARY, feature="report")
    make_months(AFTER)
    return ShareStatement.objects.get(payee=owner)


class TestStatements:
    def test_list_says_who_earned_what(self):
        statement = earned_in_january()
        page = text(signed_in("Auditor").get(STATEMENTS))
        for words in [str(statement.payee), "2026-01", "0.80 USD", "to be paid"]:
            assert words in page

    def test_list_filters_by_state(self):
        statement, staff = earned_in_january(), signed_in()
        assert str(statement.payee) in text(staff.get(STATEMENTS, {"state": "open"}))
        assert str(statement.payee) not in text(staff.get(STATEMENTS, {"state": "paid"}))
        pay(statement)
        assert str(statement.payee) in text(staff.get(STATEMENTS, {"state": "paid"}))
        assert str(statement.payee) not in text(staff.get(STATEMENTS, {"state": "forward"}))

    def test_list_asks_as_much_for_three_as_for_one(self, django_assert_max_num_queries):
        staff, referrers = signed_in(), [agent() for _ in range(3)]
        earned_in_january(80, referrers[0])
        staff.get(STATEMENTS)
        with django_assert_max_num_queries(14) as one:
            staff.get(STATEMENTS)
        for month, referrer in enumerate(referrers, 7):
            ShareStatement.objects.create(
                payee=referrer,
                kind="agent",
                currency="eur",
                month=f"2026-0{month}-01",
                opening_minor=0,
                earned_minor=5,
                made_at=AFTER,
            )
        with django_assert_max_num_queries(len(one)):
            staff.get(STATEMENTS)

    def test_page_of_an_agent_says_where_it_comes_from_and_how_it_ties(self):
        statement = earned_in_january()
        page = text(signed_in().get(page_of(statement)))
        for words in [
            str(ShareLine.objects.get().user),
            "8.00 USD",
            "10 %",
            "Recognised by use, as the report says",
            "Mark as paid out…",
        ]:
            assert words in page

    def test_page_of_a_partner_names_the_feature(self):
        page = text(signed_in("Auditor").get(page_of(partner_statement())))
        assert "report" in page
        assert "0.60 USD" in page
        assert "Mark as paid out…" not in page

    def test_are_not_for_support(self):
        statement, support = earned_in_january(), signed_in("Support")
        assert support.get(STATEMENTS).status_code == 403
        assert support.get(page_of(statement)).status_code == 403


class TestPay:
    def test_marks_it_once(self):
        statement, staff = earned_in_january(), signed_in()
        answer = sent(staff, page_of(statement, "pay"), reference="TR-1", paid_on="2026-02-05")
        assert said(answer) == [f"0.80 USD are marked as paid out to {statement.payee}."]
        assert recorded() == [("billing.share.paid", "asked for by the customer")]
        assert "TR-1" in text(staff.get(page_of(statement)))
        again = staff.get(page_of(statement, "pay"), follow=True)
        assert said(again) == ["That is not possible here, or no longer."]

    def test_says_what_is_wrong(self):
        statement, staff = earned_in_january(), signed_in()
        wrong = sent(staff, page_of(statement, "pay"), reference="two words", paid_on="2999-01-01")
        assert errors(wrong) == ["Up to 40 letters, digits and . _ : / + -, without spaces."]
        late = sent(staff, page_of(statement, "pay"), reference="TR-1", paid_on="2999-01-01")
        assert errors(late) == ["That day is still to come."]
        assert not SharePayout.objects.exists()

    def test_of_much_asks_for_a_phrase_and_a_second_person(self):
        statement, staff = earned_in_january(10_001 * 100), signed_in()
        typed = {"reference": "TR-1", "paid_on": "2026-02-05"}
        address = page_of(statement, "pay")
        assert "It waits for a second person." in text(staff.get(address))
        wrong = sent(staff, address, **typed, confirmation="PAID")
        assert errors(wrong) == ["That is not what is to be typed."]
        sent(staff, address, **typed, confirmation="PAID 10,001.00 USD")
        assert Approval.objects.get().kind == "billing.pay_share"
        assert not SharePayout.objects.exists()

    def test_is_not_for_auditors_nor_for_who_earned_it(self):
        earner = finance(is_agent=True, date_joined=START)
        statement = earned_in_january(80, earner)
        assert signed_in("Auditor").get(page_of(statement, "pay")).status_code == 403
        refused = sent(
            as_user(earner), page_of(statement, "pay"), reference="TR-1", paid_on="2026-02-05"
        )
        assert errors(refused) == ["Nobody decides about what they earn themselves."]


class TestFiles:
    def test_of_a_statement(self):
        statement = earned_in_january()
        answer = signed_in("Auditor").get(f"{STATEMENTS}{statement.pk}/export/")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert b"".join(answer.streaming_content).count(b"\n") == 4
        assert signed_in("Support").get(f"{STATEMENTS}{statement.pk}/export/").status_code == 403

    def test_of_a_period(self):
        earned_in_january()
        staff, address = signed_in(), f"{STATEMENTS}export-month/"
        answer = sent(staff, address, first="2026-01", last="2026-05")
        assert answer["Content-Disposition"] == (
            'attachment; filename="revenue-share-2026-01-2026-05.csv"'
        )
        assert b"carried forward" in b"".join(answer.streaming_content)
        wrong = sent(staff, address, first="2026-05", last="2026-01")
        assert errors(wrong) == ["It comes before the first."]


class TestTerms:
    def test_assign_and_end(self):
        owner, feature, staff = partner(), priced_feature("report", 1), signed_in()
        answer = sent(staff, f"{TERMS}add/", feature=feature.pk, partner=owner.email.upper())
        assert said(answer) == [f"{owner} owns report from now on."]
        term = ShareTerm.objects.get()
        assert "on report, by others" in text(staff.get(TERMS))
        assert str(owner) in text(staff.get(page_of(term)))
        assert said(sent(staff, page_of(term, "end"))) == ["Nobody owns report any more."]
        term.refresh_from_db()
        assert term.until

    def test_asks_for_a_partner(self):
        feature, staff = priced_feature("report", 1), signed_in()
        user = CustomerFactory()
        wrong = sent(staff, f"{TERMS}add/", feature=feature.pk, partner=user.email)
        assert errors(wrong) == ["No partner has this address."]

    def test_shows_agents_whom_this_page_does_not_end(self):
        user, staff = agent(), signed_in()
        assert "by users they referred" in text(staff.get(TERMS))
        refused = staff.get(page_of(ShareTerm.objects.get(payee=user), "end"), follow=True)
        assert said(refused) == ["That is not possible here, or no longer."]

    def test_are_for_auditors_to_look_at(self):
        agent()
        auditor = signed_in("Auditor")
        assert auditor.get(TERMS).status_code == 200
        assert auditor.get(f"{TERMS}add/").status_code == 403


class TestEarnings:
    def test_shows_mine_without_saying_who_spent(self):
        statement = earned_in_january()
        mine = as_user(statement.payee)
        page = text(mine.get(EARNINGS))
        assert "January 2026" in page
        assert "to be paid" in page
        address = f"{EARNINGS}{statement.public_id}/"
        page = text(mine.get(address))
        assert "1 user you referred" in page
        assert ShareLine.objects.get().user.email not in page
        pay(statement, reference="TR-5")
        assert "reference TR-5" in text(mine.get(address))

    def test_shows_a_partner_their_features(self):
        statement = partner_statement()
        page = text(as_user(statement.payee).get(f"{EARNINGS}{statement.public_id}/"))
        assert "report" in page
        assert "3.00 USD" in page

    def test_is_nobody_elses(self):
        statement = earned_in_january()
        other = as_user(agent())
        assert other.get(f"{EARNINGS}{statement.public_id}/").status_code == 404
        assert "Nothing yet." in text(other.get(EARNINGS))
        assert Client().get(EARNINGS).status_code == 302

    def test_is_in_the_menu_of_who_may_earn(self):
        assert EARNINGS in text(as_user(agent()).get("/billing/"))
        assert EARNINGS not in text(as_user(CustomerFactory()).get("/billing/"))
