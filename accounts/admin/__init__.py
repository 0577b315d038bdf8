from accounts.admin import api_keys, groups, jobs, roles, teams, users

__all__ = ["api_keys", "groups", "jobs", "roles", "teams", "users"]
