"""
Who earns a part of what is spent, and since when: agents by their flag, partners by the features
that staff say are theirs. It counts for what is spent from then on; what was spent before stays
with whom it was.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from billing.errors import NoPartner, OwnShare
from billing.models import ShareTerm
from billing.services.share_statements import alone
from creditsite.errors import Conflict
from ledger.models import Feature

ASSIGN = "billing.assign_feature"


@transaction.atomic
def assign_feature(
    *, feature: Feature, partner: User, reason: str, actor: User | None, at: datetime
) -> ShareTerm:
    """
    Make ``partner`` the owner of ``feature`` from now on, in the place of who was.

    :raises NotPermitted: ``actor`` may not say who owns features.
    :raises OwnShare: ``actor`` is the partner, or was the owner.
    :raises NoPartner: the user is none.
    :raises Conflict: it is theirs already.
    """
    require(actor, ASSIGN)
    alone()
    partner = User.objects.get(pk=partner.pk)
    if not (partner.is_partner and partner.is_active):
        raise NoPartner(partner)
    current = owner_term(feature)
    if current and current.payee_id == partner.pk:
        raise Conflict(f"{feature} is theirs already.")
    _refuse_own(actor, partner.pk, current.payee_id if current else None)
    since = _end(current, at) if current else at
    term = ShareTerm.objects.create(payee=partner, feature=feature, since=since)
    audit.record(
        "billing.share.feature_assigned",
        actor=actor,
        target=feature,
        at=at,
        reason=reason,
        before={"owner": current and current.payee_id},
        after={"owner": partner.pk, "term": term.pk},
    )
    return term


@transaction.atomic
def end_ownership(*, term: ShareTerm, reason: str, actor: User | None, at: datetime) -> ShareTerm:
    """
    End that a partner owns a feature, from now on.

    :raises NotPermitted: ``actor`` may not say who owns features.
    :raises OwnShare: it is their own.
    :raises Conflict: it has ended, or is of an agent.
    """
    require(actor, ASSIGN)
    alone()
    current = ShareTerm.objects.select_related("feature", "payee").get(pk=term.pk)
    if current.until or current.feature is None:
        raise Conflict("It has ended already, or is ended with the agent status of the user.")
    _refuse_own(actor, current.payee_id)
    _end(current, at)
    audit.record(
        "billing.share.feature_ended",
        actor=actor,
        target=current.feature,
        at=at,
        reason=reason,
        before={"owner": current.payee_id},
        after={"owner": None, "term": current.pk},
    )
    return current


def owner_term(feature: Feature) -> ShareTerm | None:
    """Return the term of who owns ``feature`` now."""
    return ShareTerm.objects.filter(feature=feature, until=None).select_related("payee").first()


# --- What the status of a user brings and ends ----------------------------------------------------
def follow_agent(*, user: User, at: datetime, actor: User | None) -> None:
    """Begin or end what an agent earns, as their status does."""
    alone()
    current = ShareTerm.objects.filter(payee=user, feature=None, until=None).first()
    if user.is_agent and current is None:
        last = ShareTerm.objects.filter(payee=user, feature=None).order_by("-until").first()
        since = max(at, last.until) if last and last.until else at
        ShareTerm.objects.create(payee=user, since=since)
    elif current and not user.is_agent:
        _end(current, at)


def follow_new_user(*, user: User, at: datetime, actor: User | None) -> None:
    if user.is_agent:
        follow_agent(user=user, at=at, actor=actor)


def follow_partner(*, user: User, at: datetime, actor: User | None) -> None:
    """End what a partner owns when their status ends."""
    if not user.is_partner:
        end_terms(user, at, of_features_only=True)


def end_terms(user: User, at: datetime, *, of_features_only: bool = False) -> None:
    """End what ``user`` earns of what is spent from now on."""
    terms = ShareTerm.objects.filter(payee=user, until=None)
    if of_features_only:
        terms = terms.filter(feature__isnull=False)
    if terms.exists():
        alone()
        for term in terms:
            _end(term, at)


def _end(term: ShareTerm, at: datetime) -> datetime:
    """End a term, and return when: a clock that goes behind another's ends none before it began."""
    term.until = max(at, term.since)
    term.save(update_fields=["until"])
    return term.until


def _refuse_own(actor: User | None, *payees: int | None) -> None:
    if actor and actor.pk in payees:
        raise OwnShare
