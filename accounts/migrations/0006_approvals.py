import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import F, Q

GUARD = """
CREATE FUNCTION accounts_approval_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_outcome constant text[] := ARRAY['status', 'checker_id', 'decided_at', 'result', 'note', 'error'];
    v_words constant text[] := ARRAY['sentence', 'reason'];
    v_refusal text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        v_refusal := CASE WHEN NEW.status <> 'waiting' OR NEW.text_erased_at IS NOT NULL
                          THEN 'an approval begins by waiting' END;
    ELSIF TG_OP = 'UPDATE' THEN
        v_refusal := CASE
            WHEN to_jsonb(NEW) - v_outcome - v_words - 'text_erased_at'
                 IS DISTINCT FROM to_jsonb(OLD) - v_outcome - v_words - 'text_erased_at'
                THEN 'what an approval asks for never changes'
            WHEN OLD.text_erased_at IS DISTINCT FROM NEW.text_erased_at AND OLD.text_erased_at IS NOT NULL
                THEN 'text is erased once'
            WHEN NEW.text_erased_at IS NULL
                 AND (NEW.reason, NEW.sentence) IS DISTINCT FROM (OLD.reason, OLD.sentence)
                THEN 'the words of an approval change by being erased, and not otherwise'
            WHEN OLD.status <> 'waiting'
                 AND (NEW.status, NEW.checker_id, NEW.decided_at, NEW.result, NEW.note, NEW.error)
                     IS DISTINCT FROM (OLD.status, OLD.checker_id, OLD.decided_at, OLD.result, OLD.note, OLD.error)
                THEN 'an approval that has ended stays as it ended' END;
        IF NEW.text_erased_at IS NOT NULL THEN  -- what is written afterwards is erased as well
            NEW.reason := ''; NEW.sentence := ''; NEW.note := ''; NEW.error := '';
        END IF;
    ELSE
        v_refusal := 'approvals are kept: ' || TG_OP || ' refused';
    END IF;
    IF v_refusal IS NOT NULL THEN
        RAISE EXCEPTION '%', v_refusal
            USING ERRCODE = 'integrity_constraint_violation', TABLE = 'accounts_approval';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER accounts_approval_guards_rows
    BEFORE INSERT OR UPDATE OR DELETE ON accounts_approval
    FOR EACH ROW EXECUTE FUNCTION accounts_approval_guard();
CREATE TRIGGER accounts_approval_guards_table
    BEFORE TRUNCATE ON accounts_approval
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_approval_guard();
-- ALWAYS: they fire also where session_replication_role would switch ordinary triggers off.
ALTER TABLE accounts_approval ENABLE ALWAYS TRIGGER accounts_approval_guards_rows;
ALTER TABLE accounts_approval ENABLE ALWAYS TRIGGER accounts_approval_guards_table;
"""

UNGUARD = """
DROP TRIGGER accounts_approval_guards_rows ON accounts_approval;
DROP TRIGGER accounts_approval_guards_table ON accounts_approval;
DROP FUNCTION accounts_approval_guard();
"""

UNDECIDED = Q(decided_at=None, checker=None, result__isnull=True)
NO_RESULT = Q(decided_at__isnull=False, result__isnull=True)
# A comparison with NULL passes a CHECK: what must be there is asked for by name.
IN_TIME = Q(checker__isnull=False, decided_at__isnull=False, decided_at__lt=F("expires_at"))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_sign_in_failures")]

    operations = [
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "public_id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        help_text="By which the API names it.",
                        unique=True,
                    ),
                ),
                ("kind", models.CharField(max_length=60)),
                ("payload", models.JSONField(help_text="What will be done, to the letter.")),
                (
                    "payload_hash",
                    models.CharField(
                        help_text="SHA-256 of kind, maker and payload.", max_length=64
                    ),
                ),
                (
                    "sentence",
                    models.TextField(
                        help_text="The payload in words, as it read when it was asked."
                    ),
                ),
                ("reason", models.TextField()),
                (
                    "maker",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals_asked",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "about",
                    models.ForeignKey(
                        help_text="Whose wallet or account it touches; empty for an organisation's.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals_about",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "caller",
                    models.CharField(
                        help_text="Whose key it is: a user or a service.", max_length=40
                    ),
                ),
                (
                    "key",
                    models.CharField(help_text="Under which it is executed, once.", max_length=255),
                ),
                (
                    "fingerprint",
                    models.UUIDField(help_text="Tells the request from another with the same key."),
                ),
                ("asked_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("executed", "Executed"),
                            ("failed", "Failed"),
                            ("refused", "Refused"),
                            ("withdrawn", "Withdrawn"),
                            ("expired", "Expired"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                (
                    "checker",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals_decided",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("note", models.TextField(blank=True, help_text="Why it was decided so.")),
                ("decided_at", models.DateTimeField(null=True)),
                ("result", models.JSONField(help_text="What came of it.", null=True)),
                (
                    "error",
                    models.TextField(blank=True, help_text="Why it failed when it was executed."),
                ),
                ("text_erased_at", models.DateTimeField(null=True)),
            ],
            options={
                "permissions": [
                    ("decide_approval", "Can approve and refuse what colleagues ask for")
                ],
                "indexes": [
                    models.Index(
                        condition=Q(status="waiting"),
                        fields=["expires_at"],
                        name="accounts_approval_waiting",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("caller", "key"), name="accounts_approval_key_is_unique"
                    ),
                    models.CheckConstraint(
                        condition=Q(checker=None) | ~Q(checker=F("maker")),
                        name="accounts_approval_takes_two_people",
                    ),
                    models.CheckConstraint(
                        condition=Q(expires_at__gt=F("asked_at")),
                        name="accounts_approval_has_time",
                    ),
                    models.CheckConstraint(
                        condition=Q(status="waiting", note="", error="") & UNDECIDED
                        | Q(status="executed", result__isnull=False, error="") & IN_TIME
                        | Q(status="failed") & NO_RESULT & IN_TIME
                        | Q(status="refused", error="") & NO_RESULT
                        | Q(status="withdrawn", checker=None, error="") & NO_RESULT
                        | Q(
                            status="expired",
                            checker=None,
                            decided_at__gte=F("expires_at"),
                            error="",
                        )
                        & NO_RESULT,
                        name="accounts_approval_ended_as_it_says",
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
