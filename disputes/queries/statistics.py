"""How disputes go: how long they take, why they are made, what they cost, and of which features."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

MOST_ROWS = 100

OPEN_NOW = """
    SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'under_review'),
           count(*) FILTER (WHERE due_at <= %(at)s)
    FROM disputes_dispute WHERE status IN ('pending', 'under_review')
"""
SUBMITTED = """
    SELECT count(*), coalesce(sum(requested), 0) FROM disputes_dispute
    WHERE submitted_at >= %(since)s AND submitted_at < %(until)s
"""
# How long rounds took that ended in the period, and what was given back by them.
DECIDED = """
    SELECT count(*), count(*) FILTER (WHERE round = 2), coalesce(sum(refunded), 0),
           extract(epoch FROM avg(decided_at - started_at))::bigint,
           extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY decided_at - started_at))::bigint,
           extract(epoch FROM percentile_cont(0.9) WITHIN GROUP (ORDER BY decided_at - started_at))::bigint
    FROM disputes_decision WHERE decided_at >= %(since)s AND decided_at < %(until)s
"""
BY_RESOLUTION = """
    SELECT resolution, count(*), sum(refunded)::bigint FROM disputes_decision
    WHERE decided_at >= %(since)s AND decided_at < %(until)s GROUP BY 1 ORDER BY 2 DESC, 1
"""
BY_REASON = """
    SELECT r.code, r.label, count(*), coalesce(sum(x.refunded), 0)::bigint
    FROM disputes_dispute d JOIN disputes_disputereason r ON r.code = d.reason_id
    LEFT JOIN LATERAL (SELECT sum(refunded) AS refunded FROM disputes_decision WHERE dispute_id = d.id) x ON true
    WHERE d.submitted_at >= %(since)s AND d.submitted_at < %(until)s
    GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT %(most)s
"""
BY_FEATURE = """
    SELECT d.feature, count(*), sum(d.charged)::bigint, count(x.refunded), coalesce(sum(x.refunded), 0)::bigint
    FROM disputes_dispute d
    LEFT JOIN LATERAL (SELECT sum(refunded) AS refunded FROM disputes_decision
                       WHERE dispute_id = d.id AND refunded > 0) x ON true
    WHERE d.submitted_at >= %(since)s AND d.submitted_at < %(until)s
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(most)s
"""
BY_REVIEWER = """
    SELECT u.id, u.email, count(*), count(*) FILTER (WHERE c.refunded > 0), sum(c.refunded)::bigint,
           extract(epoch FROM avg(c.decided_at - c.started_at))::bigint
    FROM disputes_decision c JOIN accounts_user u ON u.id = c.decided_by_id
    WHERE c.decided_at >= %(since)s AND c.decided_at < %(until)s
    GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT %(most)s
"""


class OfResolution(NamedTuple):
    resolution: str
    decided: int
    refunded: int


class OfReason(NamedTuple):
    code: str
    label: str
    submitted: int
    refunded: int


class OfFeature(NamedTuple):
    """``upheld`` are the disputes after which credits were given back."""

    feature: str
    submitted: int
    charged: int
    upheld: int
    refunded: int


class OfReviewer(NamedTuple):
    user_id: int
    email: str
    decided: int
    upheld: int
    refunded: int
    average_seconds: int


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """
    How it stands at an instant, and what happened in a period.

    Seconds are from when a round began to its decision; ``None`` if none was made.
    """

    pending: int
    under_review: int
    overdue: int
    submitted: int
    requested: int
    decided: int
    appeals_decided: int
    refunded: int
    average_seconds: int | None
    median_seconds: int | None
    slowest_tenth_seconds: int | None
    resolutions: list[OfResolution]
    reasons: list[OfReason]
    features: list[OfFeature]
    reviewers: list[OfReviewer]


def statistics(*, since: datetime, until: datetime, at: datetime) -> Statistics:
    """Return the figures of a period, ``until`` left out, in seven queries."""
    period = {"since": since, "until": until, "at": at, "most": MOST_ROWS}
    [(pending, under_review, overdue)] = ask(OPEN_NOW, period)
    [(submitted, requested)] = ask(SUBMITTED, period)
    [(decided, appeals, refunded, average, median, slowest)] = ask(DECIDED, period)
    return Statistics(
        pending=pending,
        under_review=under_review,
        overdue=overdue,
        submitted=submitted,
        requested=int(requested),
        decided=decided,
        appeals_decided=appeals,
        refunded=int(refunded),
        average_seconds=average,
        median_seconds=median,
        slowest_tenth_seconds=slowest,
        resolutions=[OfResolution(*row) for row in ask(BY_RESOLUTION, period)],
        reasons=[OfReason(*row) for row in ask(BY_REASON, period)],
        features=[OfFeature(*row) for row in ask(BY_FEATURE, period)],
        reviewers=[OfReviewer(*row) for row in ask(BY_REVIEWER, period)],
    )


def ask(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
