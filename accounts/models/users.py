import secrets
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import events, permissions
from accounts.identity import identity_of, normalise_email

# No vowels and no look-alikes: read over the telephone, and never a word.
REFERRAL_ALPHABET = "23456789BCDFGHJKLMNPQRSTVWXZ"
# Where those who were erased have their addresses, and nobody else.
ERASED_DOMAIN = "erased.invalid"


def new_referral_code() -> str:
    return "".join(secrets.choice(REFERRAL_ALPHABET) for _ in range(10))


class UserManager(BaseUserManager["User"]):
    def create_user(
        self, email: str, password: str | None = None, *, actor: "User | None" = None, **fields
    ) -> "User":
        """Create a user; ``password=None`` makes one that cannot sign in with a password."""
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(actor=actor, using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields) -> "User":
        """Create a user for installation, not for daily work: no rule of money is waived for it."""
        return self.create_user(
            email, password, **{"is_staff": True, "is_superuser": True, "role": None, **fields}
        )

    def get_by_natural_key(self, email: str | None) -> "User":
        return self.get(email=normalise_email(email or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """
    A person who signs in by e-mail: an end user, a member of staff, or both.

    ``role`` is what the platform sells them; what staff may do comes from their groups.
    """

    # Stored in lower case (a CHECK says so), so that unique means unique in any case.
    email = models.EmailField(
        max_length=254,
        unique=True,
        error_messages={"unique": "A user with this e-mail address exists already."},
    )
    identity = models.UUIDField(
        unique=True,
        editable=False,
        help_text="Keyed hash of the e-mail address, for what is given once per identity.",
    )
    name = models.CharField(max_length=150, blank=True)
    role = models.ForeignKey(
        "accounts.Role", models.PROTECT, null=True, blank=True, related_name="users"
    )
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("staff", default=False)
    is_partner = models.BooleanField("partner", default=False)
    is_agent = models.BooleanField("agent", default=False)
    referral_code = models.CharField(
        max_length=16, unique=True, editable=False, default=new_referral_code
    )
    referrer = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="referred"
    )
    token_version = models.PositiveIntegerField(
        default=0, editable=False, help_text="Raised to end every token and session so far."
    )
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        permissions = [
            ("assign_role", "Can change the role of a user"),
            ("reset_factors", "Can take lost second factors from a user"),
            (
                "manage_staff",
                "Can change staff groups, agent flag, password and activity of a user",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")), name="accounts_user_email_is_lower_case"
            ),
        ]

    def clean(self) -> None:
        self.email = normalise_email(self.email)
        if self.email.endswith(f"@{ERASED_DOMAIN}"):
            raise ValidationError({"email": "Nobody has an address there."})

    def save(self, *args, actor: "User | None" = None, **kwargs) -> None:
        """
        Save the user; a new one is announced as ``user_registered`` in the same transaction.

        ``actor`` is the member of staff who creates them, ``None`` when they register themselves.
        """
        self.email = normalise_email(self.email)
        self.identity = identity_of(self.email)
        is_new = self._state.adding
        with transaction.atomic(
            using=kwargs.get("using") or router.db_for_write(type(self), instance=self)
        ):
            super().save(*args, **kwargs)
            if is_new:
                events.user_registered.publish(user=self, at=self.date_joined, actor=actor)

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Tie sessions to ``token_version`` too, so that raising it ends them with the tokens."""
        return salted_hmac(
            "accounts.models.User.session",
            f"{self.password}:{self.token_version}",
            secret=secret,
            algorithm="sha256",
        ).hexdigest()

    def may(self, permission: str) -> bool:
        """Return whether the user is active staff in a group with ``permission``."""
        return permissions.staff_may(self, permission)

    def needs_recent_sign_in(self, permission: str) -> bool:
        """Return whether using ``permission`` takes a sign-in at most five minutes old."""
        return permission in permissions.RECENT

    @property
    def is_erased(self) -> bool:
        """Whether this is what is left of a person who was erased."""
        return self.email == f"erased-{self.pk}@{ERASED_DOMAIN}"

    # The leaf that every page is made of may not read the table itself.
    permission_of = staticmethod(permissions.permission_of)
    permission_of_act = staticmethod(permissions.permission_of_act)

    def __str__(self) -> str:
        return self.email
