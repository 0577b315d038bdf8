"""
A person whose every free text is a word found nowhere else, erased: no such word is left, in a
dump of the database, in logs, exports or Redis, while balances, chain and seals are as they were.
"""

import io
import json
import logging
import os
import subprocess

import pytest
import redis
from django.core.mail import send_mail
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient
from structlog.stdlib import ProcessorFormatter

from accounts.models import Job, Team, User
from accounts.services import approvals
from accounts.services.api_keys import create_api_key, revoke_api_key
from accounts.services.data_export import document_of
from accounts.services.jobs import create_job, run_job
from accounts.services.teams import create_team, delete_team
from accounts.services.users import change_role, rename_user, set_staff_groups
from accounts.tests.erasing import asked_for, erased
from accounts.tests.factories import StaffFactory, UserFactory
from accounts.tests.sign_in import member, sign_in
from audit.models import AuditEvent
from creditsite.running.programs import binaries
from creditsite.testing.commands import database_url
from creditsite.testing.people import as_role
from ledger.models import CreditTransaction, Entry
from ledger.services.adjustments import pause_wallet, resume_wallet
from ledger.tests.api import as_user

PASSWORD = "correct horse battery"
CANARIES = {
    name: f"canary{name}"
    for name in [
        "mail", "name", "oldname", "description", "reference", "project", "metadata", "reason",
        "note", "key", "team", "file", "agent", "hold", "subject",
    ]
}  # fmt: skip
EMAIL = f"{CANARIES['mail']}@example.com"
ADDRESS = "198.51.100.77"  # theirs as well: it is looked for as a word of its own


def seed() -> User:
    """Sign somebody up and let them, and staff, leave words wherever words can be left."""
    at, admin, canary = timezone.now(), StaffFactory(), CANARIES
    admin.refresh_from_db()
    body = {"email": EMAIL, "password": PASSWORD, "name": canary["oldname"]}
    assert APIClient().post("/api/auth/register", body).status_code == 201
    user = User.objects.get(email=EMAIL)
    rename_user(user=user, name=f"Zoe {canary['name']}", actor=admin, reason="x" * 10, at=at)
    user.refresh_from_db()
    browse(user)
    spend_and_hold(user)
    serve_as_staff(user, admin)
    own_a_team(user, admin)
    wallet = user.wallet
    for act in (pause_wallet, resume_wallet):
        act(wallet=wallet, reason=f"{canary['reason']} for {EMAIL.upper()}", actor=admin, at=at)
    asked = asked_for(user, at=at)
    approvals.refuse(approval=asked, checker=StaffFactory(), note=canary["note"], at=at)
    send_mail(f"About {canary['subject']}", f"To {canary['name']}", None, [EMAIL])
    # What colleagues were sent about them, and an import of somebody else's that failed at them.
    send_mail("A report", f"{EMAIL} was late", None, [admin.email])
    job = create_job(kind="import", params={"only": [EMAIL]}, chunks=[(0, 1)], created_by=admin)
    Job.objects.filter(pk=job.pk).update(status="done", error=f"KeyError: {EMAIL}")
    return user


def browse(user: User) -> None:
    """Sign in on the web, wrongly first, and ask for a new password."""
    browser = Client(HTTP_USER_AGENT=CANARIES["agent"], REMOTE_ADDR=ADDRESS)
    sign_in(browser, EMAIL, "wrong")
    assert sign_in(browser, EMAIL).status_code == 302
    Client(REMOTE_ADDR=ADDRESS).post("/accounts/password/reset/", {"email": EMAIL})
    body = {"email": EMAIL, "password": "wrong"}
    APIClient(REMOTE_ADDR=ADDRESS).post("/api/auth/token", body)


def spend_and_hold(user: User) -> None:
    texts = {
        "description": CANARIES["description"],
        "reference_id": CANARIES["reference"],
        "project": CANARIES["project"],
        "metadata": {"of": CANARIES["metadata"]},
    }
    caller = as_user(user)
    assert caller.post("credits/deduct", {"amount": 5, **texts}).status_code == 200
    hold = caller.post("credits/holds", {"amount": 3, "description": CANARIES["hold"]}).json()
    assert caller.post(f"credits/holds/{hold['id']}/release").status_code == 200


def serve_as_staff(user: User, admin: User) -> None:
    """Be staff for a while: make a key, run an import, and act on somebody else."""
    at, record = timezone.now(), {"actor": admin, "reason": "a while", "at": timezone.now()}
    set_staff_groups(user=user, is_staff=True, groups=["Admin"], **record)
    user = User.objects.get(pk=user.pk)
    key, _ = create_api_key(
        name=CANARIES["key"], owner=user, scopes=["credits:read"], actor=user, at=at, reason="x"
    )
    revoke_api_key(key=key, actor=admin, reason=f"{CANARIES['name']} leaves", at=at)
    rename_user(user=UserFactory(), name="Bob", actor=user, reason=CANARIES["reason"], at=at)
    params = {"file": f"/imports/{CANARIES['file']}.csv"}
    job = create_job(kind="import", params=params, chunks=[(0, 1)], created_by=user)
    run_job(job, work=lambda **work: {"rows": 1})
    set_staff_groups(user=user, is_staff=False, groups=[], **record)


def own_a_team(user: User, admin: User) -> None:
    from accounts.models import Role

    at, reason = timezone.now(), "a while, says the customer"
    role = Role.objects.get(code="team_admin")
    change_role(user=user, role=role, actor=admin, reason=reason, at=at)
    owner = User.objects.get(pk=user.pk)
    team = create_team(name=CANARIES["team"], owner=owner, actor=admin, at=at, reason=reason)
    delete_team(team=team, actor=admin, reason=reason, at=at)
    assert not Team.objects.filter(name=CANARIES["team"]).exists()


def found_in(text: str) -> list[str]:
    return sorted({word for word in [*CANARIES.values(), ADDRESS] if word in text.lower()})


def dump() -> str:
    """Return all of the test's database as ``pg_dump`` writes it."""
    command = [str(binaries() / "pg_dump"), "--inserts", "--dbname", database_url()]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return done.stdout


def books() -> list[object]:
    """Return all that the books say, but for texts and what follows when a wallet is closed."""
    kept = ["id", "wallet", "number", "kind", "amount", "balance_after", "key", "text_digest"]
    moved = CreditTransaction.objects.exclude(kind="void").order_by("pk").values_list(*kept)
    entries = Entry.objects.exclude(transaction__kind="void").order_by("transaction", "position")
    return [*moved, *entries.values_list("transaction", "position", "grant", "amount")]


@pytest.fixture
def record(settings, tmp_path):
    """Let the audit record be sealed and verified by files of the test's own."""
    settings.AUDIT_SIGNING_KEY_FILE = str(tmp_path / "signing_key.pem")
    settings.AUDIT_CHECKPOINT_FILE = str(tmp_path / "checkpoints.jsonl")
    settings.AUDIT_STATE_FILE = str(tmp_path / "verified.json")
    settings.ERASURE_LIST_FILE = tmp_path / "erasures.jsonl"
    settings.EMAIL_BACKEND = "accounts.services.outbox.OutboxBackend"
    settings.EMAIL_IS_SENT = True


@pytest.fixture
def log():
    """Return what is written to the log, as the product writes it."""
    [handler] = [
        each
        for each in logging.getLogger().handlers
        if isinstance(each.formatter, ProcessorFormatter)
    ]
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


class TestErasedPerson:
    def test_leaves_no_word_behind_and_the_books_and_the_record_as_they_were(
        self, ledger_db, record, log
    ):
        user = seed()
        before = dump()
        assert found_in(before) == sorted([*CANARIES.values(), ADDRESS])
        call_command("seal_audit")
        events = list(AuditEvent.objects.order_by("pk").values_list("pk", "action", "actor_id"))
        moved = books()

        tomb = erased(user, at=timezone.now())

        assert found_in(dump()) == []
        assert books() == moved
        after = AuditEvent.objects.order_by("pk").values_list("pk", "action", "actor_id")
        assert list(after)[: len(events)] == events
        assert tomb.wallet.balance == 0
        call_command("seal_audit")
        call_command("verify_audit", "--ledger")  # raises where anything is not as it was sealed
        call_command("check_ledger")
        assert found_in("".join(document_of(tomb, timezone.now()))) == []
        admin = as_role("Admin")
        for page in ["audit/auditevent", "accounts/user", "accounts/email", "accounts/approval"]:
            assert found_in(admin.get(f"/admin/{page}/").content.decode()) == []
        assert "accounts/login/" in log.getvalue()
        assert found_in(log.getvalue()) == []

    @pytest.mark.redis
    def test_is_named_in_redis_neither_before_nor_after(self, ledger_db, record, settings):
        location = os.environ["REDIS_URL"]
        backend = "django.core.cache.backends.redis.RedisCache"
        prefix = f"canaries-{timezone.now().timestamp()}"
        settings.CACHES = {
            "default": {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": prefix}
        }
        settings.API_THROTTLE_CACHE = "default"
        browse(user := member(email=EMAIL, name=f"Zoe {CANARIES['name']}"))
        as_user(user).get("auth/me")
        server = redis.Redis.from_url(location)

        def kept() -> dict[str, str]:
            keys = server.scan_iter(f"{prefix}*")
            return {key.decode(): (server.get(key) or b"").decode(errors="replace") for key in keys}

        assert kept(), "nothing was counted, so nothing would be proven"
        # An address is there by itself, tied to nobody, while a limit of minutes counts it.
        assert found_in(json.dumps(kept())) == [ADDRESS]
        erased(user, at=timezone.now())
        assert found_in(json.dumps(kept())) == [ADDRESS]
        server.delete(*kept())
