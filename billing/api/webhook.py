from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.services.inbox import receive_event
from creditsite.errors import InvalidRequest

MAX_BODY_BYTES = 262_144


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """Take an event from Stripe: 200 once it is kept, 400 if it is not for us."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
        return HttpResponse("It is too large.", status=400, content_type="text/plain")
    signature = request.headers.get("Stripe-Signature", "")
    try:
        receive_event(request.body, signature, at=timezone.now())
    except InvalidRequest as refusal:
        return HttpResponse(str(refusal), status=400, content_type="text/plain")
    return HttpResponse("Kept.", content_type="text/plain")
