"""What follows from what people do on allauth's pages."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.signals import authentication_step_completed
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth import update_session_auth_hash
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from accounts import events
from accounts.models import User
from accounts.services import sign_in


@events.user_registered.subscribe
def ask_for_confirmation(*, user: User, at: Any, actor: User | None) -> None:
    """Send who registers, by page or API, the link that confirms their address."""
    if actor is None and not user.is_staff and (request := context.request):
        EmailAddress.objects.get(user=user).send_confirmation(request, signup=True)


@receiver(post_save, sender=Authenticator)
def on_factor_saved(instance: Authenticator, created: bool, **kwargs: Any) -> None:
    if created:
        factor_changed(instance, is_added=True)


@receiver(post_delete, sender=Authenticator)
def on_factor_deleted(instance: Authenticator, **kwargs: Any) -> None:
    factor_changed(instance, is_added=False)


def factor_changed(factor: Authenticator, *, is_added: bool) -> None:
    """Record what somebody does to a factor of their own; they stay signed in where they did it."""
    request = context.request
    if request is None or request.user.pk != factor.user_id:
        return  # What others do to it, a service records.
    sign_in.record_factor(user=request.user, factor=factor, is_added=is_added, at=timezone.now())
    update_session_auth_hash(request, request.user)
    UserSession.objects.create_from_request(request)


@receiver(authentication_step_completed)
def on_reauthentication(request: HttpRequest, **kwargs: Any) -> None:
    """Give a session that may do more a new id."""
    if kwargs.get("reauthenticated"):
        request.session.cycle_key()
        UserSession.objects.create_from_request(request)
