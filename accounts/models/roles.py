from django.db import models


class Role(models.Model):
    """What a user is on the platform, and the credits that come with it. Not a staff permission."""

    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    allotment = models.PositiveIntegerField(
        default=0, help_text="Whole credits awarded once to each new user of this role."
    )
    pool_seats = models.PositiveSmallIntegerField(
        default=0, help_text="Members who may share this user's wallet as their pool."
    )

    def __str__(self) -> str:
        return self.name
