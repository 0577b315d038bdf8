"""What disputes refuse."""

from datetime import datetime

from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted, TooMuch


class DisputeNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such dispute.")


class AttachmentNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("There is no such file.")


class NotYourCharge(NotPermitted):
    """They may see the charge, and neither made it nor answer for the wallet."""

    def __init__(self) -> None:
        super().__init__(
            "A charge is disputed by who made it, or by who answers for the wallet that paid."
        )


class NotDisputable(Conflict):
    code = "not_disputable"

    def __init__(self) -> None:
        super().__init__("Only a charge for use can be disputed.")


class TooLateToDispute(Conflict):
    code = "too_late"

    def __init__(self, *, until: datetime) -> None:
        self.numbers = {"until": until.isoformat().replace("+00:00", "Z")}
        super().__init__(f"This could be disputed until {until:%Y-%m-%d %H:%M} UTC.")


class AlreadyDisputed(Conflict):
    code = "already_disputed"

    def __init__(self) -> None:
        super().__init__("This charge was disputed already. A charge is disputed once.")


class NothingToDispute(Conflict):
    code = "nothing_to_dispute"

    def __init__(self) -> None:
        super().__init__("All credits of this charge have been given back.")


class DisputeChanged(Conflict):
    code = "stale_version"

    def __init__(self) -> None:
        super().__init__("The dispute has changed since it was shown. Look at it again.")


class DisputeNotInState(Conflict):
    code = "dispute_not_in_state"

    def __init__(self, *, verb: str, status: str) -> None:
        self.numbers = {"dispute_status": status}
        super().__init__(f"A dispute that is {status.replace('_', ' ')} cannot be {verb}.")


class DisputeWaits(Conflict):
    code = "waits_for_approval"

    def __init__(self) -> None:
        super().__init__("A decision on this dispute waits for a second person already.")


class AlreadyAppealed(Conflict):
    code = "already_appealed"

    def __init__(self) -> None:
        super().__init__("This dispute was appealed already. That is possible once.")


class SameReviewer(NotPermitted):
    code = "same_reviewer"

    def __init__(self) -> None:
        super().__init__("An appeal is decided by somebody else than who decided before.")


class CannotReview(Conflict):
    code = "cannot_review"

    def __init__(self) -> None:
        super().__init__(
            "They cannot review this dispute: it is their own, they decided it before, or they are"
            " not staff who review."
        )


class TooManyMessages(TooMuch):
    def __init__(self) -> None:
        super().__init__(
            "So many messages were written already. Wait for an answer.",
            retry_after_seconds=3_600,
        )


class InvalidFile(InvalidRequest):
    """It is empty, too large, of a type that is not taken, or called by no name."""

    code = "invalid_file"


class FileRefused(InvalidRequest):
    """The scanner of this installation found something in it."""

    code = "file_refused"

    def __init__(self) -> None:
        super().__init__("This file is not taken: something harmful was found in it.")


class TooManyFiles(Conflict):
    code = "too_many_files"

    def __init__(self, *, most: int) -> None:
        self.numbers = {"most": most}
        super().__init__(f"A dispute has {most} files at the most.")


class NotToBeAnswered(Conflict):
    code = "not_to_be_answered"

    def __init__(self, *, status: str) -> None:
        self.numbers = {"dispute_status": status}
        super().__init__(
            f"A dispute of a payment that is {status.replace('_', ' ')} takes no answer."
        )


class TooLateToAnswer(Conflict):
    code = "too_late"

    def __init__(self, *, until: datetime) -> None:
        super().__init__(f"Evidence was due until {until:%Y-%m-%d %H:%M} UTC.")


class AnswerWaits(Conflict):
    code = "answer_waits"

    def __init__(self) -> None:
        super().__init__("An answer to it is on its way to Stripe, or waits for a second person.")


class InvalidEvidence(InvalidRequest):
    """It is of a kind that Stripe does not know, or there is none, or too much."""
