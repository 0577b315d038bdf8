"""The account pages that allauth has not got, or that do otherwise here."""

from typing import cast

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.email_verification import send_verification_email_to_address
from allauth.account.models import EmailAddress
from allauth.account.utils import get_next_redirect_url
from allauth.account.views import SignupView
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from accounts.errors import InvalidFields
from accounts.identity import normalise_email
from accounts.models import User
from accounts.services.sign_in import has_factor
from accounts.services.users import register_user
from accounts.web.forms import SignUpForm


class SignUpView(SignupView):
    """
    Makes an account, and answers the same when there is one already.

    Either way an e-mail goes to the address, one password is hashed and nobody is signed in.
    """

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        try:
            register_user(**form.cleaned_data, at=timezone.now())
        except InvalidFields as refusal:
            email = normalise_email(form.cleaned_data["email"])
            owner = User.objects.filter(email=email).first()
            for field, errors in refusal.errors.items():
                if field != "email" or owner is None:
                    form.add_error(field, errors)
            if form.errors or owner is None:
                return self.form_invalid(form)
            User().set_password(form.cleaned_data["password"])
            get_adapter().send_account_already_exists_mail(owner.email)
        return redirect("account_email_verification_sent")


@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show who is signed in, and lead to what they may change about that."""
    user = cast("User", request.user)
    address = EmailAddress.objects.filter(user=user, verified=True)
    context = {"is_confirmed": address.exists(), "has_factor": has_factor(user)}
    return render(request, "account/account.html", context)


@login_required
def confirmed(request: HttpRequest) -> HttpResponse:
    """Send back to the page where it was asked for who confirmed that it is them."""
    return render(request, "account/confirmed.html")


@login_required
def send_link(request: HttpRequest) -> HttpResponse:
    """Send the link that confirms the address once more; not twice in three minutes."""
    user = cast("User", request.user)
    if request.method == "POST":
        address, _ = EmailAddress.objects.get_or_create(
            user=user, email=user.email, defaults={"primary": True}
        )
        if not address.verified and not send_verification_email_to_address(request, address):
            messages.error(request, "One was sent a moment ago. Wait three minutes.")
    return redirect("account")


@login_required
def end_session(request: HttpRequest, pk: int) -> HttpResponse:
    """End one other session of whoever asks."""
    session = get_object_or_404(UserSession, pk=pk, user=request.user)
    if request.method == "POST" and not session.is_current():
        session.end()
        messages.success(request, "The session has ended.")
    return redirect("usersessions_list")


def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """Lead to the one sign-in page, and whoever is signed in to where they wanted to go."""
    back = get_next_redirect_url(request) or reverse("admin:index")
    if not request.user.is_authenticated:
        return redirect(f"{reverse('account_login')}?{urlencode({'next': back})}")
    if not request.user.is_staff:
        messages.error(request, "Your account does not open the staff pages.")
        back = reverse("account")
    return redirect(back)
