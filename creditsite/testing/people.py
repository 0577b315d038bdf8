"""Somebody signed in, for tests of pages."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client


def as_role(group: str, **fields: Any) -> "StaffClient":
    """
    Return a client signed in as a new member of staff of ``group``, who is its ``user``.

    ``group=""`` makes staff without a group; ``fields`` override those of the user.
    """
    fields = {"email": f"{group.lower() or 'nobody'}@staff.example.com", "is_staff": True, **fields}
    user = get_user_model().objects.create_user(**fields)
    if group:
        user.groups.add(Group.objects.get(name=group))
    client = StaffClient()
    client.force_login(user)
    client.user = user
    return client


class StaffClient(Client):
    user: Any
