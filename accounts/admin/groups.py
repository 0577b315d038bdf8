from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.choices import StaffGroup
from accounts.permissions import PERMISSIONS
from creditsite.adminkit import ReadOnlyAdmin, display

admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ReadOnlyAdmin):
    """Staff groups, to look at: what each may do is stated in ``accounts.permissions``."""

    list_display = ["name", "members"]
    ordering = ["name"]
    fields = ["name", "members", "permissions_of_group"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        active_staff = Q(user__is_active=True, user__is_staff=True)
        groups = super().get_queryset(request).filter(name__in=StaffGroup.values)
        return groups.annotate(staff=Count("user", filter=active_staff))

    @display(description="active members", ordering="staff")
    def members(self, group: Any) -> int:
        return group.staff

    @display(description="may")
    def permissions_of_group(self, group: Group) -> SafeString:
        return format_html_join(
            "", "<div>{}</div>", ((name,) for name in sorted(PERMISSIONS[StaffGroup(group.name)]))
        )
