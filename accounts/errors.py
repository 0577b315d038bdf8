"""Refusals about people, keys, teams and jobs."""

from creditsite.errors import Conflict, InvalidRequest, NotPermitted


class InvalidFields(InvalidRequest):
    """Some fields are wrong: ``errors`` maps each to its messages, as forms and documents do."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        self.errors = errors
        self.numbers = {"errors": errors}
        super().__init__(" ".join(message for messages in errors.values() for message in messages))


class OwnAccount(NotPermitted):
    code = "own_account"

    def __init__(self) -> None:
        super().__init__("Nobody changes the rights of their own account.")


class NoSeatLeft(Conflict):
    code = "no_seat_left"

    def __init__(self, *, seats: int) -> None:
        self.numbers = {"seats": seats}
        super().__init__(f"All {seats} seats of the team are taken.")


class NotATeamOwner(Conflict):
    code = "not_a_team_owner"


class AlreadyMember(Conflict):
    code = "already_member"


class JobNotInState(Conflict):
    code = "job_not_in_state"

    def __init__(self, *, verb: str, status: str) -> None:
        self.numbers = {"status": status}
        super().__init__(f"A job that is {status} cannot be {verb}.")
