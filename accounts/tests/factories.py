"""People for tests, made the way production makes them: saving a user announces it."""

import factory
from django.contrib.auth.models import Group

from accounts.choices import StaffGroup
from accounts.models import Role, Team, User


class UserFactory(factory.django.DjangoModelFactory):
    """An active member without a password."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda number: f"user{number}@example.com")
    name = factory.Sequence(lambda number: f"User {number}")
    password = "!"
    role = factory.LazyFunction(lambda: Role.objects.get(code="member"))


class TeamAdminFactory(UserFactory):
    """Somebody whose role brings four seats."""

    role = factory.LazyFunction(lambda: Role.objects.get(code="team_admin"))


class StaffFactory(UserFactory):
    """A member of staff without a role: an Admin, or of the group given as ``groups``."""

    email = factory.Sequence(lambda number: f"staff{number}@example.com")
    is_staff = True
    role = None

    @factory.post_generation
    def groups(self, create, extracted, **kwargs):
        self.groups.add(Group.objects.get(name=extracted or StaffGroup.ADMIN))


class TeamFactory(factory.django.DjangoModelFactory):
    """An organisation, with a wallet of its own and any number of seats."""

    class Meta:
        model = Team

    name = factory.Sequence(lambda number: f"Team {number}")
