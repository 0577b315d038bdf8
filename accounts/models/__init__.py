from accounts.models.api_keys import ApiKey
from accounts.models.jobs import Job, JobChunk
from accounts.models.roles import Role
from accounts.models.teams import Team, TeamMembership
from accounts.models.users import User

__all__ = ["ApiKey", "Job", "JobChunk", "Role", "Team", "TeamMembership", "User"]
