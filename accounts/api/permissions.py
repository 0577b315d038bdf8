"""Which callers a door is open to. A view names its door; what names none is for users only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.choices import ApiScope
from accounts.models import ApiKey
from accounts.permissions import staff_may
from creditsite.errors import NotPermitted

if TYPE_CHECKING:  # the framework imports this module while it makes APIView
    from rest_framework.views import APIView


class MissingScope(NotPermitted):
    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        self.numbers = {"scope": scope}
        super().__init__(f"The key needs the scope {scope}.")


class IsUser(BasePermission):
    """Signed-in users, and no service keys."""

    message = "This is for signed-in users, not for service keys."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return request.user.is_authenticated and not isinstance(request.auth, ApiKey)


class Door(BasePermission):
    """A permission with parameters: Django REST framework calls what a view names to make one."""

    def __call__(self) -> Self:
        return self


@dataclass(frozen=True)
class HasScope(Door):
    """
    Signed-in users, and service keys with ``scope``.

    ``reading`` is the scope for GET where it is another one.
    """

    scope: str
    reading: str | None = None

    def scope_for(self, method: str | None) -> str:
        return self.reading if self.reading and method in SAFE_METHODS else self.scope

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """
        :raises MissingScope: a service key is without it.
        """
        scope = self.scope_for(request.method)
        if isinstance(request.auth, ApiKey) and scope not in request.auth.scopes:
            raise MissingScope(scope)
        return request.user.is_authenticated


@dataclass(frozen=True)
class StaffMay(Door):
    """Staff with ``permission``, and service keys with credits:admin whose owner has it."""

    permission: str
    message = "Your staff group may not do this."

    def scope_for(self, method: str | None) -> str:
        return ApiScope.CREDITS_ADMIN

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """
        :raises MissingScope: a service key is without credits:admin.
        """
        if isinstance(request.auth, ApiKey) and ApiScope.CREDITS_ADMIN not in request.auth.scopes:
            raise MissingScope(ApiScope.CREDITS_ADMIN)
        return request.user.is_authenticated and staff_may(request.user, self.permission)
