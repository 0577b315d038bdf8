"""Costs of projects: told once, turned into credits once, and told month by month."""

import io
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Approval, User
from accounts.services.approvals import approve
from audit.models import AuditEvent
from billing.errors import CostNotWaiting, WrongLines
from billing.models import ProjectAccount, ProjectCost, ProjectDebit
from billing.queries.projects import invoice_of, invoice_rows, month_at, totals_of_month
from billing.services.project_costs import (
    Cost,
    Recorded,
    credits_due,
    debit_due_costs,
    next_refresh,
    record_costs,
    rounded_up,
    void_costs,
)
from billing.services.project_data import Projects
from billing.services.project_files import Uploaded, upload_costs
from billing.tests.test_admin_payments import signed_in
from creditsite.errors import InvalidRequest, NotPermitted
from creditsite.testing import race
from ledger.models import CreditTransaction, Wallet
from ledger.queries.wallets import wallet_of
from ledger.services.adjustments import pause_wallet, resume_wallet, reverse_transaction
from ledger.tests.api import as_service, as_user, poor_user, refused
from ledger.tests.factories import (
    AT,
    DAY,
    HOUR,
    CustomerFactory,
    available,
    close,
    finance,
    priced_feature,
    set_credit_settings,
    spend,
    wallet_with_credits,
)
from ledger.tests.pages import errors, resent, said, text

COSTS = "/admin/billing/projectcost/"
HEADER = "id,email,project,cost,currency,period,description,reference\n"


def cost(user: User, **more: Any) -> Cost:
    usual: dict[str, Any] = {
        "idempotency_key": "c1",
        "user_id": user.pk,
        "project": "apollo",
        "amount_minor": 1_000,
        "currency": "usd",
        "period": "2026-05",
    }
    return Cost(**usual | more)


def record(*costs: Cost, at: Any = AT, **more: Any) -> list[Recorded]:
    return record_costs(costs=costs, caller="key:1", at=at, **more)


def refresh(at: Any = AT + HOUR) -> int:
    return debit_due_costs(clock=lambda: at)


def upload(content: str, actor: User | None = None, key: str = "k", **more: Any) -> Any:
    return upload_costs(
        file=io.BytesIO(content.encode()),
        name="costs.csv",
        reason="May",
        actor=actor or finance(),
        caller="user:1",
        at=AT,
        idempotency_key=key,
        **more,
    )


@pytest.fixture
def wallet(db: None) -> Wallet:
    return wallet_with_credits(CustomerFactory(), purchase=500)


@pytest.mark.django_db
class TestRecording:
    def test_keeps_a_cost_until_the_next_refresh(self, wallet):
        (recorded,) = record(cost(wallet.user))
        assert recorded.status == "accepted"
        kept = ProjectCost.objects.get(public_id=recorded.cost_id)
        assert (kept.status, kept.due_at) == ("waiting", AT + HOUR)
        assert refresh(AT + HOUR / 2) == 0
        assert available(wallet) == 500

    def test_knows_a_cost_by_its_key_for_ever(self, wallet):
        first, second = record(cost(wallet.user), cost(wallet.user))
        (later,) = record(cost(wallet.user), at=AT + DAY)
        assert [first.status, second.status, later.status] == ["accepted", "replayed", "replayed"]
        assert first.cost_id == second.cost_id == later.cost_id
        (other,) = record(cost(wallet.user, amount_minor=1_001))
        assert (other.status, other.code) == ("refused", "idempotency_key_reused")
        (of_another,) = record_costs(costs=[cost(wallet.user)], caller="key:2", at=AT)
        assert of_another.status == "accepted"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"amount_minor": 0},
            {"amount_minor": -1},
            {"amount_minor": 10**12 + 1},
            {"currency": "USD"},
            {"currency": "eur"},
            {"period": "2026-13"},
            {"period": "2026-06-31"},
            {"period": "2026-06-03"},
            {"period": "2026"},
            {"period": "２０２６-05"},
            {"project": ""},
            {"project": "x" * 201},
            {"user_id": 0},
        ],
    )
    def test_refuses_one_that_can_never_be_charged_and_harms_no_other(self, wallet, wrong):
        bad, good = record(cost(wallet.user, idempotency_key="bad", **wrong), cost(wallet.user))
        assert (bad.status, good.status) == ("refused", "accepted")
        assert bad.why
        assert ProjectCost.objects.count() == 1

    def test_refuses_costs_of_who_has_left(self, wallet):
        User.objects.filter(pk=wallet.user_id).update(is_active=False)
        assert record(cost(wallet.user))[0].code == "invalid_request"

    def test_of_the_same_key_at_once_is_kept_once(self, ledger_db):
        wallet = wallet_with_credits(CustomerFactory(), purchase=500)
        statuses: list[str] = []
        race(*[lambda: statuses.append(record(cost(wallet.user))[0].status)] * 8)
        assert sorted(statuses) == ["accepted"] + ["replayed"] * 7
        assert ProjectCost.objects.count() == 1


@pytest.mark.django_db
class TestRefresh:
    def test_takes_credits_at_the_price_and_the_margin(self, wallet):
        set_credit_settings(project_cost_margin=Decimal(20))
        record(cost(wallet.user))
        assert refresh() == 1
        debit = ProjectDebit.objects.get()
        # 10.00 USD and a fifth, at 0.10 a credit
        assert (debit.credits, debit.due, debit.amount_minor) == (120, 120, 1_000)
        moved = debit.transaction
        assert (moved.kind, moved.amount, moved.project) == ("usage", -120, "apollo")
        assert available(wallet) == 380
        assert refresh() == 0
        assert refresh(AT + DAY) == 0

    def test_takes_all_that_wait_of_a_project_in_one_movement(self, wallet):
        record(*[cost(wallet.user, idempotency_key=f"c{n}", amount_minor=33) for n in range(7)])
        record(cost(wallet.user, idempotency_key="other", project="gemini"))
        assert refresh() == 2
        assert sorted(d.credits for d in ProjectDebit.objects.all()) == [24, 100]

    def test_takes_the_next_rounding_off_the_one_before(self, wallet):
        for hour in range(10):  # a tenth of a credit each
            record(
                cost(wallet.user, idempotency_key=f"c{hour}", amount_minor=1), at=AT + hour * HOUR
            )
            assert refresh(AT + (hour + 1) * HOUR) == 1
        assert [d.credits for d in ProjectDebit.objects.order_by("pk")] == [1] + [0] * 9
        assert available(wallet) == 499
        assert ProjectAccount.objects.get().ahead == 0
        assert ProjectDebit.objects.filter(transaction=None).count() == 9

    def test_makes_what_is_not_there_a_debt(self, wallet):
        record(cost(wallet.user, amount_minor=6_000))
        refresh()
        wallet.refresh_from_db()
        assert (wallet.purchase, wallet.debt) == (0, 100)

    def test_waits_while_the_wallet_is_paused(self, wallet):
        staff = finance()
        pause_wallet(wallet=wallet, reason="x", actor=staff, at=AT)
        record(cost(wallet.user))
        assert refresh() == 0
        assert "paused" in ProjectCost.objects.get().why
        resume_wallet(wallet=wallet, reason="x", actor=staff, at=AT)
        assert refresh() == 1
        assert ProjectCost.objects.get().why == ""

    def test_waits_while_credits_are_switched_off_or_the_wallet_is_closed(self, wallet):
        set_credit_settings(credits_enabled=False)
        record(cost(wallet.user))
        assert refresh() == 0
        set_credit_settings(credits_enabled=True)
        close(wallet)
        assert refresh() == 0
        assert ProjectCost.objects.get().status == "waiting"

    def test_of_one_that_cannot_be_debited_harms_no_other(self, wallet):
        other = wallet_with_credits(CustomerFactory(), purchase=500)
        pause_wallet(wallet=wallet, reason="x", actor=finance(), at=AT)
        record(cost(wallet.user), cost(other.user, idempotency_key="c2"))
        assert refresh() == 1
        assert available(other) == 400

    def test_never_charges_usage_that_was_charged_in_credits(self, wallet):
        spend(wallet, 5, project="apollo", reference_id="job-7")
        spend(wallet, 5, project="gemini", reference_id="job-8")
        record(
            cost(wallet.user, reference_id="job-7"),
            cost(wallet.user, idempotency_key="c2", reference_id="job-8"),
            cost(wallet.user, idempotency_key="c3", reference_id="job-9"),
        )
        assert refresh() == 1
        states = dict(ProjectCost.objects.values_list("reference_id", "status"))
        assert states == {"job-7": "covered", "job-8": "debited", "job-9": "debited"}
        assert available(wallet) == 290

    def test_by_many_workers_at_once_charges_each_cost_once(self, ledger_db):
        wallet = wallet_with_credits(CustomerFactory(), purchase=500)
        record(
            *[
                cost(wallet.user, idempotency_key=f"c{n}", project=f"p{n % 5}", amount_minor=10)
                for n in range(50)
            ]
        )
        race(*[refresh] * 4)
        while refresh():
            pass
        assert available(wallet) == 450
        assert ProjectCost.objects.filter(status="debited").count() == 50
        assert sum(d.credits for d in ProjectDebit.objects.all()) == 50

    def test_that_fails_half_way_leaves_nothing_and_keeps_no_other_waiting(
        self, wallet, monkeypatch
    ):
        other = wallet_with_credits(CustomerFactory(), purchase=500)
        record(cost(wallet.user), cost(other.user, idempotency_key="c2"))
        real = ProjectDebit.save
        monkeypatch.setattr(
            ProjectDebit,
            "save",
            lambda debit: 1 / 0 if debit.account.user == wallet.user else real(debit),
        )
        assert refresh() == 1
        assert (available(wallet), available(other)) == (500, 400)
        monkeypatch.undo()
        assert refresh() == 1
        assert (available(wallet), available(other)) == (400, 400)

    def test_comes_at_whole_intervals(self, db):
        assert next_refresh(AT) == AT + HOUR
        assert next_refresh(AT + HOUR / 3) == AT + HOUR
        set_credit_settings(project_cost_refresh_minutes=1_440)
        assert next_refresh(AT) == AT + 12 * HOUR


class TestRule:
    @given(
        st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**7)), min_size=1, max_size=30),
        st.integers(0, 10_000),
    )
    def test_charges_at_most_one_credit_more_than_all_at_once(self, costs, margin):
        taken, due, ahead = 0, Decimal(0), Decimal(0)
        for amount, price in costs:
            each = credits_due(amount, "usd", Decimal(price).scaleb(-6), Decimal(margin) / 100)
            credits, ahead = rounded_up(each, ahead)
            taken, due = taken + credits, due + each
            assert credits >= 0
            assert 0 <= ahead < 1
        assert taken - due == ahead

    def test_knows_currencies_without_small_coins(self):
        assert credits_due(1_000, "jpy", Decimal(10), Decimal(0)) == 100
        assert credits_due(1_000, "kwd", Decimal(10), Decimal(0)) == Decimal("0.1")


@pytest.mark.django_db
class TestBooks:
    def test_never_change_what_was_told_or_taken(self, wallet):
        record(cost(wallet.user))
        refresh()
        for statement in [
            "UPDATE billing_projectcost SET amount_minor = 1",
            "UPDATE billing_projectcost SET status = 'waiting', debit_id = NULL",
            "DELETE FROM billing_projectcost",
            "UPDATE billing_projectdebit SET credits = 1",
            "DELETE FROM billing_projectdebit",
            "TRUNCATE billing_projectcost",
        ]:
            with pytest.raises(DatabaseError), transaction.atomic():
                connection.cursor().execute(statement)

    def test_keep_the_figures_of_who_is_erased_and_none_of_their_words(self, wallet):
        keeper, user = Projects(), wallet.user
        record(cost(user, description="Servers for Ada", reference_id="ada-1"))
        assert "wait" in keeper.obstacles(user, AT)[0]
        refresh()
        assert keeper.obstacles(user, AT) == []
        assert [row["project"] for row in keeper.export(user, AT)["project_costs"]] == ["apollo"]
        keeper.erase(user=user, words=[], at=AT)
        kept = ProjectCost.objects.select_related("account").get()
        assert (kept.description, kept.reference_id, kept.amount_minor) == ("", "", 1_000)
        assert kept.account.project == f"erased {kept.account.pk}"
        assert keeper.erases(user) == {}


@pytest.mark.django_db
class TestVoiding:
    def test_takes_back_a_cost_that_waits(self, wallet):
        record(cost(wallet.user))
        void_costs(costs=ProjectCost.objects.all(), reason="twice", actor=finance(), at=AT)
        assert refresh() == 0
        assert AuditEvent.objects.get(action="billing.project_cost.voided").reason == "twice"

    def test_refuses_what_is_debited_and_who_may_not(self, wallet):
        record(cost(wallet.user))
        with pytest.raises(NotPermitted):
            void_costs(costs=ProjectCost.objects.all(), reason="x", actor=wallet.user, at=AT)
        refresh()
        with pytest.raises(CostNotWaiting):
            void_costs(costs=ProjectCost.objects.all(), reason="x", actor=finance(), at=AT)


@pytest.mark.django_db
class TestFiles:
    def line(self, wallet: Wallet, **more: str) -> str:
        cells = {
            "id": "a1", "email": wallet.user.email, "project": "apollo", "cost": "10.00",
            "currency": "USD", "period": "2026-05", "description": "Servers", "reference": "",
        }  # fmt: skip
        return ",".join((cells | more).values()) + "\n"

    def test_are_entered_once_for_each_id(self, wallet):
        content = HEADER + self.line(wallet) + self.line(wallet, id="a2", cost="0.5")
        assert upload(content) == Uploaded(new=2, repeated=0)
        assert upload(content, key="again") == Uploaded(new=0, repeated=2)
        refresh()
        assert available(wallet) == 395
        event = AuditEvent.objects.filter(action="billing.project_costs.entered").first()
        assert event.after["money"] == {"usd": 1_050}

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ({"cost": "10,00"}, "cells"),
            ({"cost": "1e3"}, "not an amount"),
            ({"cost": "-1"}, "not an amount"),
            ({"cost": "0"}, "minor units"),
            ({"cost": "0.001"}, "decimal places"),
            ({"cost": "１０"}, "not an amount"),
            ({"currency": "XXX"}, "currency"),
            ({"currency": "EUR"}, "sold"),
            ({"email": "nobody@example.com"}, "nobody active"),
            ({"period": "May"}, "period"),
            ({"id": ""}, "id"),
            ({"project": ""}, "project"),
            ({"project": "a\u202eb"}, "not allowed here"),
        ],
    )
    def test_with_a_wrong_line_enter_nothing_and_say_which(self, wallet, more, why):
        content = HEADER + self.line(wallet, id="good") + self.line(wallet, **more)
        with pytest.raises(WrongLines, match="Line 3") as refusal:
            upload(content)
        assert why in str(refusal.value)
        assert not ProjectCost.objects.exists()

    @pytest.mark.parametrize("content", ["", "id;email\n", HEADER, "id,email\n", "PK\x03\x04"])
    def test_that_are_none_are_refused(self, db, content):
        with pytest.raises(InvalidRequest):
            upload(content)

    def test_never_enter_costs_of_who_sends_them(self, db):
        staff = finance()
        with pytest.raises(NotPermitted):
            upload(HEADER + self.line(wallet_of(staff)), staff)

    def test_that_come_to_much_take_a_second_person(self, wallet):
        set_credit_settings(approval_batch_credits_above=99)
        waiting = upload(HEADER + self.line(wallet))
        assert isinstance(waiting, Approval)
        assert upload(HEADER + self.line(wallet), waiting.maker) == waiting
        assert not ProjectCost.objects.exists()
        approve(approval=waiting, checker=finance(), note="", at=AT)
        assert ProjectCost.objects.get().added_by == waiting.maker

    def test_are_entered_by_command_however_long(self, wallet, tmp_path, capsys):
        path = tmp_path / "costs.csv"
        lines = [self.line(wallet, id=f"n{n}", cost="0.10") for n in range(1_500)]
        path.write_text(HEADER + "".join(lines))
        call_command("import_project_costs", path, "--dry-run")
        assert not ProjectCost.objects.exists()
        call_command("import_project_costs", path)
        call_command("import_project_costs", path)
        assert ProjectCost.objects.count() == 1_500
        assert "0 entered, 1,500 entered before" in capsys.readouterr().out
        path.write_text(HEADER + self.line(wallet, id="new", cost="x"))
        with pytest.raises(CommandError, match="1 lines are wrong"):
            call_command("import_project_costs", path)


@pytest.mark.django_db
class TestInvoices:
    def test_tie_to_the_ledger(self, wallet):
        priced_feature("report", 3)
        charged = spend(wallet, 30, project="apollo")
        spend(wallet, 9)
        record(cost(wallet.user), cost(wallet.user, idempotency_key="c2", amount_minor=55))
        refresh()
        original = CreditTransaction.objects.get(pk=charged.transaction_id)
        reverse_transaction(
            original=original, reason="x", actor=finance(), caller="user:9", at=AT, amount=10
        )
        spend(wallet, 7, project="apollo", at=AT + 40 * DAY)
        june = month_at(None, AT)
        found = invoice_of(june, wallet, "apollo")
        assert (found.total.usage, found.total.costs, found.total.given_back) == (30, 106, 10)
        assert [(f.code, f.times, f.credits) for f in found.features] == [("", 1, 30)]
        assert [len(debit.costs.all()) for debit in found.debits] == [2]
        assert found.total.credits == 126
        lines = list(invoice_rows(found))
        assert sum(line[7] or 0 for line in lines[:-1]) == lines[-1][7] == 126
        assert [t.credits for t in totals_of_month(june)] == [126]
        july = month_at(june.after, AT)
        assert [t.credits for t in totals_of_month(july, wallet=wallet)] == [7]

    def test_name_what_became_a_debt(self, wallet):
        record(cost(wallet.user, amount_minor=6_000))
        refresh()
        assert totals_of_month(month_at(None, AT))[0].credits == 600


@pytest.mark.django_db
class TestApi:
    def told(self, user: User, **more: Any) -> dict[str, Any]:
        usual = {
            "idempotency_key": "c1",
            "project": "apollo",
            "user_id": user.pk,
            "cost": {"amount_minor": 1_000, "currency": "usd"},
            "period": "2026-05",
        }
        return usual | more

    def test_takes_many_and_one_bad_one_harms_no_other(self):
        user, service = poor_user(), as_service("billing:write")
        costs = [
            self.told(user),
            self.told(user, idempotency_key="c2", cost={"amount_minor": 1.5, "currency": "usd"}),
            self.told(user, idempotency_key="c3", cost={"amount_minor": 5, "currency": "eur"}),
            "nonsense",
            self.told(user),
        ]
        answer = service.post("billing/project-costs", {"costs": costs})
        assert answer.status_code == 200
        results = answer.json()["results"]
        assert [r["status"] for r in results] == [
            "accepted", "refused", "refused", "refused", "replayed",
        ]  # fmt: skip
        assert list(results[1]["errors"]) == ["cost.amount_minor"]
        assert "EUR" in results[2]["detail"]
        assert results[0]["cost_id"] == results[4]["cost_id"]

    def test_is_for_services_alone(self):
        body = {"costs": [self.told(poor_user())]}
        assert refused(as_user(poor_user()).post("billing/project-costs", body))[0] == 403
        assert (
            refused(as_service("billing:read").post("billing/project-costs", body))[1]
            == "missing_scope"
        )


@pytest.mark.django_db
class TestPages:
    def test_list_costs_and_void_them(self, wallet):
        record(cost(wallet.user, description="Servers"))
        client = signed_in()
        assert "Servers" in text(client.get(COSTS))
        row = ProjectCost.objects.get()
        data = {"action": "void_selected", "_selected_action": row.pk}
        asked = client.post(COSTS, data)
        sent = {name: asked.context["form"][name].value() for name in asked.context["form"].fields}
        done = resent(client, COSTS, {k: v for k, v in sent.items() if v} | data)
        assert said(done) == ["1 voided: they never become credits."]

    def test_take_a_file(self, wallet):
        client = signed_in()
        form = client.get(f"{COSTS}add/").context["form"]
        request_id = form["request_id"].value()
        for content, expected in [
            (HEADER + "x\n", None),
            (HEADER + TestFiles().line(wallet), "1 costs were entered; 0 were there before."),
        ]:
            file = io.BytesIO(content.encode())
            file.name = "costs.csv"
            answer = resent(client, f"{COSTS}add/", {"file": file, "request_id": request_id})
            if expected is None:
                assert "Line 2: 1 cells" in errors(answer)[0]
            else:
                assert said(answer) == [expected]

    def test_show_invoices_and_send_them_as_files(self, wallet):
        record(cost(wallet.user, project="=apollo"))
        refresh()
        client = signed_in()
        page = text(client.get(f"{COSTS}invoices/?month=2026-06"))
        assert "=apollo" in page
        asked = f"wallet={wallet.pk}&project=%3Dapollo&month=2026-06"
        assert "10.00 USD" in text(client.get(f"{COSTS}invoice/?{asked}"))
        for act, there in [
            (f"export-invoice/?{asked}", "total,'=apollo,"),
            ("export-invoices/?month=2026-06", "'=apollo,0,100,0,100"),
            ("export-costs/?month=2026-06", "'=apollo,10.00,USD,2026-05,debited"),
        ]:
            answer = client.post(f"{COSTS}{act}")
            assert there in b"".join(answer.streaming_content).decode()
            assert client.get(f"{COSTS}{act}").status_code == 302
        assert AuditEvent.objects.filter(action="ledger.report.exported").count() == 3
        for wrong in [
            "invoices/?month=2026-13",
            "invoices/?month=1999-01",
            "invoice/",
            "invoice/?wallet=x&project=a",
        ]:
            assert client.get(f"{COSTS}{wrong}").status_code == 404

    def test_show_a_user_their_own_projects_alone(self, wallet, client):
        record(cost(wallet.user, description="Servers"))
        refresh()
        client.force_login(wallet.user)
        assert "apollo" in text(client.get("/billing/projects/?month=2026-06"))
        asked = "?project=apollo&month=2026-06"
        assert "Servers" in text(client.get(f"/billing/projects/invoice/{asked}"))
        lines = b"".join(client.get(f"/billing/projects/invoice.csv{asked}").streaming_content)
        assert b"total,apollo" in lines
        client.force_login(CustomerFactory())
        assert "Servers" not in text(client.get(f"/billing/projects/invoice/{asked}"))
        assert client.get("/billing/projects/invoice/").status_code == 404
