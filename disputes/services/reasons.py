"""The reasons that users choose from: which there are, and what somebody meant by a word."""

import re
from datetime import datetime

from django.db import transaction

from accounts.errors import InvalidFields
from accounts.models import User
from accounts.permissions import require
from audit import services as audit
from disputes.models import DisputeReason

CHANGE = "disputes.change_disputereason"
OTHER = "other"
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


def reason_meant(text: str) -> tuple[DisputeReason, str]:
    """Return the listed reason of that code or label, and what is kept of a text that is none."""
    listed = {reason.code: reason for reason in DisputeReason.objects.filter(is_active=True)}
    by_label = {reason.label.casefold(): reason for reason in listed.values()}
    meant = listed.get(text) or by_label.get(text.casefold())
    return (meant, "") if meant else (listed[OTHER], text)


@transaction.atomic
def save_reason(
    *,
    code: str,
    label: str,
    position: int,
    is_active: bool,
    actor: User | None,
    reason: str,
    at: datetime,
) -> DisputeReason:
    """
    Add a reason that users may choose, or change the one of that code.

    :raises NotPermitted: ``actor`` may not.
    :raises InvalidFields: the code is none, the label is another's, or "other" would be taken away.
    """
    require(actor, CHANGE)
    before = DisputeReason.objects.select_for_update().filter(code=code).first()
    if not CODE.fullmatch(code):
        raise InvalidFields({"code": ["A code is a-z, 0-9 and _, and begins with a letter."]})
    if DisputeReason.objects.filter(label__iexact=label).exclude(code=code).exists():
        raise InvalidFields({"label": ["Another reason has this label."]})
    if code == OTHER and not is_active:
        raise InvalidFields({"is_active": ["What is not listed is kept under this one: it stays."]})
    changed, is_new = DisputeReason.objects.update_or_create(
        code=code, defaults={"label": label, "position": position, "is_active": is_active}
    )
    audit.record(
        "disputes.reason.created" if is_new else "disputes.reason.changed",
        actor=actor,
        target=changed,
        at=at,
        reason=reason,
        before=told(before) if before else None,
        after=told(changed),
    )
    return changed


def told(reason: DisputeReason) -> dict[str, object]:
    return {
        "label": reason.label,
        "position": reason.position,
        "is_active": reason.is_active,
    }
