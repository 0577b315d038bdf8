from accounts.models.api_keys import ApiKey
from accounts.models.approvals import Approval
from accounts.models.erasures import Erasure
from accounts.models.jobs import Job, JobChunk
from accounts.models.outbox import Email
from accounts.models.roles import Role
from accounts.models.sign_in_failures import KnownAddress, SignInFailures
from accounts.models.teams import Team, TeamMembership
from accounts.models.users import User

__all__ = [
    "ApiKey",
    "Approval",
    "Email",
    "Erasure",
    "Job",
    "JobChunk",
    "KnownAddress",
    "Role",
    "SignInFailures",
    "Team",
    "TeamMembership",
    "User",
]
