"""The page of the settings, and the forms that change them."""

import pytest

from accounts.models import Approval
from creditsite.testing.people import as_role
from ledger.admin.settings_forms import EditForm
from ledger.models import CreditSettings
from ledger.tests.factories import CustomerFactory, set_credit_settings, wallet_with_credits
from ledger.tests.pages import REASON, errors, opened, page_of, recorded, resent, said, sent, text

PAGE = "/admin/ledger/creditsettings/"
EDIT, SWITCH = f"{PAGE}edit/", f"{PAGE}switch/"


def newest():
    return CreditSettings.objects.order_by("pk").last()


def offers(response):
    return [act["path"] for act in response.context["acts"]]


@pytest.mark.django_db
class TestPage:
    @pytest.mark.parametrize(
        ("group", "acts"),
        [("Admin", [EDIT, SWITCH]), ("Finance", [EDIT]), ("Support", []), ("Auditor", [])],
    )
    def test_shows_all_staff_what_is_in_force_and_offers_what_they_may(self, group, acts):
        set_credit_settings(sign_up_credits=1_250, agent_revenue_share="12.50")
        response = as_role(group).get(PAGE)
        page = text(response)
        for figure in ["0.1 USD", "0.0183 ZAR", "1,250", "12.5 %", "for ever", "1,000,000"]:
            assert figure in page
        assert offers(response) == acts

    def test_shows_before_there_is_a_version_what_there_was(self):
        page = text(as_role("Finance").get(PAGE))
        assert "nobody has changed them yet" in page
        assert "None yet" in page

    def test_shows_what_each_version_changed(self):
        set_credit_settings(sign_up_credits=5)
        set_credit_settings(sign_up_credits=7, credits_enabled=False)
        response = as_role("Support").get(PAGE)
        assert [row["changes"] for row in response.context["versions"]] == [
            ["Credits: on → off", "Sign-up credits: 5 → 7"],
            ["Sign-up credits: 0 → 5"],
        ]
        assert "Credits are switched off" in text(response)

    def test_costs_the_same_however_many_versions_there_are(self, django_assert_max_num_queries):
        for number in range(60):
            set_credit_settings(sign_up_credits=number + 1)
        client = as_role("Finance")
        with django_assert_max_num_queries(8):
            response = client.get(PAGE)
        assert len(response.context["versions"]) == 50
        assert response.context["versions"][-1]["changes"] == ["Sign-up credits: 10 → 11"]

    def test_shows_one_version_whole_and_for_looking(self):
        response = as_role("Support").get(page_of(set_credit_settings(sign_up_credits=5)))
        assert response.status_code == 200
        assert 'name="sign_up_credits"' not in text(response)


@pytest.mark.django_db
class TestEdit:
    def test_changes_what_was_typed_and_says_so(self):
        client = as_role("Finance")
        response = sent(client, EDIT, price_per_credit="0.125", time_zone="Africa/Johannesburg")
        assert said(response) == [
            "Changed: Price per credit: 0.1 → 0.125; Time zone: UTC → Africa/Johannesburg."
        ]
        version = newest()
        assert (str(version.price_per_credit), version.changed_by) == ("0.125000", client.user)
        assert (version.time_zone, version.sign_up_credits) == ("Africa/Johannesburg", 0)
        assert recorded() == [("ledger.settings.changed", REASON)]

    def test_empties_what_may_be_empty(self):
        set_credit_settings(award_expiry_days=90)
        sent(as_role("Admin"), EDIT, award_expiry_days="")
        assert newest().award_expiry_days is None

    def test_refuses_shares_of_more_than_all(self):
        typed = {"agent_revenue_share": "60", "partner_revenue_share": "40.01"}
        response = sent(as_role("Finance"), EDIT, **typed)
        assert errors(response) == ["Agents and partners together get 100 percent at the most."]
        assert newest() is None

    @pytest.mark.parametrize("typed", ["Mars/Olympus", "utc", "UTC\u200b", ""])
    def test_refuses_a_time_zone_that_nobody_knows(self, typed):
        response = sent(as_role("Finance"), EDIT, time_zone=typed)
        assert list(response.context["form"].errors) == ["time_zone"]
        assert newest() is None

    def test_keeps_what_was_typed_beside_an_error(self):
        response = sent(as_role("Finance"), EDIT, sign_up_credits="55", monthly_day="40")
        assert response.context["form"]["sign_up_credits"].value() == "55"

    def test_takes_a_reason(self):
        assert sent(as_role("Finance"), EDIT, sign_up_credits="5", reason="").context["form"].errors
        assert newest() is None

    def test_refuses_a_page_that_is_out_of_date(self):
        client = as_role("Finance")
        typed = opened(client, EDIT) | {"sign_up_credits": "5"}
        set_credit_settings(referral_credits=7)
        assert "have changed since" in errors(resent(client, EDIT, typed))[0]
        assert newest().sign_up_credits == 0

    def test_sent_twice_changes_once(self):
        client = as_role("Finance")
        typed = opened(client, EDIT) | {"sign_up_credits": "5"}
        for _ in range(2):
            resent(client, EDIT, typed)
        assert CreditSettings.objects.count() == 1

    def test_waits_for_a_second_person_to_loosen_safety(self):
        response = sent(as_role("Finance"), EDIT, largest_balance="2000000")
        assert "second person" in said(response)[0]
        assert newest() is None
        assert Approval.objects.get().kind == "ledger.change_settings"

    @pytest.mark.parametrize("group", ["Support", "Auditor", ""])
    def test_is_for_finance_and_admin(self, group):
        assert as_role(group).post(EDIT, {"confirmed": "yes"}).status_code == 403

    def test_asks_for_every_setting_but_the_switch(self):
        fields = as_role("Finance").get(EDIT).context["form"].fields
        settings = {field.name for field in CreditSettings._meta.concrete_fields}
        settings -= {"id", "changed_at", "changed_by", "credits_enabled"}
        assert set(fields) == settings | {"version", "reason", "request_id"}


class TestFields:
    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("price_per_credit", "0,10"),
            ("price_per_credit", "1e-1"),
            ("price_per_credit", "+1"),
            ("price_per_credit", " 1"),
            ("price_per_credit", "０.1"),
            ("price_per_credit", "-1"),
            ("price_per_credit", ".5"),
            ("price_per_credit", "0.1234567"),
            ("price_per_credit", "1000000"),
            ("price_per_credit", "NaN"),
            ("price_per_credit", ""),
            ("agent_revenue_share", "12.345"),
            ("agent_revenue_share", "100.01"),
            ("currency", "usd"),
            ("currency", "XXX"),
            ("sign_up_credits", "1,000"),
            ("sign_up_credits", "1_000"),
            ("sign_up_credits", "１２"),
            ("sign_up_credits", "-1"),
            ("sign_up_credits", "1000000001"),
            ("sign_up_frequency", "weekly"),
            ("monthly_day", "32"),
            ("monthly_day", "0"),
            ("award_expiry_days", "0"),
            ("largest_balance", "0"),
        ],
    )
    def test_take_nothing_but_plain_numbers_and_names_within_bounds(self, field, typed):
        form = EditForm(objects=[CreditSettings()])
        shown = {name: form[name].value() for name in form.fields}
        sent = {name: "" if value is None else str(value) for name, value in shown.items()}
        form = EditForm(sent | {"reason": REASON, field: typed}, objects=[CreditSettings()])
        assert list(form.errors) == [field]


@pytest.mark.django_db
class TestSwitch:
    def test_takes_a_phrase_and_a_reason(self):
        client = as_role("Admin")
        assert errors(sent(client, SWITCH, confirmation="switch credits off"))
        assert newest() is None
        response = sent(client, SWITCH, confirmation="SWITCH CREDITS OFF")
        assert said(response) == ["Credits are switched off."]
        assert not newest().credits_enabled
        response = sent(client, SWITCH, confirmation="SWITCH CREDITS ON")
        assert said(response) == ["Credits are switched on."]
        assert [action for action, _ in recorded()] == [
            "ledger.credits.switched_off",
            "ledger.credits.switched_on",
        ]

    def test_sent_twice_does_not_switch_back(self):
        client = as_role("Admin")
        typed = opened(client, SWITCH) | {"confirmation": "SWITCH CREDITS OFF"}
        resent(client, SWITCH, typed)
        assert errors(resent(client, SWITCH, typed))
        assert not newest().credits_enabled

    @pytest.mark.parametrize("group", ["Finance", "Support", "Auditor"])
    def test_is_for_admin(self, group):
        assert as_role(group).get(SWITCH).status_code == 403

    @pytest.mark.parametrize("group", ["Admin", "Finance", "Support", "Auditor"])
    def test_is_warned_of_on_the_start_page_of_all_staff(self, group):
        client = as_role(group)
        assert "Credits are switched off" not in text(client.get("/admin/"))
        set_credit_settings(credits_enabled=False)
        assert "Credits are switched off" in text(client.get("/admin/"))


@pytest.mark.django_db
class TestForms:
    """The forms that move credits of a wallet obey the settings of now."""

    def test_ask_for_a_phrase_from_the_threshold_on(self):
        set_credit_settings(typed_confirmation_from=50)
        client, wallet = as_role("Finance"), wallet_with_credits(CustomerFactory(), award=100)
        page = page_of(wallet, "remove")
        assert not errors_of(client, page, amount="49")
        assert errors_of(client, page, amount="50") == ["This field is required."]

    @pytest.mark.parametrize(
        ("act", "field", "more"),
        [("add", "amount", {"credit_type": "award"}), ("set", "award", {})],
    )
    def test_take_no_more_than_the_largest_balance(self, act, field, more):
        set_credit_settings(largest_balance=500, typed_confirmation_from=1_000_000)
        client, wallet = as_role("Finance"), wallet_with_credits(CustomerFactory())
        page = page_of(wallet, act)
        assert "to 500." in errors_of(client, page, **more | {field: "501"})[0]
        assert not errors_of(client, page, **more | {field: "500"})


def errors_of(client, page, **typed):
    response = sent(client, page, **typed)
    return errors(response) if "form" in (response.context or {}) else []
