"""Bodies and answers of the sign-in endpoints."""

from typing import Any

from django.core.validators import EmailValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.features import features_of
from accounts.identity import normalise_email
from accounts.models import User
from creditsite.apikit.fields import StrictChar, StrictSerializer

MAX_PASSWORD_LENGTH = 128


class EmailAddressField(StrictChar):
    """An e-mail address, as it is stored."""

    default_error_messages = {"invalid": "Enter a valid email address."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, **kwargs)
        self.validators.append(EmailValidator())

    def to_internal_value(self, data: Any) -> str:
        return normalise_email(super().to_internal_value(data))


class PasswordField(serializers.CharField):
    """A password, to the letter: neither trimmed nor normalised."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=MAX_PASSWORD_LENGTH, trim_whitespace=False, write_only=True, **kwargs
        )

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class RegisterRequest(StrictSerializer):
    email = EmailAddressField()
    password = PasswordField()
    name = StrictChar(max_length=150, required=False, allow_blank=True)
    referral_code = StrictChar(
        max_length=16, required=False, help_text="Of the user who sent this one."
    )


class TokenRequest(StrictSerializer):
    email = EmailAddressField()
    password = PasswordField()
    otp = StrictChar(
        max_length=16,
        required=False,
        help_text="Code of the authenticator app, or a recovery code, for accounts that have one.",
    )


class RefreshRequest(StrictSerializer):
    refresh = StrictChar(max_length=2000)


class TokenPairDocument(serializers.Serializer):
    access = serializers.CharField(help_text="Lasts 15 minutes.")
    refresh = serializers.CharField(help_text="Good for one refresh.")


class TeamOfUserDocument(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    is_owner = serializers.BooleanField(
        help_text="Whether the team spends from this user's wallet."
    )


class UserDocument(serializers.Serializer):
    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField(allow_blank=True)
    role = serializers.CharField(source="role.code", allow_null=True, help_text="Its code.")
    is_partner = serializers.BooleanField()
    is_agent = serializers.BooleanField()
    referral_code = serializers.CharField()
    teams = serializers.SerializerMethodField()
    features = serializers.SerializerMethodField()

    @extend_schema_field(
        serializers.ListField(
            child=serializers.CharField(), help_text="What the user's plan opens, as labels."
        )
    )
    def get_features(self, user: User) -> list[str]:
        return features_of(user)

    @extend_schema_field(TeamOfUserDocument(many=True))
    def get_teams(self, user: User) -> list[dict[str, Any]]:
        teams = [
            membership.team
            for membership in user.memberships.select_related("team").order_by("team_id")
        ]
        if owned := getattr(user, "owned_team", None):
            teams.insert(0, owned)
        return [
            {"id": str(team.public_id), "name": team.name, "is_owner": team.owner_id == user.pk}
            for team in teams
        ]


class RegisteredDocument(TokenPairDocument):
    user = UserDocument()
