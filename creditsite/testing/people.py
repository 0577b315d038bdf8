"""Somebody signed in, for tests of pages."""

import time
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.http import HttpRequest
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
    sign_in_now(client, user)
    client.user = user
    return client


def sign_in_now(client: Client, user: Any) -> None:
    """Let the session of ``client`` be one of ``user`` that began this instant, by password."""
    now = int(time.time())
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, "password")
    request.session["signed_in_at"] = request.session["seen_at"] = now
    request.session.save()


class StaffClient(Client):
    user: Any
