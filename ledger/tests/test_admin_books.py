"""Transactions, grants and holds: lists that find, pages that trace, and the reversal."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.tests.factories import TeamFactory
from creditsite.testing.people import as_role
from ledger.admin.lists import owned_by
from ledger.choices import CreditType, GrantSource, TransactionKind
from ledger.models import CreditTransaction, Grant, Hold, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services import holds, posting
from ledger.services.charges import charge_for
from ledger.services.posting import Header
from ledger.tests.factories import (
    AT,
    CALLER,
    DAY,
    CustomerFactory,
    balances_of,
    catalogue,
    moves_of,
    nothing_changes,
    open_hold,
    pool_of_team_admin,
    quantities,
    spend,
    transactions_of,
    wallet_with_credits,
)
from ledger.tests.pages import REASON, errors, opened, page_of, recorded, resent, said, sent, text

LISTS = ["credittransaction", "grant", "hold"]
GROUPS = ["Admin", "Finance", "Support", "Auditor"]


def rows(client, model, **query):
    page = client.get(f"/admin/ledger/{model}/", query)
    assert page.status_code == 200
    return list(page.context["cl"].result_list)


def charged(wallet, **used):
    return spend(wallet, charge_for(quantities(**used), at=AT))


@pytest.mark.django_db
@pytest.mark.parametrize("model", LISTS)
class TestEachList:
    @pytest.fixture(autouse=True)
    def books(self):
        self.wallet = wallet_with_credits(CustomerFactory(email="a@example.com"), award=50)
        open_hold(self.wallet, 5)
        other = wallet_with_credits(CustomerFactory(email="b@example.com"), purchase=50)
        open_hold(other, 5)

    def test_is_open_to_every_group_and_to_nobody_else(self, model):
        for group in GROUPS:
            assert len(rows(as_role(group), model)) == 2
        assert as_role("").get(f"/admin/ledger/{model}/").status_code == 403

    def test_finds_by_email(self, model):
        (row,) = rows(as_role("Finance"), model, q="b@example.com")
        assert str(row.wallet) == "b@example.com"

    def test_limits_itself_to_a_wallet_and_says_so(self, model):
        client = as_role("Finance")
        (row,) = rows(client, model, wallet__id__exact=self.wallet.pk)
        assert row.wallet == self.wallet
        page = client.get(f"/admin/ledger/{model}/", {"wallet__id__exact": self.wallet.pk})
        assert "Only of the wallet of a@example.com." in text(page)

    def test_takes_nonsense_for_a_wallet(self, model):
        client = as_role("Finance")
        for nonsense in ["x", "²", "9" * 40, "-1"]:
            page = client.get(f"/admin/ledger/{model}/", {"wallet__id__exact": nonsense})
            assert page.status_code in (200, 302)

    def test_costs_the_same_for_one_and_three(self, model, django_assert_num_queries):
        client = as_role("Finance")
        queries = {"credittransaction": 6, "grant": 5, "hold": 6}[model]
        for _ in range(2):
            with django_assert_num_queries(queries) as made:
                client.get(f"/admin/ledger/{model}/")
            assert 'COUNT(*) AS "__count" FROM "ledger' not in "".join(
                query["sql"] for query in made.captured_queries
            )
            open_hold(wallet_with_credits(award=5), 1)

    def test_changes_nothing(self, model):
        client = as_role("Admin")
        assert client.get(f"/admin/ledger/{model}/add/").status_code == 403
        row = rows(client, model)[0]
        assert client.post(page_of(row), {"amount": 7}).status_code == 403
        assert client.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403


@pytest.mark.django_db
class TestTransactionList:
    def test_filters_by_days_the_last_one_included(self):
        wallet = wallet_with_credits(award=50)
        for days in (1, 2, 3):
            spend(wallet, days, at=AT + days * DAY)
        client = as_role("Finance")

        def between(first, last):
            query = {"recorded_at_from": first, "recorded_at_to": last}
            return [row.amount for row in rows(client, "credittransaction", **query)]

        assert between("2026-06-02", "2026-06-03") == [-2, -1]
        assert between("", "2026-06-01") == [50]
        assert between("2026-06-04", "") == [-3]
        assert between("yesterday", "") == []

    def test_filters_by_kind_type_and_feature(self):
        catalogue()
        wallet = wallet_with_credits(award=50, purchase=50)
        charged(wallet, insight_simple=1)
        charged(wallet, llm_input=1000, llm_output=1000)
        charged(wallet, export_premium=1)
        client = as_role("Finance")

        def amounts(**query):
            return [row.amount for row in rows(client, "credittransaction", **query)]

        assert amounts(kind__exact="usage") == [-15, -4, -9]
        assert amounts(type="purchase") == [-15, 50]
        assert amounts(type="nonsense") == [-15, -4, -9, 50, 50]
        for feature in ("llm.input", "llm.output"):
            assert amounts(feature=feature) == [-4]
        assert amounts(feature="insight.simple") == [-9]
        assert amounts(feature="insight") == []

    def test_finds_by_id_reference_email_and_team(self):
        team = TeamFactory(name="Northwind")
        wallet = wallet_with_credits(team, award=50)
        posted = spend(wallet, 1, reference_id="job-7")
        spend(wallet_with_credits(CustomerFactory(email="z@example.com"), award=9), 2)
        client = as_role("Support")

        def amounts(term):
            return [row.amount for row in rows(client, "credittransaction", q=term)]

        assert amounts(str(posted.transaction_id)) == [-1]
        assert amounts("job-7") == [-1]
        assert amounts("z@example.com") == [-2, 9]
        assert amounts("northw") == [-1, 50]
        assert amounts("job-8") == []

    def test_shows_the_latest_first(self):
        first, second = wallet_with_credits(award=9), wallet_with_credits(award=9)
        for wallet in (first, second, first):
            spend(wallet, 1)
        client = as_role("Finance")
        numbers = [row.number for row in rows(client, "credittransaction")]
        assert numbers == [3, 2, 2, 1, 1]
        of_first = rows(client, "credittransaction", wallet__id__exact=first.pk)
        assert [row.number for row in of_first] == [3, 2, 1]

    def test_turns_pages(self):
        wallet = wallet_with_credits(award=99)
        for _ in range(55):
            spend(wallet, 1)
        client = as_role("Finance")
        assert len(rows(client, "credittransaction")) == 50
        assert [row.number for row in rows(client, "credittransaction", p=2)] == [6, 5, 4, 3, 2, 1]
        assert client.get("/admin/ledger/credittransaction/", {"p": 10**9}).status_code == 302

    def test_limits_itself_to_a_grant(self):
        wallet = wallet_with_credits(award=5, purchase=5)
        spend(wallet, 7)
        grant = Grant.objects.get(wallet=wallet, credit_type="purchase")
        found = rows(as_role("Finance"), "credittransaction", entries__grant=grant.pk)
        assert [row.amount for row in found] == [-7, 5]


@pytest.mark.django_db
class TestTransactionPage:
    def test_traces_a_charge_to_grants_and_prices(self):
        catalogue()
        wallet = wallet_with_credits(award=5, purchase=50)
        spend_id = charged(wallet, insight_simple=1, llm_input=1500).transaction_id
        transaction = CreditTransaction.objects.get(pk=spend_id)
        page = text(as_role("Support").get(page_of(transaction)))
        for grant in wallet.grants.all():
            assert page_of(grant) in page
        assert "9 per insight" in page
        assert "1 per 1,000 × token" in page
        assert "1,500" in page
        assert str(spend_id) in page
        assert page_of(wallet) in page

    def test_links_a_reversal_both_ways(self):
        wallet, client = wallet_with_credits(award=50), as_role("Finance")
        spend(wallet, 20)
        _, taken = transactions_of(wallet)
        sent(client, page_of(taken, "reverse"), confirmation="REVERSE 2")
        reversal = transactions_of(wallet)[-1]
        assert page_of(reversal) in text(client.get(page_of(taken)))
        assert page_of(taken) in text(client.get(page_of(reversal)))

    def test_says_that_text_was_erased(self):
        wallet = wallet_with_credits(award=50)
        spend(wallet, 2, description="very private")
        posting.erase_text(wallet=wallet.pk, at=AT)
        page = text(as_role("Auditor").get(page_of(transactions_of(wallet)[-1])))
        assert "very private" not in page
        assert "erased" in page


@pytest.mark.django_db
class TestReverse:
    def taken(self, *, award=50, amount=20):
        wallet = wallet_with_credits(award=award)
        spend(wallet, amount)
        return wallet, transactions_of(wallet)[-1]

    def test_puts_back_what_was_taken(self):
        wallet, taken = self.taken()
        client = as_role("Finance")
        assert opened(client, page_of(taken, "reverse")).keys() == {"request_id"}
        page = sent(client, page_of(taken, "reverse"), confirmation="REVERSE 2")
        assert said(page) == ["Reversed no. 2: +20 credits as no. 3."]
        assert balances_of(wallet)["award"] == 50
        assert recorded() == [("ledger.transaction.reversed", REASON)]

    def test_says_where_it_goes_before(self):
        wallet, taken = self.taken()
        client = as_role("Finance")
        form = client.get(page_of(taken, "reverse")).context["form"]
        assert form.changes() == [
            f"No. 2 of {wallet}: -20 credits, usage, 2026-06-01.",
            "20 credits go back into 50 award (entered by staff).",
        ]
        sent(client, page_of(taken, "reverse"), amount="15", confirmation="REVERSE 2")
        form = client.get(page_of(taken, "reverse")).context["form"]
        assert form.changes()[1] == "5 credits go back into 50 award (entered by staff)."

    def test_puts_back_a_part(self):
        wallet, taken = self.taken()
        client = as_role("Finance")
        typed = {"amount": "15", "confirmation": "REVERSE 2"}
        sent(client, page_of(taken, "reverse"), **typed)
        assert balances_of(wallet)["award"] == 45
        with nothing_changes(wallet):
            page = sent(client, page_of(taken, "reverse"), **typed)
        assert errors(page) == [
            "15 credits cannot be put back: 5 were taken and not yet given back."
        ]

    def test_takes_a_grant_back_whole_or_what_is_left_of_it(self):
        wallet, _ = self.taken()
        given = transactions_of(wallet)[0]
        client = as_role("Finance")
        form = client.get(page_of(given, "reverse")).context["form"]
        assert "amount" not in form.fields
        assert form.changes()[1].startswith("Of the 50 credits that it gave, 30 are neither")
        with nothing_changes(wallet):
            page = sent(client, page_of(given, "reverse"), confirmation="REVERSE 1")
        assert errors(page) == ["The grant is partly spent or held: 30 credits of it can be taken."]
        typed = {"confirmation": "REVERSE 1", "partly": "on"}
        page = sent(client, page_of(given, "reverse"), **typed)
        assert said(page) == ["Reversed no. 1: -30 credits as no. 3."]
        assert balances_of(wallet)["award"] == 0

    @pytest.mark.parametrize("phrase", ["", "REVERSE 1", "reverse 2", "REVERSE 2 "])
    def test_changes_nothing_for_a_wrong_phrase(self, phrase):
        wallet, taken = self.taken()
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(taken, "reverse"), confirmation=phrase)
        assert page.context["form"].errors.keys() == {"confirmation"}

    def test_posts_once_however_often_it_is_sent(self):
        wallet, taken = self.taken()
        client = as_role("Finance")
        data = opened(client, page_of(taken, "reverse")) | {"confirmation": "REVERSE 2"}
        for _ in range(2):
            page = resent(client, page_of(taken, "reverse"), data)
            assert said(page) == ["Reversed no. 2: +20 credits as no. 3."]
        assert moves_of(wallet) == [("award", 50), ("usage", -20), ("reversal", 20)]

    @pytest.mark.parametrize("group", ["Support", "Auditor", ""])
    @pytest.mark.parametrize("is_superuser", [False, True])
    def test_is_closed_without_the_permission(self, group, is_superuser):
        wallet, taken = self.taken()
        data = opened(as_role("Finance"), page_of(taken, "reverse"))
        client = as_role(group, is_superuser=is_superuser)
        if group:
            assert client.get(page_of(taken)).context["page_actions"] == []
        with nothing_changes(wallet):
            data |= {"confirmation": "REVERSE 2"}
            assert client.get(page_of(taken, "reverse")).status_code == 403
            assert resent(client, page_of(taken, "reverse"), data).status_code == 403

    def test_is_refused_for_a_wallet_one_may_spend_from(self):
        client = as_role("Finance")
        _, pool = pool_of_team_admin(client.user)
        spend(pool, 20)
        taken = transactions_of(pool)[-1]
        page = client.get(page_of(taken))
        assert page.context["page_actions"] == []
        assert "ask a colleague" in text(page)
        with nothing_changes(pool):
            page = sent(client, page_of(taken, "reverse"), confirmation="REVERSE 2")
        assert errors(page) == [
            "Nobody changes the credits of a wallet they own or may spend from."
        ]

    def test_is_not_offered_for_a_payment(self):
        wallet = wallet_of(CustomerFactory())
        posting.post_grant(
            wallet=wallet.pk,
            amount=50,
            credit_type=CreditType.PURCHASE,
            source=GrantSource.PACKAGE,
            paid_minor=500,
            currency="usd",
            header=Header(
                kind=TransactionKind.PURCHASE,
                at=AT,
                caller="system",
                key=uuid4(),
                fingerprint=uuid4(),
            ),
        )
        (paid,) = transactions_of(wallet)
        client = as_role("Finance")
        assert client.get(page_of(paid)).context["page_actions"] == []
        page = client.get(page_of(paid, "reverse"), follow=True)
        assert said(page) == ["That is not possible here, or no longer."]

    def test_warns_of_grants_that_ended(self):
        wallet = wallet_with_credits(award=50, expires_at=AT + DAY)
        spend(wallet, 20)
        form = (
            as_role("Finance").get(page_of(transactions_of(wallet)[-1], "reverse")).context["form"]
        )
        assert form.changes()[1] == (
            "20 credits of 50 award (entered by staff): it has expired, so they go into a new"
            " grant that lasts 30 days."
        )


@pytest.mark.django_db
class TestGrantList:
    def test_filters_by_type_source_expiry_and_state(self):
        wallet = wallet_with_credits(award=1, purchase=2, partner=3)
        wallet_with_credits(wallet.user, award=4, expires_at=AT + DAY)
        tomorrow = timezone.now() + timedelta(days=1)
        wallet_with_credits(wallet.user, award=5, expires_at=tomorrow)
        frozen = Grant.objects.get(amount=1)
        posting.freeze(grants=[frozen.pk], frozen=True, at=AT)
        spend(wallet, 2, at=timezone.now())
        client = as_role("Finance")

        def amounts(**query):
            return sorted(row.amount for row in rows(client, "grant", **query))

        assert amounts(credit_type__exact="award") == [1, 4, 5]
        assert amounts(source__exact="allotment") == []
        assert amounts(source__exact="manual") == [1, 2, 3, 4, 5]
        day = f"{tomorrow:%Y-%m-%d}"
        assert amounts(expires_at_from=day, expires_at_to=day) == [5]
        assert amounts(state="frozen") == [1]
        assert amounts(state="expired") == [4]
        assert amounts(state="voided") == []
        assert amounts(state="empty") == []
        assert amounts(state="open") == [2, 3, 5]

    def test_says_what_was_paid(self):
        wallet_with_credits(purchase=5)
        assert "unfunded" in text(as_role("Finance").get("/admin/ledger/grant/"))


@pytest.mark.django_db
class TestGrantPage:
    def test_names_what_used_it_and_what_holds_it(self):
        wallet = wallet_with_credits(award=50)
        spend(wallet, 20)
        hold = open_hold(wallet, 5)
        (grant,) = wallet.grants.all()
        page = text(as_role("Support").get(page_of(grant)))
        for transaction in transactions_of(wallet):
            assert page_of(transaction) in page
        assert f"/admin/ledger/hold/{hold}/change/" in page
        assert "entries__grant" not in page

    def test_leads_on_when_there_is_more(self):
        wallet = wallet_with_credits(award=99)
        for _ in range(50):
            spend(wallet, 1)
        (grant,) = wallet.grants.all()
        page = text(as_role("Support").get(page_of(grant)))
        assert f"/admin/ledger/credittransaction/?entries__grant={grant.pk}" in page


@pytest.mark.django_db
class TestHoldList:
    def test_filters_by_status_days_and_feature(self):
        catalogue()
        wallet = wallet_with_credits(award=500)
        first = open_hold(wallet, charge_for(quantities(report=1), at=AT))
        open_hold(wallet, 7, at=AT + DAY)
        holds.release_hold(hold_id=first, caller=CALLER, at=AT, actor_id=None)
        client = as_role("Finance")

        def amounts(**query):
            return [row.amount for row in rows(client, "hold", **query)]

        assert amounts(status__exact="released") == [40]
        assert amounts(feature="report") == [40]
        assert amounts(placed_at_from="2026-06-02") == [7]


@pytest.mark.django_db
class TestHoldPage:
    def test_names_the_grants_and_the_capture(self):
        wallet = wallet_with_credits(award=5, purchase=50)
        hold = Hold.objects.get(pk=open_hold(wallet, 20))
        holds.capture_hold(hold_id=hold.pk, amount=12, caller=CALLER, at=AT, actor_id=None)
        page = text(as_role("Auditor").get(page_of(hold)))
        for grant in wallet.grants.all():
            assert page_of(grant) in page
        assert page_of(transactions_of(wallet)[-1]) in page

    def test_offers_nothing(self):
        hold = Hold.objects.get(pk=open_hold(wallet_with_credits(award=5), 2))
        assert as_role("Admin").get(page_of(hold)).context["page_actions"] == []


@pytest.mark.django_db
class TestOwnedBy:
    @pytest.mark.parametrize("text", ["%", "_", "\\", "'", "x" * 300])
    def test_takes_text_as_text(self, text):
        wallet_of(CustomerFactory(email="a@example.com", name="Ada"))
        assert not Wallet.objects.filter(owned_by(text)).exists()
