"""Who has credits by role, and what members of staff did."""

from datetime import datetime
from typing import Any

from django.db import connection

from audit.actions import sentence
from audit.services import SYSTEM
from ledger.reports.balances import TYPES, percent
from ledger.reports.shapes import Chart, Column, Kind, Period, Report, ReportKind, Takes

# Every user and every organisation once, with what they are shown to have.
BY_ROLE = """
    WITH owners AS (
        SELECT coalesce(r.name, CASE WHEN w.team_id IS NULL THEN 'no role' ELSE 'organisations' END)
                   AS role,
               r.allotment, coalesce(w.version, 0) > 0 AS ever_had,
               coalesce(v.award, w.award, 0) AS award,
               coalesce(v.purchase, w.purchase, 0) AS purchase,
               coalesce(v.partner, w.partner, 0) AS partner
        FROM accounts_user u LEFT JOIN accounts_role r ON r.id = u.role_id
        FULL JOIN ledger_wallet w ON w.user_id = u.id
        LEFT JOIN LATERAL (
            SELECT seen.* FROM ledger_visible(w.id, %(at)s) AS seen
            WHERE w.recount_at <= %(at)s OFFSET 0) v ON true
    )
    SELECT role, allotment, count(*), count(*) FILTER (WHERE award + purchase + partner > 0),
           count(*) FILTER (WHERE NOT ever_had),
           sum(award)::bigint, sum(purchase)::bigint, sum(partner)::bigint
    FROM owners GROUP BY role, allotment ORDER BY allotment NULLS LAST, role
"""

# Acts of whoever is staff, or was when they signed in, and of the system; by the days of business.
ACTIVITY = """
    SELECT e.actor_id, coalesce(u.email, max(e.actor_label)), e.action, count(*)
    FROM audit_auditevent e
    LEFT JOIN accounts_user u ON u.id = e.actor_id
    WHERE e.at >= %(first)s::date - interval '2 days' AND e.at < %(last)s::date + interval '2 days'
      AND ledger_business_day(e.at) BETWEEN %(first)s AND %(last)s
      AND (e.actor_id IS NULL OR u.is_staff OR u.id IS NULL OR EXISTS (
          SELECT FROM audit_auditevent s
          WHERE s.actor_id = e.actor_id AND s.action = 'accounts.staff.signed_in'))
    GROUP BY e.actor_id, u.email, e.action
    ORDER BY e.actor_id NULLS LAST, count(*) DESC, e.action
"""


def credits_by_role(period: Period, at: datetime) -> Report:
    """Users with and without credits by role."""
    with connection.cursor() as cursor:
        cursor.execute(BY_ROLE, {"at": at})
        found = cursor.fetchall()
    rows = [line(role, allotment, figures) for role, allotment, *figures in found]
    sums = [sum(values) for values in zip(*(row[2:] for row in found), strict=True)]
    return Report(
        title="Credits by role",
        columns=[
            Column("role", "Role"),
            Column("allotment", "Allotment", Kind.CREDITS),
            Column("users", "Users", Kind.COUNT),
            Column("with_credits", "With credits", Kind.COUNT),
            Column("share_with_credits", "Of the users", Kind.PERCENT),
            Column("without_credits", "Without", Kind.COUNT),
            Column("never_had_any", "Never had any", Kind.COUNT),
            *TYPES,
            Column("credits", "Credits", Kind.CREDITS),
            Column("average", "Average", Kind.CREDITS),
        ],
        rows=rows,
        totals=[line("All", None, sums or [0] * 6)],
        notes=[
            "All users, deactivated ones and staff included; a team with a wallet of its own counts"
            " as one under organisations.",
            "The average is over all users of a role, rounded down to whole credits.",
            "Who never had any gets the role's allotment by the backfill.",
        ],
        chart=Chart("bars", "role", ("award", "purchase", "partner")),
    )


def line(role: str, allotment: int | None, figures: list[int]) -> tuple[Any, ...]:
    users, with_credits, never, *by_type = figures
    credits = sum(by_type)
    return (
        role,
        allotment,
        users,
        with_credits,
        percent(with_credits, users),
        users - with_credits,
        never,
        *by_type,
        credits,
        credits // users if users else 0,
    )


def staff_activity(period: Period, at: datetime) -> Report:
    """What each member of staff did, and how often."""
    with connection.cursor() as cursor:
        cursor.execute(ACTIVITY, {"first": period.first, "last": period.last})
        rows = [
            (person if actor else SYSTEM, says(action), action, times)
            for actor, person, action, times in cursor.fetchall()
        ]
    return Report(
        title="Staff activity",
        columns=[
            Column("member", "Member of staff", Kind.PERSON),
            Column("did", "What they did"),
            Column("action", "Action in the record"),
            Column("times", "Times", Kind.COUNT),
        ],
        rows=rows,
        totals=[("All", "", "", sum(times for *_, times in rows))],
        notes=[
            "Events of the audit record by staff, by who was staff when they signed in, and by the"
            " system.",
        ],
        chart=Chart("bars", "member", ("times",)),
    )


def says(action: str) -> str:
    """Return what the record says of ``action``, without whom and what: "added credits to …"."""
    said = sentence(action, actor="", target="…").strip()
    return said[:1].upper() + said[1:]


ROLES = ReportKind(
    "roles",
    "Credits by role",
    "Users with and without credits by role, what they have, and who never had any.",
    credits_by_role,
    Takes.NOW,
)
STAFF = ReportKind(
    "staff-activity",
    "Staff activity",
    "What each member of staff did in a period, by the audit record.",
    staff_activity,
)
