import json

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction

from accounts.errors import (
    ApprovalEnded,
    ApprovalNotWaiting,
    ConcernsYou,
    IdempotencyKeyReused,
    NotYourRequest,
    OwnRequest,
)
from accounts.models import Approval, Team, User
from accounts.services import approvals
from accounts.tasks import expire_approvals
from accounts.tests.approvals import (
    AT,
    DAY,
    PAYLOAD,
    SOON,
    approve,
    ask,
    refuse,
    register,
    staff,
    state,
    withdraw,
)
from accounts.tests.factories import StaffFactory, UserFactory
from audit.models import AuditEvent
from creditsite.errors import NotPermitted, Unavailable
from creditsite.testing.commits import check_deferred
from creditsite.testing.races import race


@pytest.fixture(autouse=True)
def kind(monkeypatch):
    monkeypatch.setattr(approvals, "KINDS", dict(approvals.KINDS))
    register()


@pytest.fixture(autouse=True)
def mails(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return mail.outbox


def events(approval):
    """What was recorded of an approval: who did what, and why."""
    rows = AuditEvent.objects.filter(approval_id=approval.pk).order_by("pk")
    return [(e.action.removeprefix("accounts.approval."), e.actor_id, e.reason) for e in rows]


def fresh(approval):
    return Approval.objects.get(pk=approval.pk)


@pytest.mark.django_db
class TestRequestApproval:
    def test_freezes_what_is_asked_for(self):
        maker, about = staff(), UserFactory()
        approval = fresh(ask(maker, about=about))
        assert (approval.maker, approval.about, approval.checker) == (maker, about, None)
        assert (approval.payload, approval.sentence) == (PAYLOAD, "Create the team Pool")
        assert (approval.status, approval.asked_at, approval.expires_at) == (
            "waiting",
            AT,
            AT + 7 * DAY,
        )
        assert approvals.is_as_asked(approval)
        assert events(approval) == [("asked", maker.pk, "the team asked")]
        assert Team.objects.count() == 0

    def test_hashes_canonical_bytes(self):
        one = approvals.hash_of(kind="a.b", maker_id=1, payload={"é": 1, "b": [True, None, "x"]})
        assert one == approvals.hash_of(
            kind="a.b", maker_id=1, payload={"b": [True, None, "x"], "é": 1}
        )
        others = [("a.c", 1, {"b": 1}), ("a.b", 2, {"b": 1}), ("a.b", 1, {"b": "1"})]
        hashes = {approvals.hash_of(kind=k, maker_id=m, payload=p) for k, m, p in others}
        assert len(hashes | {one}) == 4

    def test_is_the_same_for_the_same_caller_key_and_request(self):
        maker = staff()
        first = ask(maker, idempotency_key="k")
        assert ask(maker, idempotency_key="k", at=AT + DAY).pk == first.pk
        assert ask(staff(), idempotency_key="k").pk != first.pk
        assert ask(maker, idempotency_key="k", caller="key:7").pk != first.pk
        assert len(events(first)) == 1

    @pytest.mark.parametrize("other", [{"payload": {"name": "Pool"}}, {"reason": "another"}])
    def test_refuses_the_key_of_another_request(self, other):
        maker = staff()
        ask(maker, idempotency_key="k")
        with pytest.raises(IdempotencyKeyReused):
            ask(maker, idempotency_key="k", **other)

    def test_makes_another_without_a_key(self):
        maker = staff()
        assert ask(maker).pk != ask(maker).pk

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_refuses_a_maker_without_the_permission_of_the_act(self, group):
        for maker in (staff(group), User.objects.create_superuser("root@example.com")):
            with pytest.raises(NotPermitted):
                ask(maker)
        assert Approval.objects.count() == 0

    def test_refuses_what_touches_the_maker(self):
        maker = staff()
        with pytest.raises(ConcernsYou):
            ask(maker, payload={**PAYLOAD, "owner": maker.pk})

    def test_writes_to_each_who_may_decide(self, mails):
        maker, owner, colleague, admin = staff(), staff(), staff(), staff("Admin")
        staff("Support"), staff("Auditor"), staff(is_active=False)
        ask(maker, payload={**PAYLOAD, "owner": owner.pk})
        assert [message.to for message in mails] == [[colleague.email], [admin.email]]
        assert "Create the team Pool" in mails[0].body
        assert "the team asked" in mails[0].body


@pytest.mark.django_db
class TestApprove:
    def test_does_it_and_says_what_came_of_it(self, mails):
        approval, checker = ask(), staff()
        ended = fresh(approve(approval, checker))
        assert (ended.status, ended.checker, ended.decided_at) == ("executed", checker, SOON)
        assert (ended.note, ended.result) == ("looks right", {"team": Team.objects.get().pk})
        assert events(approval)[1:] == [("executed", checker.pk, "looks right")]
        assert mails[-1].to == [approval.maker.email]
        assert "approved, and done" in mails[-1].body

    def test_refuses_the_maker_whatever_they_are(self):
        maker = staff("Admin", is_superuser=True)
        approval = ask(maker)
        with pytest.raises(OwnRequest):
            approve(approval, maker)
        assert state(approval) == "waiting"
        assert events(approval)[1:] == [
            ("denied", maker.pk, "Nobody decides on what they asked for themselves.")
        ]

    def test_refuses_whom_it_touches(self):
        owner = staff("Admin", is_superuser=True)
        approval = ask(payload={**PAYLOAD, "owner": owner.pk})
        with pytest.raises(ConcernsYou):
            approve(approval, owner)
        assert [event[0] for event in events(approval)] == ["asked", "denied"]

    def test_refuses_others_and_superusers_without_a_group(self):
        approval = ask()
        checkers = [
            UserFactory(),
            staff("Support"),
            staff("Auditor"),
            staff(is_active=False),
            StaffFactory(is_staff=False),
            User.objects.create_superuser("root@example.com"),
        ]
        for checker in checkers:
            with pytest.raises(NotPermitted):
                approve(approval, checker)
            with pytest.raises(NotPermitted):
                refuse(approval, checker)
        assert state(approval) == "waiting"
        assert [event[0] for event in events(approval)[1:]] == ["denied"] * 12

    def test_looks_at_the_groups_as_they_are_now(self):
        approval, checker = ask(), staff()
        assert checker.may("accounts.decide_approval")
        User.objects.get(pk=checker.pk).groups.clear()
        with pytest.raises(NotPermitted):
            approve(approval, checker)

    def test_takes_the_permission_of_the_act_too(self, monkeypatch):
        approval = ask()
        only_decides = {"Finance": frozenset({"accounts.decide_approval"})}
        monkeypatch.setattr("accounts.permissions.PERMISSIONS", only_decides)
        with pytest.raises(NotPermitted):
            approve(approval)

    def test_fails_whole_if_it_is_refused_now(self, mails):
        approval, checker = ask(payload={**PAYLOAD, "refusal": "Conflict"}), staff()
        ended = fresh(approve(approval, checker))
        assert (ended.status, ended.error, ended.result) == ("failed", "Conflict, they said.", None)
        assert Team.objects.count() == 0
        assert events(approval)[1:] == [("failed", checker.pk, "looks right")]
        assert "Conflict, they said." in mails[-1].body

    def test_goes_on_waiting_for_a_service_that_did_not_answer(self):
        approval = ask(payload={**PAYLOAD, "refusal": "Unavailable"})
        with pytest.raises(Unavailable):
            approve(approval)
        assert (state(approval), Team.objects.count(), len(events(approval))) == ("waiting", 0, 1)

    def test_goes_on_waiting_if_something_breaks(self, monkeypatch):
        approval = ask()
        monkeypatch.setattr(Team.objects, "create", lambda **fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            approve(approval)
        assert (state(approval), len(events(approval))) == ("waiting", 1)

    @pytest.mark.parametrize("change", ["demoted", "deactivated", "no longer staff"])
    def test_ends_refused_if_the_maker_may_no_longer(self, change, mails):
        approval = ask()
        maker = approval.maker
        match change:
            case "demoted":
                maker.groups.clear()
            case "deactivated":
                User.objects.filter(pk=maker.pk).update(is_active=False)
            case "no longer staff":
                User.objects.filter(pk=maker.pk).update(is_staff=False)
        ended = fresh(approve(approval))
        assert (ended.status, ended.checker, Team.objects.count()) == ("refused", None, 0)
        assert events(approval)[1:] == [
            ("refused", None, "Who asked for it may no longer do this.")
        ]

    @pytest.mark.breaks_the_books
    def test_ends_refused_if_the_payload_is_not_what_was_hashed(self):
        approval = ask()
        check_deferred()
        with connection.cursor() as cursor:  # as only who owns the table can
            cursor.execute("ALTER TABLE accounts_approval DISABLE TRIGGER USER")
            cursor.execute("""UPDATE accounts_approval SET payload = '{"name": "Mine"}'""")
            cursor.execute(
                "ALTER TABLE accounts_approval ENABLE ALWAYS TRIGGER accounts_approval_guards_rows"
            )
        assert fresh(approve(approval)).status == "refused"
        assert Team.objects.count() == 0

    @pytest.mark.parametrize("end", [approve, refuse, withdraw])
    @pytest.mark.parametrize("decide", [approve, refuse, withdraw])
    def test_decides_once(self, end, decide):
        approval = ask()
        end(approval)
        before = fresh(approval).status
        with pytest.raises(ApprovalNotWaiting) as refusal:
            decide(approval)
        assert refusal.value.numbers == {"status": before}
        assert state(approval) == before

    @pytest.mark.parametrize("decide", [approve, refuse, withdraw])
    def test_is_too_late_when_the_time_is_over_though_nobody_booked_it(self, decide):
        approval = ask()
        with pytest.raises(ApprovalNotWaiting) as refusal:
            decide(approval, at=approval.expires_at)
        assert (refusal.value.numbers, Team.objects.count()) == ({"status": "expired"}, 0)
        decide(approval, at=approval.expires_at - DAY)

    def test_executes_once_for_32_checkers_at_once(self, ledger_db):
        approval = ask()
        checkers = [staff() for _ in range(32)]
        outcomes = race(*[lambda who=who: approve(approval, who) for who in checkers])
        assert sorted(outcomes) == ["Approval"] + ["ApprovalNotWaiting"] * 31
        assert (Team.objects.count(), state(approval)) == (1, "executed")
        assert [event[0] for event in events(approval)] == ["asked", "executed"]

    def test_is_one_request_however_often_it_is_sent_at_once(self, ledger_db):
        maker = staff()
        outcomes = race(*[lambda: ask(maker, idempotency_key="k")] * 8)
        assert outcomes == ["Approval"] * 8
        assert Approval.objects.count() == 1
        assert AuditEvent.objects.filter(action="accounts.approval.asked").count() == 1


@pytest.mark.django_db
class TestRefuse:
    def test_ends_it_undone(self, mails):
        approval, checker = ask(), staff()
        ended = fresh(refuse(approval, checker))
        assert (ended.status, ended.checker, ended.note) == ("refused", checker, "looks wrong")
        assert Team.objects.count() == 0
        assert events(approval)[1:] == [("refused", checker.pk, "looks wrong")]
        assert "looks wrong" in mails[-1].body

    def test_is_not_for_the_maker(self):
        approval = ask()
        with pytest.raises(OwnRequest):
            refuse(approval, approval.maker)


@pytest.mark.django_db
class TestWithdraw:
    def test_ends_it_undone(self):
        approval = ask()
        ended = fresh(withdraw(approval))
        assert (ended.status, ended.checker) == ("withdrawn", None)
        assert events(approval)[1:] == [("withdrawn", approval.maker_id, "not needed any more")]

    def test_is_for_the_maker_only(self):
        approval = ask()
        with pytest.raises(NotYourRequest):
            withdraw(approval, staff("Admin"))
        assert state(approval) == "waiting"


@pytest.mark.django_db
class TestExpireApprovals:
    def test_ends_what_nobody_decided_in_time(self, mails):
        late, early = ask(), ask(at=AT + DAY)
        assert approvals.expire_approvals(at=late.expires_at) == 1
        assert (state(late), state(early)) == ("expired", "waiting")
        assert events(late)[1:] == [("expired", None, "")]
        assert mails[-1].to == [late.maker.email]
        assert approvals.expire_approvals(at=late.expires_at) == 0

    def test_is_a_task(self):
        approval = ask()  # of a June that is over
        expire_approvals()
        assert state(approval) == "expired"


@pytest.mark.django_db
class TestApprovalAsked:
    def asked(self, approval, **other):
        request = {"fingerprint": approval.fingerprint, "at": SOON} | other
        return approvals.approval_asked(
            caller=approval.caller, idempotency_key=approval.key, **request
        )

    def test_finds_what_waits(self):
        approval = ask(idempotency_key="k")
        assert self.asked(approval) == approval

    def test_leaves_what_was_executed_to_the_books(self):
        approval = ask(idempotency_key="k")
        approve(approval)
        assert self.asked(approval) is None

    @pytest.mark.parametrize("end", [refuse, withdraw])
    def test_says_how_it_ended_otherwise(self, end):
        approval = ask(idempotency_key="k")
        status = end(approval).status
        with pytest.raises(ApprovalEnded) as refusal:
            self.asked(approval)
        assert refusal.value.numbers == {
            "approval": {"id": str(approval.public_id), "status": status}
        }

    def test_says_that_its_time_is_over(self):
        approval = ask(idempotency_key="k")
        with pytest.raises(ApprovalEnded):
            self.asked(approval, at=approval.expires_at)

    def test_refuses_the_key_of_another_request(self):
        approval, other = ask(idempotency_key="k"), ask()
        with pytest.raises(IdempotencyKeyReused):
            self.asked(approval, fingerprint=other.fingerprint)


@pytest.mark.django_db
class TestWaitingFor:
    def test_is_what_one_may_decide_on(self):
        maker, checker = staff(), staff()
        own, others = ask(checker), ask(maker)
        ask(maker, about=checker)
        refuse(ask(maker))
        assert list(approvals.waiting_for(checker, SOON)) == [others]
        assert list(approvals.waiting_for(maker, SOON)) == [own]
        assert approvals.waiting_for(staff("Auditor"), SOON).count() == 0
        assert approvals.waiting_for(checker, others.expires_at).count() == 0


@pytest.mark.django_db
class TestEraseText:
    WORDS = {"sentence": "", "reason": "", "note": "", "error": ""}

    def words(self, approval):
        return Approval.objects.values("sentence", "reason", "note", "error").get(pk=approval.pk)

    def erase(self, approval):
        return approvals.erase_text(approvals=Approval.objects.filter(pk=approval.pk), at=SOON)

    def test_erases_what_people_wrote_and_nothing_else(self):
        approval = approve(ask(payload={**PAYLOAD, "refusal": "Conflict"}))
        assert (self.erase(approval), self.erase(approval)) == (1, 0)
        assert self.words(approval) == self.WORDS
        assert (fresh(approval).status, fresh(approval).payload) == (
            "failed",
            {**PAYLOAD, "refusal": "Conflict"},
        )
        assert approvals.is_as_asked(fresh(approval))

    def test_stays_erased_when_it_is_decided_afterwards(self):
        approval = ask()
        self.erase(approval)
        approve(approval)
        assert (self.words(approval), state(approval)) == (self.WORDS, "executed")


SET = "UPDATE accounts_approval SET "
WAITING_CHANGES = {
    "payload": """payload = '{"name": "Mine"}'""",
    "one number of the payload": "payload = jsonb_set(payload, '{seats}', '4')",
    "hash": "payload_hash = repeat('0', 64)",
    "payload and hash": """payload = '{}', payload_hash = repeat('0', 64)""",
    "kind": "kind = 'ledger.add_credits'",
    "maker": "maker_id = {checker}",
    "about": "about_id = maker_id",
    "caller": "caller = 'key:1'",
    "key": "key = 'another'",
    "fingerprint": "fingerprint = gen_random_uuid()",
    "id": "id = id + 1",
    "public id": "public_id = gen_random_uuid()",
    "when it was asked": "asked_at = asked_at - interval '1 day'",
    "its time": "expires_at = expires_at + interval '1 year'",
    "sentence": "sentence = 'Create nothing'",
    "reason": "reason = 'another'",
    "checked by its maker": (
        "status = 'executed', checker_id = maker_id, decided_at = asked_at, result = '{}'"
    ),
    "executed by nobody": "status = 'executed', decided_at = asked_at, result = '{}'",
    "executed at no time": "status = 'executed', checker_id = {checker}, result = '{{}}'",
    "executed without a result": (
        "status = 'executed', checker_id = {checker}, decided_at = asked_at"
    ),
    "executed too late": (
        "status = 'executed', checker_id = {checker}, decided_at = expires_at, result = '{{}}'"
    ),
    "failed by nobody": "status = 'failed', decided_at = asked_at, error = 'x'",
    "failed with a result": (
        "status = 'failed', checker_id = {checker}, decided_at = asked_at, result = '{{}}'"
    ),
    "refused by its maker": "status = 'refused', checker_id = maker_id, decided_at = asked_at",
    "refused at no time": "status = 'refused', checker_id = {checker}",
    "withdrawn by a colleague": (
        "status = 'withdrawn', checker_id = {checker}, decided_at = asked_at"
    ),
    "expired too early": "status = 'expired', decided_at = asked_at",
    "an unknown status": "status = 'approved', checker_id = {checker}, decided_at = asked_at",
    "half decided": "checker_id = {checker}, decided_at = asked_at",
    "a note before it is decided": "note = 'go on'",
    "executed with another payload": (
        "status = 'executed', checker_id = {checker}, decided_at = asked_at, result = '{{}}',"
        " payload = '{{}}'"
    ),
}
ENDED_CHANGES = {
    "back to waiting": (
        "status = 'waiting', checker_id = NULL, decided_at = NULL, result = NULL, note = '',"
        " error = ''"
    ),
    "executed after all": (
        "status = 'executed', checker_id = {checker}, decided_at = asked_at, result = '{{}}',"
        " error = ''"
    ),
    "failed after all": (
        "status = 'failed', checker_id = {checker}, decided_at = asked_at, result = NULL"
    ),
    "refused after all": (
        "status = 'refused', checker_id = {checker}, decided_at = asked_at, result = NULL,"
        " error = ''"
    ),
    "another checker": "checker_id = {checker}",
    "another time": "decided_at = decided_at + interval '1 second'",
    "another result": """result = '{{"team": 0}}'""",
    "another note": "note = 'another'",
    "another error": "error = 'another'",
    "payload": "payload = '{{}}'",
}


@pytest.mark.django_db
class TestTheDatabase:
    def assert_refused(self, approval, change):
        before = Approval.objects.filter(pk=approval.pk).values().get()
        with pytest.raises(DatabaseError):
            self.try_to(change)
        assert Approval.objects.filter(pk=approval.pk).values().get() == before

    def try_to(self, change):
        with transaction.atomic(), connection.cursor() as cursor:
            # As a replica would: only what is ENABLE ALWAYS stands.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(change)
            assert cursor.rowcount, "it found no row that it could have changed"

    @pytest.mark.parametrize("change", WAITING_CHANGES.values(), ids=WAITING_CHANGES)
    def test_lets_nothing_of_a_waiting_one_change_but_its_end(self, change):
        approval = ask()
        change = change.format(checker=staff().pk) if "{checker}" in change else change
        self.assert_refused(approval, SET + change)

    @pytest.mark.parametrize("change", ENDED_CHANGES.values(), ids=ENDED_CHANGES)
    def test_lets_what_has_ended_be(self, change):
        change = change.format(checker=staff().pk)
        maker, checker = staff(), staff()
        for ended in (
            approve(ask(maker), checker),
            refuse(ask(maker), checker),
            withdraw(ask(maker)),
        ):
            self.assert_refused(ended, SET + change + f" WHERE id = {ended.pk}")

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM accounts_approval",
            "TRUNCATE accounts_approval",
            "TRUNCATE accounts_approval CASCADE",
            "UPDATE accounts_approval SET text_erased_at = NULL",
            "UPDATE accounts_approval SET text_erased_at = now()",
        ],
    )
    def test_keeps_it_and_its_erasure(self, statement):
        approval = refuse(ask())
        approvals.erase_text(approvals=Approval.objects.all(), at=SOON)
        self.assert_refused(approval, statement)

    @pytest.mark.parametrize(
        "columns",
        [
            {"status": "executed"},
            {"status": "refused"},
            {"text_erased_at": "2026-06-01"},
            {"checker_id": "maker_id"},
        ],
    )
    def test_lets_none_begin_otherwise_than_waiting(self, columns):
        approval = ask()
        names = [field.column for field in Approval._meta.fields if field.column != "id"]
        fresh_ones = {"public_id": "gen_random_uuid()", "key": "'another'"}
        given = {
            name: f"'{value}'" if name != "checker_id" else value for name, value in columns.items()
        }
        if given.get("status"):
            given |= {"checker_id": str(staff().pk), "decided_at": "asked_at"}
            given |= {"result": "'{}'"} if columns["status"] == "executed" else {}
        values = [(fresh_ones | given).get(name, name) for name in names]
        statement = "INSERT INTO accounts_approval ({}) SELECT {} FROM accounts_approval"
        self.assert_refused(approval, statement.format(", ".join(names), ", ".join(values)))

    def test_has_all_its_guards_always_on(self):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tgname, tgenabled FROM pg_trigger"
                " WHERE tgrelid = 'accounts_approval'::regclass AND NOT tgisinternal ORDER BY 1"
            )
            assert cursor.fetchall() == [
                ("accounts_approval_guards_rows", "A"),
                ("accounts_approval_guards_table", "A"),
            ]


def test_the_payload_survives_the_database_to_the_letter(db):
    payload = {"b": [1, {"z": None, "a": True}], "a": 'é\u2028 "\\', "n": 10**18}
    assert approvals.is_as_asked(fresh(ask(payload={**payload, "name": "x"})))
    assert json.loads(json.dumps(payload)) == payload
