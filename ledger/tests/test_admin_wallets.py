"""The list of users and balances, and the page that explains a wallet."""

import re
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import Role
from accounts.tests.factories import TeamFactory, UserFactory
from creditsite.testing.people import as_role
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import Grant
from ledger.queries.balances import balance_of
from ledger.queries.explanations import Line, explain
from ledger.queries.wallets import wallet_of
from ledger.services import posting
from ledger.services.adjustments import pause_wallet
from ledger.services.posting import Header
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    CustomerFactory,
    finance,
    open_hold,
    pool_of_team_admin,
    spend,
    transactions_of,
    wallet_with_credits,
)
from ledger.tests.pages import page_of, text

LIST = "/admin/ledger/wallet/"
GROUPS = ["Admin", "Finance", "Support", "Auditor"]


def owners(page):
    return [str(wallet) for wallet in page.context["cl"].result_list]


def header(kind, at=AT):
    return Header(kind=kind, at=at, caller="system", key=uuid4(), fingerprint=uuid4())


@pytest.mark.django_db
class TestWalletList:
    @pytest.mark.parametrize("group", GROUPS)
    def test_finds_a_user_by_email(self, group):
        wallet_with_credits(CustomerFactory(email="grace@example.com"), award=7)
        wallet_with_credits(CustomerFactory(email="ada@example.com"))
        client = as_role(group)
        assert owners(client.get(LIST, {"q": "grace@example.com"})) == ["grace@example.com"]
        assert owners(client.get(LIST, {"q": " GRACE@ex"})) == ["grace@example.com"]

    def test_finds_a_user_by_name_and_an_organisation_by_its_name(self):
        wallet_of(TeamFactory(name="Northwind"))
        wallet_of(CustomerFactory(email="n@example.com", name="Nora North"))
        wallet_of(CustomerFactory(email="o@example.com"))
        found = owners(as_role("Finance").get(LIST, {"q": "north"}))
        assert found == ["n@example.com", "Northwind"]

    def test_is_closed_to_staff_without_a_group(self):
        assert as_role("").get(LIST).status_code == 403

    def test_shows_the_figures_that_anyone_is_shown(self):
        wallet = wallet_with_credits(award=1_200, purchase=40, partner=5)
        wallet_with_credits(wallet.user, award=60, expires_at=AT + DAY)
        open_hold(wallet, 30, at=timezone.now())
        (row,) = as_role("Finance").get(LIST, {"q": wallet.user.email}).context["cl"].result_list
        assert (row.award, row.shown.award) == (1_260, 1_200)
        page = text(as_role("Support").get(LIST, {"q": wallet.user.email}))
        figures = re.findall(r'field-(\w+) [^>]*data-label="[^"]*">([\d,]+)<', page)
        assert figures == [
            ("awards", "1,200"),
            ("purchases", "40"),
            ("partner_credits", "5"),
            ("held", "30"),
            ("debt", "0"),
        ]

    def test_filters_by_status_role_partner_and_debt(self):
        client = as_role("Finance")
        member = CustomerFactory(email="m@example.com", role=Role.objects.get(code="recruitpro"))
        partner = CustomerFactory(email="p@example.com", is_partner=True)
        paused = wallet_of(CustomerFactory(email="s@example.com"))
        owing = wallet_of(CustomerFactory(email="d@example.com"))
        wallet_of(partner)
        pause_wallet(wallet=paused, reason="for the test", actor=finance(), at=AT)
        owe(owing)
        assert owners(client.get(LIST, {"status__exact": "paused"})) == ["s@example.com"]
        assert owners(client.get(LIST, {"user__role__id__exact": member.role_id})) == [
            "m@example.com"
        ]
        assert owners(client.get(LIST, {"partner": "yes"})) == ["p@example.com"]
        assert owners(client.get(LIST, {"debt": "yes"})) == ["d@example.com"]
        assert "d@example.com" not in owners(client.get(LIST, {"debt": "no"}))
        assert "p@example.com" not in owners(client.get(LIST, {"partner": "no"}))

    def test_costs_the_same_for_one_and_three(self, django_assert_num_queries):
        client = as_role("Finance")
        for _ in range(2):
            wallet_with_credits(award=5)
            with django_assert_num_queries(7):
                client.get(LIST)
            wallet_with_credits(purchase=5)

    def test_counts_nothing(self, django_assert_num_queries):
        client = as_role("Finance")
        with django_assert_num_queries(7) as queries:
            client.get(LIST)
        assert 'COUNT(*) AS "__count" FROM "ledger' not in "".join(
            query["sql"] for query in queries.captured_queries
        )


def owe(wallet):
    """Let ``wallet`` owe 30 of 50 purchased credits that were spent and then taken back."""
    posted = posting.post_grant(
        wallet=wallet.pk,
        amount=50,
        credit_type=CreditType.PURCHASE,
        source=GrantSource.PACKAGE,
        paid_minor=500,
        currency="usd",
        header=header(TransactionKind.PURCHASE),
    )
    spend(wallet, 30)
    posting.claw_back(
        grant=posted.grant_ids[0],
        target=50,
        returned_minor=500,
        header=header(TransactionKind.CLAWBACK),
    )


@pytest.mark.django_db
class TestExplain:
    def lines(self, wallet, at=AT):
        wallet.refresh_from_db()
        explanation = explain(wallet, at)
        balance = balance_of(wallet.pk, at)
        for credit_type, line in explanation.lines.items():
            assert line.given - line.used - line.removed - line.blocked == line.current
            assert line.current - line.held == line.available
            assert line.current == getattr(balance, credit_type)
        assert explanation.total.available == balance.available
        assert explanation.total.held == balance.held
        return explanation.lines

    def test_tells_given_used_and_held(self):
        wallet = wallet_with_credits(award=100, purchase=50)
        spend(wallet, 30)
        open_hold(wallet, 80)
        lines = self.lines(wallet)
        assert lines[CreditType.AWARD] == Line(given=100, used=30, held=70, available=0)
        assert lines[CreditType.PURCHASE] == Line(given=50, held=10, available=40)
        assert lines[CreditType.PARTNER] == Line()

    def test_tells_what_expired_before_and_after_it_is_booked(self):
        wallet = wallet_with_credits(award=100, expires_at=AT + DAY)
        spend(wallet, 30)
        open_hold(wallet, 20)
        later = AT + 2 * DAY
        assert self.lines(wallet, later)[CreditType.AWARD] == Line(
            given=100, used=30, blocked=50, held=20
        )
        posting.expire(at=later, limit=9)
        assert self.lines(wallet, later)[CreditType.AWARD] == Line(given=100, used=80, held=20)

    def test_tells_what_is_frozen_and_what_was_taken(self):
        wallet = wallet_of(CustomerFactory())
        owe(wallet)
        wallet_with_credits(wallet.user, award=10)
        frozen = Grant.objects.get(wallet=wallet, credit_type="award")
        posting.freeze(grants=[frozen.pk], frozen=True, at=AT)
        lines = self.lines(wallet)
        assert lines[CreditType.PURCHASE] == Line(given=50, used=30, removed=20)
        assert lines[CreditType.AWARD] == Line(given=10, blocked=10)
        assert explain(wallet, AT).sentences() == [
            "Of 60 credits given, 30 were used, repaid a debt or expired and 20 were taken away.",
            "10 are frozen or past their expiry and do not count.",
            "That leaves 0 available.",
            "30 are owed: the next paid purchase repays them first.",
        ]

    def test_counts_what_was_carried_over_once(self):
        wallet = wallet_with_credits(award=100, expires_at=AT + DAY)
        spent = spend(wallet, 30)
        later = AT + 2 * DAY
        posting.expire(at=later, limit=9)
        posting.restore(
            transaction=spent.transaction_id,
            header=header(TransactionKind.REVERSAL, later),
        )
        assert self.lines(wallet, later)[CreditType.AWARD] == Line(given=100, used=70, available=30)

    def test_lists_what_is_spent_next_first(self):
        wallet = wallet_with_credits(purchase=1)
        wallet_with_credits(wallet.user, award=2)
        wallet_with_credits(wallet.user, award=3, expires_at=AT + DAY)
        assert [grant.amount for grant in explain(wallet, AT).grants] == [3, 2, 1]
        spend(wallet, 4)
        assert [grant.amount for grant in explain(wallet, AT).grants] == [2, 1, 3]

    def test_costs_the_same_however_long_the_history(self, django_assert_num_queries):
        wallet = wallet_with_credits(award=100)
        for _ in range(2):
            with django_assert_num_queries(7):
                explain(wallet, AT)
            for _ in range(30):
                spend(wallet, 1)
            wallet_with_credits(wallet.user, award=1)


@pytest.mark.django_db
class TestWalletPage:
    @pytest.mark.parametrize("group", GROUPS)
    def test_explains_the_balance_to_every_group(self, group):
        wallet = wallet_with_credits(award=1_500)
        spend(wallet, 9, reference_id="report-7")
        page = text(as_role(group).get(page_of(wallet)))
        assert "Of 1,500 credits given, 9 were used" in page
        assert "report-7" in page
        assert "−9" in page
        for row in [*wallet.grants.all(), *transactions_of(wallet)]:
            assert page_of(row) in page
        assert f"/admin/ledger/credittransaction/?wallet__id__exact={wallet.pk}" in page

    def test_names_holds_debts_and_reversals(self):
        wallet = wallet_of(CustomerFactory())
        owe(wallet)
        wallet_with_credits(wallet.user, award=10)
        hold = open_hold(wallet, 4, description="a long job")
        page = text(as_role("Finance").get(page_of(wallet)))
        assert "a long job" in page
        assert f"/admin/ledger/hold/{hold}/change/" in page
        assert "usage above the balance" not in page
        assert ">Debts<" in page
        assert "+30 debt" in page

    def test_offers_each_group_what_it_may_do(self):
        wallet = wallet_with_credits(award=5)
        offered = {
            group: [
                action["title"]
                for action in as_role(group).get(page_of(wallet)).context["page_actions"]
            ]
            for group in GROUPS
        }
        acts = ["Set balances…", "Add credits…", "Remove credits…", "Make a partner…", "Pause…"]
        acts += ["Put on a tier…"]
        assert offered == {"Admin": acts, "Finance": acts, "Support": [], "Auditor": []}

    def test_offers_what_fits_the_state(self):
        wallet = wallet_of(CustomerFactory(is_partner=True))
        pause_wallet(wallet=wallet, reason="for the test", actor=finance(), at=AT)
        team = wallet_of(TeamFactory())
        client = as_role("Finance")
        labels = [
            {action["title"] for action in client.get(page_of(w)).context["page_actions"]}
            for w in (wallet, team)
        ]
        assert {"End partner status…", "Resume…"} <= labels[0]
        assert not {"Make a partner…", "Pause…"} & labels[0]
        assert not {"Make a partner…", "End partner status…"} & labels[1]

    def test_offers_nothing_to_a_superuser_without_a_group(self):
        client = as_role("", is_superuser=True)
        assert client.get(page_of(wallet_with_credits(award=5))).status_code == 403

    def test_says_kindly_that_it_is_ones_own(self):
        client = as_role("Finance")
        page = client.get(page_of(wallet_of(client.user)))
        assert page.context["page_actions"] == []
        assert "Nobody changes the credits of such a wallet: ask a colleague." in text(page)

    def test_says_so_of_a_pool_one_may_spend_from(self):
        client = as_role("Finance")
        _, pool = pool_of_team_admin(client.user)
        assert "ask a colleague" in text(client.get(page_of(pool)))

    def test_takes_nothing_that_is_sent_to_it(self):
        wallet, client = wallet_with_credits(award=5), as_role("Finance")
        assert client.post(page_of(wallet), {"award": 500, "_save": "x"}).status_code == 403
        wallet.refresh_from_db()
        assert wallet.award == 5

    def test_shows_nobody_who_is_not_there(self):
        response = as_role("Finance").get("/admin/ledger/wallet/999999/change/", follow=True)
        assert "doesn’t exist" in text(response)

    def test_shows_text_as_text(self):
        wallet = wallet_with_credits(UserFactory(name="<script>alert(1)</script>"), award=5)
        spend(wallet, 1, description="<img src=x>", at=AT + HOUR)
        page = text(as_role("Finance").get(page_of(wallet)))
        assert "<script>alert" not in page
        assert "<img src=x>" not in page


@pytest.mark.django_db
class TestHistory:
    def test_leads_to_the_record_of_the_wallet(self):
        wallet = wallet_with_credits(award=5)
        response = as_role("Auditor").get(page_of(wallet, "history"))
        assert response.url.startswith("/admin/audit/auditevent/?target_type=ledger.wallet")
