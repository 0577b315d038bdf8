from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from audit.checkpoints import BadKeyFile
from audit.sealing import SealingRefused, seal, signer


class Command(BaseCommand):
    help = "Number, chain and sign what was recorded since the last time, as the worker does."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            keys = signer().keys
            sealed = seal(at=timezone.now())
        except (BadKeyFile, SealingRefused) as refusal:
            raise CommandError(str(refusal)) from refusal
        if sealed is None:
            self.stdout.write("Another sealer is at work.")
        elif sealed.head is None:
            self.stdout.write("There was nothing to seal.")
        else:
            self.stdout.write(
                f"Sealed {sealed.events:,} events and {sealed.rows:,} rows of the books,"
                f" up to record {sealed.head.number:,}."
            )
        for key in keys:
            self.stdout.write(f"public key {key}")
