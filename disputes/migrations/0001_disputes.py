import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import ledger.models.fields

FIRST_REASONS = [
    ("not_delivered", "Service not delivered"),
    ("charged_twice", "Charged twice"),
    ("wrong_amount", "Wrong amount"),
    ("poor_result", "Poor result"),
    ("other", "Other"),
]

# What is disputed, decided, said and attached never changes, but that the words of a person are
# erased; and a dispute goes only where it may go from where it is.
GUARDS = """
CREATE FUNCTION disputes_refuse(p_table text, p_why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', p_why USING ERRCODE = 'integrity_constraint_violation', TABLE = p_table;
END $$;

CREATE FUNCTION disputes_dispute_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_state constant text[] := ARRAY['status', 'round', 'due_at', 'appealed_at', 'assignee_id', 'approval_id'];
    v_beside constant text[] := ARRAY['version', 'told_new_at', 'told_overdue_at'];
    v_words constant text[] := ARRAY['description', 'other_reason', 'erased_at'];
    v_why text;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (NEW.status, NEW.round, NEW.version) <> ('pending', 1, 1) OR NEW.erased_at IS NOT NULL THEN
            v_why := 'a dispute begins by pending';
        END IF;
    ELSIF to_jsonb(NEW) - v_state - v_beside - v_words IS DISTINCT FROM to_jsonb(OLD) - v_state - v_beside - v_words THEN
        v_why := 'what is disputed never changes';
    ELSIF (NEW.description, NEW.other_reason, NEW.erased_at) IS DISTINCT FROM (OLD.description, OLD.other_reason, OLD.erased_at)
          AND NOT (OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND NEW.description = '' AND NEW.other_reason = '') THEN
        v_why := 'the words of a dispute change by being erased, once, and not otherwise';
    ELSIF (NEW.status, NEW.round) IS DISTINCT FROM (OLD.status, OLD.round) AND NOT (
            NEW.round = OLD.round AND OLD.status = 'pending' AND NEW.status = 'under_review'
            OR NEW.round = OLD.round AND OLD.status = 'under_review' AND EXISTS (
                SELECT FROM disputes_decision d WHERE d.dispute_id = NEW.id AND d.round = NEW.round
                AND NEW.status = CASE d.resolution WHEN 'rejected' THEN 'rejected' ELSE 'resolved' END)
            OR OLD.round = 1 AND NEW.round = 2 AND OLD.status IN ('resolved', 'rejected') AND NEW.status = 'pending') THEN
        v_why := format('a dispute does not go from %s in round %s to %s in round %s',
                        OLD.status, OLD.round, NEW.status, NEW.round);
    ELSIF NEW.version NOT IN (OLD.version, OLD.version + 1) OR NEW.version = OLD.version AND
          (NEW.status, NEW.round, NEW.due_at, NEW.appealed_at, NEW.assignee_id, NEW.approval_id)
          IS DISTINCT FROM (OLD.status, OLD.round, OLD.due_at, OLD.appealed_at, OLD.assignee_id, OLD.approval_id) THEN
        v_why := 'each change of a dispute is a version of its own';
    END IF;
    IF v_why IS NOT NULL THEN PERFORM disputes_refuse(TG_TABLE_NAME, v_why); END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION disputes_decision_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE v_why text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF to_jsonb(NEW) - 'notes' IS DISTINCT FROM to_jsonb(OLD) - 'notes' OR NEW.notes <> '' THEN
            v_why := 'a decision never changes';
        END IF;
    ELSIF NOT EXISTS (SELECT FROM disputes_dispute d
                      WHERE d.id = NEW.dispute_id AND d.status = 'under_review' AND d.round = NEW.round) THEN
        v_why := 'a dispute is decided while it is under review';
    ELSIF EXISTS (SELECT FROM disputes_dispute d WHERE d.id = NEW.dispute_id AND d.opened_by_id = NEW.decided_by_id) THEN
        v_why := 'nobody decides a dispute of their own';
    ELSIF EXISTS (SELECT FROM disputes_decision d
                  WHERE d.dispute_id = NEW.dispute_id AND d.decided_by_id = NEW.decided_by_id AND d.round < NEW.round) THEN
        v_why := 'an appeal is decided by somebody else';
    END IF;
    IF v_why IS NOT NULL THEN PERFORM disputes_refuse(TG_TABLE_NAME, v_why); END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION disputes_disputeevent_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'text' IS DISTINCT FROM to_jsonb(OLD) - 'text' OR NEW.text <> '' THEN
        PERFORM disputes_refuse(TG_TABLE_NAME, 'the timeline of a dispute never changes');
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION disputes_attachment_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.dispute_id, NEW.content_type, NEW.size, NEW.uploaded_by_id, NEW.by_staff, NEW.is_internal, NEW.uploaded_at)
       IS DISTINCT FROM
       (OLD.id, OLD.dispute_id, OLD.content_type, OLD.size, OLD.uploaded_by_id, OLD.by_staff, OLD.is_internal, OLD.uploaded_at)
       OR NEW.content IS NOT NULL OR NEW.name <> '' THEN
        PERFORM disputes_refuse(TG_TABLE_NAME, 'a file of a dispute never changes');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guards_rows BEFORE INSERT OR UPDATE ON disputes_dispute
    FOR EACH ROW EXECUTE FUNCTION disputes_dispute_guard();
CREATE TRIGGER guards_rows BEFORE INSERT OR UPDATE ON disputes_decision
    FOR EACH ROW EXECUTE FUNCTION disputes_decision_guard();
CREATE TRIGGER guards_rows BEFORE UPDATE ON disputes_disputeevent
    FOR EACH ROW EXECUTE FUNCTION disputes_disputeevent_guard();
CREATE TRIGGER guards_rows BEFORE UPDATE ON disputes_attachment
    FOR EACH ROW EXECUTE FUNCTION disputes_attachment_guard();
"""
KEPT = ("dispute", "decision", "disputeevent", "attachment")
KEEP = "".join(
    f"""
CREATE TRIGGER never_deleted BEFORE DELETE ON disputes_{table}
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON disputes_{table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
ALTER TABLE disputes_{table} ENABLE ALWAYS TRIGGER guards_rows;
ALTER TABLE disputes_{table} ENABLE ALWAYS TRIGGER never_deleted;
ALTER TABLE disputes_{table} ENABLE ALWAYS TRIGGER never_truncated;
"""
    for table in KEPT
)
UNGUARD = (
    "".join(
        f"""
DROP TRIGGER guards_rows ON disputes_{table};
DROP TRIGGER never_deleted ON disputes_{table};
DROP TRIGGER never_truncated ON disputes_{table};
DROP FUNCTION disputes_{table}_guard();
"""
        for table in KEPT
    )
    + "DROP FUNCTION disputes_refuse(text, text);"
)


def add_reasons(apps, schema_editor):
    reasons = apps.get_model("disputes", "DisputeReason").objects.using(
        schema_editor.connection.alias
    )
    for number, (code, label) in enumerate(FIRST_REASONS, 1):
        reasons.get_or_create(
            code=code,
            defaults={"label": label, "position": 1_000 if code == "other" else number * 10},
        )


class Migration(migrations.Migration):
    """Disputes of charges: their reasons, decisions, timelines and files."""

    dependencies = [
        ("accounts", "0009_addresses_in_step"),
        ("billing", "0010_checkout"),
        ("ledger", "0014_settings_of_disputes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=ledger.models.fields.UUID7(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "feature",
                    models.CharField(blank=True, help_text="That was charged.", max_length=200),
                ),
                (
                    "charged",
                    models.BigIntegerField(help_text="What the charge took, in whole credits."),
                ),
                (
                    "requested",
                    models.BigIntegerField(help_text="To be given back, in whole credits."),
                ),
                (
                    "other_reason",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="In their words, if it is not listed.",
                        max_length=200,
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=2000)),
                ("submitted_at", models.DateTimeField()),
                ("request_key", models.UUIDField(editable=False, null=True, unique=True)),
                ("fingerprint", models.UUIDField(editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("under_review", "under review"),
                            ("resolved", "Resolved"),
                            ("rejected", "Rejected"),
                        ],
                        db_collation="C",
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("round", models.SmallIntegerField(default=1, help_text="2 once it was appealed.")),
                ("version", models.IntegerField(default=1, editable=False)),
                ("due_at", models.DateTimeField(help_text="Until when it is to be decided.")),
                ("appealed_at", models.DateTimeField(null=True)),
                (
                    "told_new_at",
                    models.DateTimeField(help_text="When staff were told of it.", null=True),
                ),
                (
                    "told_overdue_at",
                    models.DateTimeField(help_text="And that it is overdue.", null=True),
                ),
                ("erased_at", models.DateTimeField(editable=False, null=True)),
                (
                    "approval",
                    models.OneToOneField(
                        help_text="That a decision waits for.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.approval",
                    ),
                ),
                (
                    "assignee",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "opened_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dispute",
                        to="ledger.credittransaction",
                    ),
                ),
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="ledger.wallet",
                    ),
                ),
            ],
            options={
                "permissions": [
                    (
                        "review_dispute",
                        "Can take disputes under review, assign them and write in them",
                    ),
                    ("resolve_dispute", "Can decide disputes and give credits back"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=ledger.models.fields.UUID7(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=120)),
                ("content_type", models.CharField(db_collation="C", max_length=40)),
                ("size", models.IntegerField(help_text="In bytes.")),
                ("content", models.BinaryField(null=True)),
                ("by_staff", models.BooleanField()),
                ("is_internal", models.BooleanField()),
                ("uploaded_at", models.DateTimeField()),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dispute",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attachments",
                        to="disputes.dispute",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DisputeEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=ledger.models.fields.UUID7(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("submitted", "Submitted"),
                            ("taken", "taken under review"),
                            ("assigned", "Assigned"),
                            ("note", "internal note"),
                            ("message", "message to the user"),
                            ("reply", "message of the user"),
                            ("attached", "file attached"),
                            ("approval_asked", "a second person was asked"),
                            ("approval_ended", "not approved"),
                            ("decided", "Decided"),
                            ("appealed", "Appealed"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "by_staff",
                    models.BooleanField(help_text="As staff, rather than as who disputes."),
                ),
                ("is_internal", models.BooleanField()),
                ("text", models.CharField(blank=True, default="", max_length=2000)),
                ("data", models.JSONField(default=dict)),
                ("at", models.DateTimeField()),
                (
                    "actor",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dispute",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="disputes.dispute",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DisputeReason",
            fields=[
                (
                    "code",
                    models.CharField(
                        db_collation="C", max_length=40, primary_key=True, serialize=False
                    ),
                ),
                ("label", models.CharField(max_length=80)),
                (
                    "position",
                    models.SmallIntegerField(
                        default=100, help_text="Smaller ones are listed first."
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
            ],
            options={
                "verbose_name": "reason of disputes",
                "verbose_name_plural": "reasons of disputes",
                "constraints": [
                    models.UniqueConstraint(fields=("label",), name="disputes_disputereason_label"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("code", "other"), _negated=True),
                            ("is_active", True),
                            _connector="OR",
                        ),
                        name="disputes_disputereason_other_stays",
                        violation_error_message="What is not listed is kept under this reason: it stays.",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="dispute",
            name="reason",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="disputes.disputereason",
            ),
        ),
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("round", models.SmallIntegerField()),
                (
                    "resolution",
                    models.CharField(
                        choices=[
                            ("full_refund", "full refund"),
                            ("partial_refund", "partial refund"),
                            ("explanation", "Explanation"),
                            ("rejected", "Rejected"),
                        ],
                        db_collation="C",
                        max_length=20,
                    ),
                ),
                (
                    "asked",
                    models.BigIntegerField(default=0, help_text="To give back, in whole credits."),
                ),
                (
                    "refunded",
                    models.BigIntegerField(
                        default=0,
                        help_text="Given back in whatever form: the rest was voided meanwhile.",
                    ),
                ),
                (
                    "to_balance",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of that into the balance; the rest made a debt smaller.",
                    ),
                ),
                (
                    "notes",
                    models.CharField(
                        blank=True, help_text="What the user is told.", max_length=500
                    ),
                ),
                ("started_at", models.DateTimeField(help_text="When the round began.")),
                ("decided_at", models.DateTimeField()),
                ("request_key", models.UUIDField(editable=False, null=True, unique=True)),
                ("fingerprint", models.UUIDField(editable=False)),
                (
                    "approval",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.approval",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "transaction",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="ledger.credittransaction",
                    ),
                ),
                (
                    "dispute",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="disputes.dispute",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["decided_at"], name="disputes_decision_decided")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("dispute", "round"), name="disputes_decision_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("refunded__gt", 0),
                                ("refunded__lte", models.F("asked")),
                                ("resolution__in", ("full_refund", "partial_refund")),
                                ("to_balance__gte", 0),
                                ("to_balance__lte", models.F("refunded")),
                                ("transaction__isnull", False),
                            ),
                            models.Q(
                                ("asked", 0),
                                ("refunded", 0),
                                ("resolution__in", ["explanation", "rejected"]),
                                ("to_balance", 0),
                                ("transaction", None),
                            ),
                            _connector="OR",
                        ),
                        name="disputes_decision_gives_back_or_not",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("status__in", ("pending", "under_review"))),
                fields=["due_at", "id"],
                name="disputes_dispute_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("status__in", ("pending", "under_review"))),
                fields=["assignee", "due_at", "id"],
                name="disputes_dispute_of_assignee",
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                fields=["status", "due_at", "id"], name="disputes_dispute_by_status"
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["opened_by", "id"], name="disputes_dispute_of_user"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["feature", "id"], name="disputes_dispute_of_feature"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["submitted_at"], name="disputes_dispute_submitted"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("charged__gt", 0),
                    ("requested__gt", 0),
                    ("requested__lte", models.F("charged")),
                ),
                name="disputes_dispute_is_of_what_was_taken",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["pending", "under_review", "resolved", "rejected"]),
                    ("version__gte", 1),
                    models.Q(
                        models.Q(("appealed_at", None), ("round", 1)),
                        models.Q(("appealed_at__isnull", False), ("round", 2)),
                        _connector="OR",
                    ),
                ),
                name="disputes_dispute_is_appealed_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("approval", None), ("status", "under_review"), _connector="OR"),
                name="disputes_dispute_waits_under_review",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("assignee", None),
                    models.Q(("assignee", models.F("opened_by")), _negated=True),
                    _connector="OR",
                ),
                name="disputes_dispute_is_not_assigned_to_its_user",
            ),
        ),
        migrations.RunSQL(GUARDS + KEEP, UNGUARD),
        migrations.RunPython(add_reasons, migrations.RunPython.noop),
    ]
