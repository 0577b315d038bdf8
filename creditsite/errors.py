"""The families of refusal. Doors handle the families, never the leaves."""


class CreditsiteError(Exception):
    """
    A refusal whose message is safe to show to whoever asked.

    ``numbers`` are the figures of the case, for machines: a door adds them to its answer.
    ``status`` is the HTTP status of its family; a leaf may have one of its own.
    """

    code = "error"
    status = 500
    numbers: dict[str, object] = {}


class InvalidRequest(CreditsiteError):
    """Wrong whatever the state of the books (400)."""

    code = "invalid_request"
    status = 400


class NotAuthenticated(CreditsiteError):
    """Nobody is signed in by this (401)."""

    code = "not_authenticated"
    status = 401


class NotPermitted(CreditsiteError):
    """This actor may not (403)."""

    code = "not_permitted"
    status = 403


class NotFound(CreditsiteError):
    """It does not exist, or is somebody else's (404)."""

    code = "not_found"
    status = 404


class Conflict(CreditsiteError):
    """Well formed, but the state says no (409)."""

    code = "conflict"
    status = 409


class TooMuch(CreditsiteError):
    """Too often or too much for now; the same request may pass later (429)."""

    code = "throttled"
    status = 429

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class Unavailable(CreditsiteError):
    """A service we need did not answer; the same request may pass later (503)."""

    code = "unavailable"
    status = 503
    retry_after_seconds = 5
