"""A kind of request for tests of approvals: making a team, or being refused after half of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import Approval, Team, User
from accounts.services import approvals
from accounts.tests.factories import StaffFactory
from creditsite import errors

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
SOON = AT + timedelta(hours=1)
DAY = timedelta(days=1)
KIND = "accounts.create_team"
PAYLOAD = {"name": "Pool", "seats": 3}


def make_team(*, payload: Any, approval: Approval, at: datetime) -> dict[str, Any]:
    team = Team.objects.create(name=payload["name"])
    if refusal := payload.get("refusal"):
        raise getattr(errors, refusal)(f"{refusal}, they said.")
    return {"team": team.pk}


def register() -> None:
    approvals.approval_kind(
        KIND,
        permission="ledger.adjust_wallet",
        execute=make_team,
        describe=lambda payload: f"Create the team {payload['name']}",
        concerns=lambda payload, user: user.pk == payload.get("owner"),
    )


def staff(group: str = "Finance", **fields: Any) -> User:
    return StaffFactory(groups=group, **fields)


def ask(maker: User | None = None, **more: Any) -> Approval:
    request = {"kind": KIND, "payload": PAYLOAD, "reason": "the team asked", "at": AT} | more
    return approvals.request_approval(maker=maker or staff(), **request)


def approve(approval: Approval, checker: User | None = None, at: datetime = SOON) -> Approval:
    return approvals.approve(
        approval=approval, checker=checker or staff(), note="looks right", at=at
    )


def refuse(approval: Approval, checker: User | None = None, at: datetime = SOON) -> Approval:
    return approvals.refuse(
        approval=approval, checker=checker or staff(), note="looks wrong", at=at
    )


def withdraw(approval: Approval, maker: User | None = None, at: datetime = SOON) -> Approval:
    return approvals.withdraw(
        approval=approval, maker=maker or approval.maker, note="not needed any more", at=at
    )


def state(approval: Approval) -> str:
    return Approval.objects.get(pk=approval.pk).status
