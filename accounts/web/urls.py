"""Pages of people, under /accounts/: those of allauth that we offer, and ours."""

from allauth.account import views as account_views
from allauth.mfa.base import views as factor_views
from allauth.mfa.recovery_codes import views as recovery_views
from allauth.mfa.totp import views as totp_views
from allauth.mfa.webauthn import views as key_views
from allauth.usersessions import views as session_views
from django.db import transaction
from django.urls import path, re_path
from django.views.generic import RedirectView

from accounts.web import views

urlpatterns = [
    path("", views.account, name="account"),
    path("signup/", views.SignUpView.as_view(), name="account_signup"),
    path("login/", account_views.login, name="account_login"),
    path("logout/", account_views.logout, name="account_logout"),
    path("inactive/", account_views.account_inactive, name="account_inactive"),
    path("reauthenticate/", account_views.reauthenticate, name="account_reauthenticate"),
    path("confirmed/", views.confirmed, name="account_confirmed"),
    path("email/", views.send_link, name="account_email"),
    path(
        "confirm-email/",
        account_views.email_verification_sent,
        name="account_email_verification_sent",
    ),
    path("confirm-email/<str:key>/", account_views.confirm_email, name="account_confirm_email"),
    path("password/change/", account_views.password_change, name="account_change_password"),
    # Who is without a password, as after an administrator took it, gets one by e-mail.
    path(
        "password/set/",
        RedirectView.as_view(pattern_name="account_reset_password"),
        name="account_set_password",
    ),
    path("password/reset/", account_views.password_reset, name="account_reset_password"),
    path(
        "password/reset/done/",
        account_views.password_reset_done,
        name="account_reset_password_done",
    ),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account_views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        account_views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    # What changes a factor is one transaction with its record.
    path("factors/", factor_views.index, name="mfa_index"),
    path("factors/authenticate/", factor_views.authenticate, name="mfa_authenticate"),
    path("factors/reauthenticate/", factor_views.reauthenticate, name="mfa_reauthenticate"),
    path(
        "factors/app/activate/",
        transaction.atomic(totp_views.activate_totp),
        name="mfa_activate_totp",
    ),
    path(
        "factors/app/deactivate/",
        transaction.atomic(totp_views.deactivate_totp),
        name="mfa_deactivate_totp",
    ),
    path("factors/codes/", recovery_views.view_recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "factors/codes/generate/",
        transaction.atomic(recovery_views.generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path(
        "factors/codes/download/",
        recovery_views.download_recovery_codes,
        name="mfa_download_recovery_codes",
    ),
    path("factors/keys/", key_views.list_webauthn, name="mfa_list_webauthn"),
    path("factors/keys/add/", transaction.atomic(key_views.add_webauthn), name="mfa_add_webauthn"),
    path(
        "factors/keys/reauthenticate/",
        key_views.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path("factors/keys/<int:pk>/edit/", key_views.edit_webauthn, name="mfa_edit_webauthn"),
    path(
        "factors/keys/<int:pk>/remove/",
        transaction.atomic(key_views.remove_webauthn),
        name="mfa_remove_webauthn",
    ),
    path("sessions/", session_views.list_usersessions, name="usersessions_list"),
    path("sessions/<int:pk>/end/", views.end_session, name="account_end_session"),
]
