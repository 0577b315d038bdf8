from accounts.admin import (
    api_keys,
    approvals,
    erasures,
    groups,
    jobs,
    outbox,
    roles,
    sign_in,
    teams,
    users,
)

__all__ = [
    "api_keys",
    "approvals",
    "erasures",
    "groups",
    "jobs",
    "outbox",
    "roles",
    "sign_in",
    "teams",
    "users",
]
