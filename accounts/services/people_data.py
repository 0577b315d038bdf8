"""What accounts hold about a person, and the record of what was done by and to them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import CASCADE, F, Model, Q, QuerySet, TextField
from django.db.models.functions import Cast

from accounts.choices import EmailStatus, JobStatus
from accounts.models import ApiKey, Approval, Email, Job, Team, TeamMembership, User
from accounts.personal_data import KEEPERS, Keeper, Section
from accounts.services import approvals, lockout
from audit import services as audit
from audit.actions import sentence
from audit.models import AuditEvent

ERASED = "erased"
# A shorter name is looked for only where it is the user's own: "Al" is in many words.
SHORTEST_NAME = 8
UNFINISHED = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.FAILED]
YOURS = {"accounts.user": "your account", "ledger.wallet": "your wallet"}


class People(Keeper):
    def obstacles(self, user: User, at: datetime) -> list[str]:
        found = []
        if user.is_staff or user.is_superuser:
            found.append("They are staff: take that away first.")
        if team := Team.objects.filter(owner=user).first():
            found.append(f"They own the team {team.pk}: dissolve it first.")
        if keys := live_keys_of(user, at).count():
            found.append(f"They own {keys} live API keys: revoke them first.")
        if jobs := Job.objects.filter(created_by=user, status__in=UNFINISHED).count():
            found.append(f"{jobs} jobs of theirs are not finished: wait, or cancel them.")
        if Job.objects.filter(params__user_id=user.pk, status__in=UNFINISHED).exists():
            found.append("They are being erased already: see the jobs.")
        for team in Team.objects.filter(mentioning(self.words(user), "name")):
            found.append(f"The team {team.pk} has their name: give it another first.")
        return found

    def erases(self, user: User) -> dict[str, int]:
        counts = {"account with e-mail address, name and password": 1}
        for model, rows in rows_that_go_with(user):
            counts[str(model._meta.verbose_name_plural)] = rows.count()
        counts["e-mails to them"] = Email.objects.filter(recipient=user.email).count()
        counts["names of API keys"] = ApiKey.objects.filter(owner=user).count()
        counts["requests about them, in their words"] = approvals_of(user, set()).count()
        counts["events of the audit record, in their words"] = events_of(user).count()
        return counts

    def keeps(self, user: User) -> list[str]:
        return [
            "A row without a name, which the books point at: law asks for them to be kept.",
            "The keyed hash of the e-mail address: signing up again gives no second award.",
            "The audit record of what was done and when, without names and texts.",
        ]

    def settle(
        self, *, user: User, decided: Mapping[str, int], actor: User | None, at: datetime
    ) -> None:
        """Shut the user out: that ends their sessions and tokens."""
        User.objects.filter(pk=user.pk).update(
            is_active=False, token_version=F("token_version") + 1
        )

    def words(self, user: User) -> set[str]:
        return {user.email} | ({user.name} if len(user.name) >= SHORTEST_NAME else set())

    def audit_targets(self, user: User) -> set[tuple[str, str]]:
        own = [
            ("accounts.user", User.objects.filter(pk=user.pk)),
            ("accounts.email", Email.objects.filter(recipient=user.email)),
            ("accounts.apikey", ApiKey.objects.filter(owner=user)),
            ("accounts.approval", approvals_of(user, self.words(user))),
        ]
        targets = {
            (kind, str(pk)) for kind, rows in own for pk in rows.values_list("pk", flat=True)
        }
        # Teams that were theirs: a team is dissolved before its owner is erased.
        made = AuditEvent.objects.filter(target_type="accounts.team", after__owner=user.email)
        return targets | {("accounts.team", pk) for pk in made.values_list("target_id", flat=True)}

    def erase(self, *, user: User, words: Iterable[str], at: datetime) -> None:
        for _, rows in rows_that_go_with(user):
            rows.delete()
        Session.objects.filter(pk__in=session_keys_of(user)).delete()
        user.groups.clear()
        user.user_permissions.clear()
        lockout.forget_account(user.email)
        Email.objects.filter(recipient=user.email).delete()
        # What colleagues were told of requests about them has what was written there, too.
        told = approvals_of(user, words).exclude(sentence="").values_list("sentence", flat=True)
        emails = Email.objects.filter(
            mentioning(words, "subject", "text", "html", "error") | mentioning(told, "text")
        )
        emails.filter(status=EmailStatus.WAITING).delete()
        emails.update(subject=ERASED, text="", html="", error="", text_erased_at=at)
        ApiKey.objects.filter(owner=user).update(name=ERASED, last_used_address=None)
        ApiKey.objects.filter(mentioning(words, "name")).update(name=ERASED)
        approvals.erase_text(approvals=approvals_of(user, words), at=at)
        # Finished, all of them: names of files and what else they typed is of no more use.
        Job.objects.filter(created_by=user).update(params={}, error="")
        for job in jobs_mentioning(words):
            job.params, job.result = without(words, job.params), without(words, job.result)
            job.error = without(words, job.error)
            job.save(update_fields=["params", "result", "error"])

    def export(self, user: User, at: datetime) -> Mapping[str, Section]:
        return {
            "profile": profile_of(user),
            "teams": teams_of(user),
            "api_keys": ApiKey.objects.filter(owner=user)
            .order_by("pk")
            .values(
                "name",
                "prefix",
                "scopes",
                "created_at",
                "expires_at",
                "revoked_at",
                "last_used_at",
                "last_used_address",
            ),
            "emails": Email.objects.filter(recipient=user.email)
            .order_by("pk")
            .values("subject", "status", "created_at", "sent_at"),
            "sign_in_methods": Authenticator.objects.filter(user=user)
            .order_by("pk")
            .values("type", "created_at", "last_used_at"),
            "sessions": UserSession.objects.filter(user=user)
            .order_by("pk")
            .values("created_at", "last_seen_at", "ip", "user_agent"),
            "events": sentences_about(user),
        }


def live_keys_of(user: User, at: datetime) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(owner=user, revoked_at=None, expires_at__gt=at)


def rows_that_go_with(user: User) -> Iterator[tuple[type[Model], QuerySet]]:
    """Yield the rows of every model that Django would delete with ``user``, whichever app's."""
    for relation in relations_to_users():
        if relation.on_delete is CASCADE:
            model = cast("type[Model]", relation.related_model)
            yield model, model._base_manager.filter(**{relation.field.name: user})


def relations_to_users() -> list[Any]:
    """Return every foreign key to users, those without a name on this side included."""
    fields: Iterable[Any] = User._meta.get_fields(include_hidden=True)
    return [
        field
        for field in fields
        if (field.one_to_many or field.one_to_one)
        and field.auto_created
        and not field.related_model._meta.auto_created
    ]


def session_keys_of(user: User) -> list[str]:
    """Return the keys of the sessions in which ``user`` is signed in: each has to be opened."""
    return [
        session.session_key
        for session in Session.objects.iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]


def mentioning(words: Iterable[str], *fields: str) -> Q:
    """Return the condition that one of ``words`` stands in one of ``fields``, in whatever case."""
    spellings = {spelling for word in words for spelling in audit.spelled(word)}
    return Q(*[(f"{f}__icontains", s) for s in spellings for f in fields], _connector=Q.OR)


def approvals_of(user: User, words: Iterable[str]) -> QuerySet[Approval]:
    """Return the requests made by, decided by and about ``user``, and what mentions ``words``."""
    theirs = Q(about=user) | Q(maker=user) | Q(checker=user)
    mentioned = mentioning(words, "sentence", "reason", "note", "error")
    return Approval.objects.filter(theirs | mentioned if words else theirs)


def jobs_mentioning(words: Iterable[str]) -> QuerySet[Job]:
    texts = {f"{name}_text": Cast(name, TextField()) for name in ("params", "result")}
    return Job.objects.annotate(**texts).filter(mentioning(words, *texts, "error"))


def without(words: Iterable[str], value: Any) -> Any:
    """Return ``value`` with each text that mentions one of ``words`` replaced, however deep."""
    if isinstance(value, dict):
        return {without(words, key): without(words, each) for key, each in value.items()}
    if isinstance(value, list):
        return [without(words, each) for each in value]
    if isinstance(value, str) and any(word.lower() in value.lower() for word in words):
        return ERASED
    return value


def profile_of(user: User) -> dict[str, Any]:
    return {
        "id": user.pk,
        "email": user.email,
        "name": user.name,
        "role": user.role and user.role.code,
        "is_active": user.is_active,
        "is_partner": user.is_partner,
        "is_agent": user.is_agent,
        "is_staff": user.is_staff,
        "staff_groups": sorted(user.groups.values_list("name", flat=True)),
        "referral_code": user.referral_code,
        "was_referred": user.referrer_id is not None,
        "has_referred": User.objects.filter(referrer=user).count(),
        "date_joined": user.date_joined,
        "last_login": user.last_login,
    }


def teams_of(user: User) -> Iterator[dict[str, Any]]:
    for team in Team.objects.filter(owner=user):
        yield {"name": team.name, "is_owner": True, "since": team.created_at}
    for seat in TeamMembership.objects.filter(user=user).select_related("team").order_by("pk"):
        yield {"name": seat.team.name, "is_owner": False, "since": seat.created_at}


def events_of(user: User) -> QuerySet[AuditEvent]:
    """Return the audit events of what ``user`` did and of what was done to what is theirs."""
    about = Q(actor_id=user.pk) | Q(on_behalf_of_id=user.pk)
    by_type: dict[str, list[str]] = {}
    for kind, pk in {each for keeper in KEEPERS for each in keeper.audit_targets(user)}:
        by_type.setdefault(kind, []).append(pk)
    for kind, pks in by_type.items():
        about |= Q(target_type=kind, target_id__in=pks)
    return AuditEvent.objects.filter(about)


def sentences_about(user: User) -> Iterator[dict[str, Any]]:
    """Yield what the record says, without naming colleagues, others, or why staff did it."""
    targets = {each for keeper in KEEPERS for each in keeper.audit_targets(user)}
    for event in events_of(user).order_by("at", "pk").iterator():
        is_own = (event.target_type, event.target_id) in targets
        yield {
            "at": event.at,
            "event": sentence(
                event.action,
                actor=who(user, event.actor_id),
                target=YOURS.get(event.target_type, "something of yours") if is_own else "another",
            ),
            "address": event.address if event.actor_id == user.pk else None,
        }


def who(user: User, actor_id: int | None) -> str:
    if actor_id is None:
        return "The system"
    return "You" if actor_id == user.pk else "A member of staff"
