"""What tests of all apps share."""

from creditsite.testing.commands import command_running
from creditsite.testing.commits import assert_rejected_at_commit, check_deferred
from creditsite.testing.races import race

__all__ = ["assert_rejected_at_commit", "check_deferred", "command_running", "race"]
