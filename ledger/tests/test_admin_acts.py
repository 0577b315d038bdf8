"""What staff do from a wallet's page: asked first, with a reason, by whom the table says."""

import pytest

from accounts.tests.factories import TeamFactory, UserFactory
from creditsite.testing.people import as_role
from ledger.models import CreditTransaction, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services.adjustments import pause_wallet
from ledger.tests.factories import (
    AT,
    CustomerFactory,
    balances_of,
    finance,
    moves_of,
    nothing_changes,
    open_hold,
    pool_of_team_admin,
    spend,
    transactions_of,
    wallet_with_credits,
)
from ledger.tests.pages import REASON, errors, opened, page_of, recorded, resent, said, sent, text

# What each page is sent when all is well, about a wallet with 100 awards and 50 partner credits.
TYPED = {
    "set": {"award": "120", "purchase": "7", "partner": "50"},
    "add": {"credit_type": "award", "amount": "5"},
    "remove": {"credit_type": "", "amount": "5"},
    "start-partner": {},
    "end-partner": {"confirmation": "VOID 50"},
    "pause": {},
    "resume": {},
}


def wallet_for(act):
    user = CustomerFactory(is_partner=act == "end-partner")
    wallet = wallet_with_credits(user, award=100, partner=50)
    if act == "resume":
        pause_wallet(wallet=wallet, reason="for the test", actor=finance(), at=AT)
        wallet.refresh_from_db()
    return wallet


@pytest.mark.django_db
@pytest.mark.parametrize("act", TYPED)
class TestEachAct:
    @pytest.mark.parametrize("group", ["Admin", "Finance"])
    def test_is_done_once_asked_and_recorded_with_its_reason(self, act, group):
        wallet = wallet_for(act)
        page = sent(as_role(group), page_of(wallet, act), **TYPED[act])
        assert page.redirect_chain == [(page_of(wallet), 302)]
        assert len(said(page)) == 1
        assert "successfully" not in said(page)[0]
        assert [reason for _, reason in recorded()] == [REASON]

    def test_asks_first(self, act):
        wallet = wallet_for(act)
        client = as_role("Finance")
        with nothing_changes(wallet):
            page = client.get(page_of(wallet, act))
            assert str(wallet) in page.context["form"].changes()[0]
            client.post(page_of(wallet, act), opened(client, page_of(wallet, act)))

    @pytest.mark.parametrize("group", ["Support", "Auditor", ""])
    def test_is_closed_without_the_permission(self, act, group):
        wallet = wallet_for(act)
        data = opened(as_role("Finance"), page_of(wallet, act)) | TYPED[act]
        client = as_role(group)
        with nothing_changes(wallet):
            assert client.get(page_of(wallet, act)).status_code == 403
            assert resent(client, page_of(wallet, act), data).status_code == 403

    def test_is_closed_to_a_superuser_without_a_group(self, act):
        wallet = wallet_for(act)
        data = opened(as_role("Finance"), page_of(wallet, act)) | TYPED[act]
        client = as_role("", is_superuser=True)
        with nothing_changes(wallet):
            assert resent(client, page_of(wallet, act), data).status_code == 403

    @pytest.mark.parametrize("reason", ["", "too short", "x" * 501])
    def test_takes_a_reason(self, act, reason):
        wallet = wallet_for(act)
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, act), **TYPED[act], reason=reason)
        assert page.context["form"].errors.keys() == {"reason"}

    def test_is_refused_for_a_pool_that_one_may_spend_from(self, act):
        client = as_role("Finance")
        team, pool = pool_of_team_admin(client.user)
        wallet_with_credits(team.owner, award=100, partner=50)
        if act == "end-partner":
            type(team.owner).objects.filter(pk=team.owner_id).update(is_partner=True)
        if act == "resume":
            pause_wallet(wallet=pool, reason="for the test", actor=finance(), at=AT)
        pool.refresh_from_db()
        with nothing_changes(pool):
            page = sent(client, page_of(pool, act), **TYPED[act])
        assert errors(page) == [
            "Nobody changes the credits of a wallet they own or may spend from."
        ]


@pytest.mark.django_db
class TestSetBalances:
    def set(self, wallet, client=None, **typed):
        return sent(client or as_role("Finance"), page_of(wallet, "set"), **typed)

    def test_sets_each_balance_exactly(self):
        wallet = wallet_with_credits(award=100, partner=50)
        page = self.set(wallet, award="120", purchase="7", partner="0")
        assert balances_of(wallet) == {"award": 120, "purchase": 7, "partner": 0}
        assert said(page) == [f"The balances of {wallet} are: Awards 120, Purchases 7, Partner 0."]
        assert recorded() == [("ledger.wallet.adjusted", REASON)]
        moves = transactions_of(wallet)[2:]
        assert {move.description for move in moves} == {REASON}

    def test_enters_purchases_unfunded_and_says_so(self):
        wallet, client = wallet_with_credits(), as_role("Finance")
        assert "reports call them unfunded" in text(client.get(page_of(wallet, "set")))
        self.set(wallet, client, purchase="40")
        (grant,) = wallet.grants.all()
        assert (grant.paid_minor, grant.currency, grant.source) == (0, "", "manual")

    def test_opens_with_the_figures_of_now(self):
        wallet = wallet_with_credits(award=100, partner=50)
        open_hold(wallet, 30)
        form = as_role("Finance").get(page_of(wallet, "set")).context["form"]
        assert [form[name].value() for name in ["award", "purchase", "partner", "version"]] == [
            100,
            0,
            50,
            2,
        ]
        assert form.changes() == [
            f"{wallet} has now: Awards 100, Purchases 0, Partner 50; 30 of them are held."
        ]

    @pytest.mark.parametrize(
        "typed", ["", "-1", "1000001", "1,000", "1_000", "１２", "+5", "5.0", " 5", "abc", "1e3"]
    )
    def test_takes_whole_ascii_numbers_up_to_a_million(self, typed):
        wallet = wallet_with_credits(award=100)
        with nothing_changes(wallet):
            page = self.set(wallet, award=typed)
        assert page.context["form"].errors.keys() == {"award"}

    def test_refuses_a_stale_page_and_shows_the_fresh_figures(self):
        wallet, client = wallet_with_credits(award=100), as_role("Finance")
        data = opened(client, page_of(wallet, "set")) | {"award": "150"}
        spend(wallet, 30)
        with nothing_changes(wallet):
            page = resent(client, page_of(wallet, "set"), data)
        assert errors(page) == [
            "The wallet has changed since this form was opened. Look at it again."
        ]
        form = page.context["form"]
        assert form.changes() == [
            f"{wallet} has now: Awards 70, Purchases 0, Partner 0.",
            "Awards: 70 → 150 (+80)",
        ]
        assert form["award"].value() == "150"
        again = {name: form[name].value() for name in form.fields}
        assert resent(client, page_of(wallet, "set"), again).status_code == 200
        assert balances_of(wallet)["award"] == 150

    def test_asks_for_the_fresh_phrase_after_a_stale_page(self):
        wallet, client = wallet_with_credits(award=100), as_role("Finance")
        data = opened(client, page_of(wallet, "set"))
        data |= {"award": "20100", "confirmation": "MOVE 20000"}
        spend(wallet, 30)
        page = resent(client, page_of(wallet, "set"), data)
        assert errors(page) == [
            "The wallet has changed since this form was opened. Look at it again."
        ]
        form = page.context["form"]
        assert (form.phrase, form["confirmation"].value()) == ("MOVE 20030", None)
        assert balances_of(wallet)["award"] == 70
        again = {name: form[name].value() for name in form.fields}
        resent(client, page_of(wallet, "set"), again | {"confirmation": form.phrase})
        assert balances_of(wallet)["award"] == 20_100

    def test_posts_once_however_often_it_is_sent(self):
        wallet, client = wallet_with_credits(award=100), as_role("Finance")
        data = opened(client, page_of(wallet, "set")) | {"award": "120", "partner": "3"}
        for _ in range(2):
            page = resent(client, page_of(wallet, "set"), data)
            assert said(page) == [
                f"The balances of {wallet} are: Awards 120, Purchases 0, Partner 3."
            ]
        assert moves_of(wallet) == [("award", 100), ("adjustment", 20), ("adjustment", 3)]
        assert recorded() == [("ledger.wallet.adjusted", REASON)]

    def test_does_not_take_other_figures_for_the_same_request(self):
        wallet, client = wallet_with_credits(award=100), as_role("Finance")
        data = opened(client, page_of(wallet, "set")) | {"award": "120"}
        resent(client, page_of(wallet, "set"), data)
        with nothing_changes(wallet):
            page = resent(client, page_of(wallet, "set"), data | {"partner": "9"})
        assert errors(page) == ["This idempotency key was used for another request."]

    def test_never_sets_below_what_is_held(self):
        wallet = wallet_with_credits(award=100)
        open_hold(wallet, 60)
        with nothing_changes(wallet):
            page = self.set(wallet, award="59")
        assert "60 credits are held by running jobs" in errors(page)[0]


@pytest.mark.django_db
class TestLargeMoves:
    def test_take_a_phrase_from_ten_thousand_credits_on(self):
        wallet, client = wallet_with_credits(award=100, partner=5_000), as_role("Finance")
        typed = {"award": "5099", "partner": "0"}
        assert "confirmation" not in opened(client, page_of(wallet, "set"))
        assert said(sent(client, page_of(wallet, "set"), **typed)) != []
        wallet = wallet_with_credits(award=100, partner=5_000)
        with nothing_changes(wallet):
            page = sent(client, page_of(wallet, "set"), award="5100", partner="0")
        assert "Type exactly: MOVE 10000" in text(page)
        assert "Awards: 100 → 5,100 (+5,000)" in page.context["form"].changes()
        assert "Partner: 5,000 → 0 (-5,000)" in page.context["form"].changes()

    @pytest.mark.parametrize("phrase", ["", "MOVE 10,000", "move 10000", "MOVE 10000 "])
    def test_change_nothing_for_a_wrong_phrase(self, phrase):
        wallet = wallet_with_credits()
        with nothing_changes(wallet):
            page = sent(
                as_role("Finance"), page_of(wallet, "set"), award="10000", confirmation=phrase
            )
        assert page.context["form"].errors.keys() == {"confirmation"}

    @pytest.mark.parametrize(
        ("act", "typed"),
        [
            ("set", {"award": "32000"}),
            ("add", {"credit_type": "award", "amount": "20000"}),
            ("remove", {"credit_type": "award", "amount": "12000"}),
        ],
    )
    def test_are_done_with_the_phrase(self, act, typed):
        wallet = wallet_with_credits(award=12_000)
        phrase = "MOVE 12000" if act == "remove" else "MOVE 20000"
        page = sent(as_role("Finance"), page_of(wallet, act), **typed, confirmation=phrase)
        assert len(said(page)) == 1
        assert balances_of(wallet)["award"] == (0 if act == "remove" else 32_000)


@pytest.mark.django_db
class TestAddCredits:
    def test_adds_until_the_end_of_the_last_day(self):
        wallet = wallet_with_credits()
        typed = {"credit_type": "award", "amount": "25", "last_day": "2031-02-28"}
        page = sent(as_role("Finance"), page_of(wallet, "add"), **typed)
        assert said(page) == [f"Added 25 award credits to {wallet}."]
        (grant,) = wallet.grants.all()
        assert f"{grant.expires_at:%Y-%m-%d %H:%M}" == "2031-03-01 00:00"
        assert recorded() == [("ledger.credits.added", REASON)]

    def test_posts_once_however_often_it_is_sent(self):
        wallet, client = wallet_with_credits(), as_role("Finance")
        data = opened(client, page_of(wallet, "add")) | {"credit_type": "partner", "amount": "25"}
        for _ in range(2):
            resent(client, page_of(wallet, "add"), data)
        assert moves_of(wallet) == [("partner", 25)]
        (move,) = transactions_of(wallet)
        assert move.caller == f"user:{client.user.pk}"

    def test_shows_why_it_is_refused(self):
        wallet = wallet_with_credits(award=999_999)
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, "add"), credit_type="award", amount="2")
        assert errors(page) == ["Staff may bring a balance to 1,000,000 credits at the most."]

    def test_takes_no_last_day_that_is_over(self):
        wallet = wallet_with_credits()
        typed = {"credit_type": "award", "amount": "2", "last_day": "2020-01-01"}
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, "add"), **typed)
        assert errors(page) == ["Credits cannot expire in the past."]

    def test_takes_the_last_day_of_the_calendar_as_wrong(self):
        wallet = wallet_with_credits()
        typed = {"credit_type": "award", "amount": "2", "last_day": "9999-12-31"}
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, "add"), **typed)
        assert page.context["form"].errors.keys() == {"last_day"}


@pytest.mark.django_db
class TestRemoveCredits:
    def test_removes_of_one_type_or_in_the_order_of_spending(self):
        wallet, client = wallet_with_credits(award=10, purchase=10), as_role("Finance")
        sent(client, page_of(wallet, "remove"), credit_type="purchase", amount="3")
        assert balances_of(wallet) == {"award": 10, "purchase": 7, "partner": 0}
        sent(client, page_of(wallet, "remove"), amount="12")
        assert balances_of(wallet) == {"award": 0, "purchase": 5, "partner": 0}

    def test_shows_why_it_is_refused(self):
        wallet = wallet_with_credits(award=10)
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, "remove"), amount="11")
        assert errors(page) == ["11 credits are needed; 10 are available."]


@pytest.mark.django_db
class TestPartner:
    def test_is_ended_with_what_was_voided_said(self):
        wallet = wallet_for("end-partner")
        open_hold(wallet, 120)
        client = as_role("Finance")
        page = client.get(page_of(wallet, "end-partner"))
        assert "50 partner credits are voided, for good." in page.context["form"].changes()[1]
        page = sent(client, page_of(wallet, "end-partner"), confirmation="VOID 50")
        assert said(page) == [f"{wallet} is no longer a partner. 30 partner credits were voided."]
        wallet.user.refresh_from_db()
        assert not wallet.user.is_partner
        assert moves_of(wallet)[2:] == [("void", -30)]

    def test_stays_when_the_phrase_is_wrong(self):
        wallet = wallet_for("end-partner")
        with nothing_changes(wallet):
            page = sent(as_role("Finance"), page_of(wallet, "end-partner"), confirmation="VOID 5")
        assert errors(page) == ["That is not what is to be typed."]

    def test_begins_without_credits(self):
        wallet = wallet_with_credits()
        page = sent(as_role("Finance"), page_of(wallet, "start-partner"))
        assert said(page) == [f"{wallet} is a partner."]
        wallet.user.refresh_from_db()
        assert wallet.user.is_partner
        assert moves_of(wallet) == []

    def test_is_nothing_for_an_organisation(self):
        wallet = wallet_of(TeamFactory())
        client = as_role("Finance")
        for act in ("start-partner", "end-partner"):
            page = client.get(page_of(wallet, act), follow=True)
            assert page.redirect_chain == [(page_of(wallet), 302)]
            assert said(page) == ["That is not possible here, or no longer."]

    def test_is_not_switched_by_a_second_click(self):
        wallet, client = wallet_for("end-partner"), as_role("Finance")
        data = opened(client, page_of(wallet, "end-partner")) | TYPED["end-partner"]
        resent(client, page_of(wallet, "end-partner"), data)
        with nothing_changes(wallet):
            page = resent(client, page_of(wallet, "end-partner"), data)
        assert said(page) == ["That is not possible here, or no longer."]


@pytest.mark.django_db
class TestPauseAndResume:
    def test_pause_and_resume(self):
        wallet, client = wallet_with_credits(award=5), as_role("Finance")
        page = sent(client, page_of(wallet, "pause"))
        assert said(page) == [f"The wallet of {wallet} is paused."]
        assert "nothing can be spent until it is resumed" in text(page)
        page = sent(client, page_of(wallet, "resume"))
        assert said(page) == [f"The wallet of {wallet} is active."]
        assert [action for action, _ in recorded()] == [
            "ledger.wallet.paused",
            "ledger.wallet.resumed",
        ]


@pytest.mark.django_db
class TestDoubleSubmit:
    @pytest.mark.parametrize("act", ["set", "add", "remove"])
    def test_moves_credits_once(self, act):
        wallet, client = wallet_for(act), as_role("Finance")
        data = opened(client, page_of(wallet, act)) | TYPED[act]
        resent(client, page_of(wallet, act), data)
        with nothing_changes(wallet):
            page = resent(client, page_of(wallet, act), data)
        assert page.redirect_chain == [(page_of(wallet), 302)]

    def test_is_another_request_on_another_page(self):
        wallet, client = wallet_with_credits(award=50), as_role("Finance")
        for _ in range(2):
            sent(client, page_of(wallet, "remove"), amount="5")
        assert Wallet.objects.get(pk=wallet.pk).award == 40
        assert CreditTransaction.objects.filter(wallet=wallet).count() == 3


@pytest.mark.django_db
def test_finance_may_not_touch_roles_groups_or_staff_flags():
    client, user = as_role("Finance"), UserFactory()
    data = {"role": "", "is_staff": "on", "groups": [1], "reason": REASON}
    assert client.post(page_of(user), data).status_code == 403
