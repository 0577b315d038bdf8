"""Which callers an operation is open to: what the one table says, and nobody where it is silent."""

from typing import TYPE_CHECKING

from django.utils import timezone
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.api.recent import RecentSignInRequired, is_recent
from accounts.models import ApiKey
from accounts.permissions import API, MAY_NOT, PUBLIC, RECENT, Door, path_of, staff_may
from creditsite.errors import NotPermitted

if TYPE_CHECKING:  # the framework imports this module while it makes APIView
    from rest_framework.views import APIView


class MissingScope(NotPermitted):
    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        self.numbers = {"scope": scope}
        super().__init__(f"The key needs the scope {scope}.")


class ByTable(BasePermission):
    """Whoever the door of the operation is open to."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """
        :raises MethodNotAllowed: the path has no such operation.
        :raises MissingScope: a service key calls that is without the scope.
        :raises RecentSignInRequired: the permission takes a sign-in of the last minutes.
        """
        match = request.resolver_match
        doors = API.get(path_of(match.route), {}) if match else {}
        door = doors.get("GET" if request.method == "HEAD" else str(request.method))
        if door is not None:
            return self.passes(door, request)
        if doors and (request.user.is_authenticated or PUBLIC in doors.values()):
            raise MethodNotAllowed(str(request.method))
        return False

    def passes(self, door: Door, request: Request) -> bool:
        if door is PUBLIC:
            return True
        if not request.user.is_authenticated:
            return False
        if isinstance(request.auth, ApiKey):
            if door.scope is None:
                self.message = "This is for signed-in users, not for service keys."
                return False
            if door.scope not in request.auth.scopes:
                raise MissingScope(door.scope)
        elif door.is_for_services:
            self.message = "This is for service keys, not for signed-in users."
            return False
        if door.permission is None:
            return True
        if not staff_may(request.user, door.permission):
            self.message = MAY_NOT
            return False
        if door.permission in RECENT and not is_recent(request, timezone.now()):
            raise RecentSignInRequired
        return True
