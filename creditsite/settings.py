"""
Every setting, in titled sections, read from the environment with django-environ.

Where ``NAME_FILE`` is set, ``NAME`` is what that file holds: a secret need not be a variable.

Production names all that has no safe default, or does not start. ``DEMO=1`` alone opens plain HTTP
on loopback, demo sign-ins and a missing second factor. A checkout without ``DATABASE_URL`` and
``DEMO`` reads ``var/env``, which `run.py` wrote.
"""

from datetime import timedelta
from pathlib import Path

import environ
from celery.schedules import crontab
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from creditsite.logs import logging_config
from creditsite.running import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

environment.load()
env = environ.Env()
env.ENVIRON = environment.VariablesOrFiles()
DEMO = env.bool("DEMO", default=False)

REQUIRED = ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY", "DATABASE_URL"]
if not DEMO:
    REQUIRED.append("ALLOWED_HOSTS")
if missing := [name for name in REQUIRED if not env.str(name, default="")]:
    raise ImproperlyConfigured(
        f"Not set: {', '.join(missing)}. Set them for production (.env.example explains each), "
        "or run `python3 run.py` once, after which commands find the demo's in var/env "
        "(with a DATABASE_URL of your own, under DEMO=1)."
    )

# --- Django ---------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
ROOT_URLCONF = "creditsite.urls"
WSGI_APPLICATION = "creditsite.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "audit",
    "accounts",
    "ledger",
    "billing",
    "disputes",
    "creditsite.site",
]

MIDDLEWARE = [
    "creditsite.logs.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "creditsite.headers.HeadersMiddleware",
    "creditsite.intake.IntakeMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.web.middleware.SessionLimitsMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.doors.DoorsMiddleware",
    "accounts.web.middleware.SecondFactorMiddleware",
    "audit.context.AddressMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Static files ---------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Database -------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL")}
# One connection a thread, kept: opening one costs more than a spend. A check before each request
# would cost a round trip of its own, so after a restart of the server each connection fails once.
DATABASES["default"]["CONN_MAX_AGE"] = None
# What may wait for how long, in milliseconds; 0 is for ever. Commands have no statement timeout.
DATABASE_TIMEOUTS_MS = {
    "statement_timeout": env.int("DATABASE_STATEMENT_TIMEOUT_MS", default=30_000),
    "lock_timeout": env.int("DATABASE_LOCK_TIMEOUT_MS", default=10_000),
    "idle_in_transaction_session_timeout": env.int("DATABASE_IDLE_TIMEOUT_MS", default=60_000),
}
DATABASES["default"].setdefault("OPTIONS", {})["options"] = " ".join(
    f"-c {name}={milliseconds}" for name, milliseconds in DATABASE_TIMEOUTS_MS.items()
)
# A server that has gone without a word is noticed in half a minute, in a statement or between two.
DATABASES["default"]["OPTIONS"] |= {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# The engine's few statements are prepared because its cursor says so; none is for being repeated.
DATABASES["default"]["OPTIONS"]["prepare_threshold"] = 2**31

# --- Cache and queue ------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
# With Redis, throttles count in it for all processes; without, each process counts for itself
# (API_THROTTLE_CACHE), because a directory or a table would cost every request several writes.
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": VAR_DIR / "cache",
        }
    )
}

# The queue only wakes workers up. What is to be done are rows in PostgreSQL, so a lost message
# costs seconds and no work, whichever broker loses it.
CELERY_BROKER_URL = env.str("BROKER_URL", default=REDIS_URL or "filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem:"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": VAR_DIR / "broker" / "messages",
        "data_folder_out": VAR_DIR / "broker" / "messages",
        "control_folder": VAR_DIR / "broker" / "control",
        "polling_interval": 0.2,
    }
    for folder in [VAR_DIR / "broker" / "messages", VAR_DIR / "broker" / "control"]:
        folder.mkdir(parents=True, exist_ok=True)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULE = {
    "expire grants": {"task": "ledger.tasks.expire_grants", "schedule": timedelta(minutes=1)},
    "release expired holds": {
        "task": "ledger.tasks.release_expired_holds",
        "schedule": timedelta(seconds=10),
    },
    "add up spending": {
        "task": "ledger.tasks.add_up_spending",
        "schedule": timedelta(seconds=10),
    },
    "run awards": {"task": "ledger.tasks.run_awards", "schedule": timedelta(minutes=10)},
    "notice low credit": {
        "task": "ledger.tasks.notice_low_credit",
        "schedule": timedelta(minutes=1),
    },
    "add up figures": {"task": "ledger.tasks.add_up_figures", "schedule": timedelta(minutes=1)},
    "verify the figures": {
        "task": "ledger.tasks.verify_figures",
        "schedule": crontab(hour=3, minute=10),
    },
    "resume jobs": {"task": "accounts.tasks.resume_jobs", "schedule": timedelta(seconds=30)},
    "deliver e-mails": {"task": "accounts.tasks.deliver_emails", "schedule": timedelta(seconds=30)},
    "list erasures": {"task": "accounts.tasks.list_erasures", "schedule": timedelta(minutes=5)},
    "erase old e-mails": {
        "task": "accounts.tasks.erase_old_emails",
        "schedule": timedelta(hours=6),
    },
    "forget old sign-ins": {
        "task": "accounts.tasks.forget_old_sign_ins",
        "schedule": timedelta(minutes=10),
    },
    "expire approvals": {
        "task": "accounts.tasks.expire_approvals",
        "schedule": timedelta(minutes=5),
    },
    "handle Stripe events": {
        "task": "billing.tasks.handle_stripe_events",
        "schedule": timedelta(seconds=15),
        "options": {"expires": 15},
    },
    "find missed events": {
        "task": "billing.tasks.find_missed_events",
        "schedule": timedelta(minutes=10),
    },
    "find events missed for long": {
        "task": "billing.tasks.find_missed_events",
        "schedule": crontab(hour=2, minute=20),
        "kwargs": {"hours": 72},
    },
    "post slices": {"task": "billing.tasks.post_slices", "schedule": timedelta(minutes=1)},
    "tell subscribers": {
        "task": "billing.tasks.tell_subscribers",
        "schedule": timedelta(minutes=2),
        "options": {"expires": 120},
    },
    "send changes": {"task": "billing.tasks.send_changes", "schedule": timedelta(seconds=30)},
    "send refunds": {"task": "billing.tasks.send_refunds", "schedule": timedelta(seconds=30)},
    "top up": {
        "task": "billing.tasks.top_up",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},  # The next one does the same.
    },
    "debit project costs": {
        "task": "billing.tasks.debit_project_costs",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "end unpaid purchases": {
        "task": "billing.tasks.end_unpaid_purchases",
        "schedule": timedelta(minutes=30),
    },
    "forget customers": {
        "task": "billing.tasks.forget_customers",
        "schedule": timedelta(minutes=10),
    },
    "make share statements": {
        "task": "billing.tasks.make_share_statements",
        "schedule": crontab(minute=40),
    },
    "reconcile by night": {
        "task": "billing.tasks.reconcile_by_night",
        "schedule": crontab(hour=3, minute=40),
    },
    "work reconciliations": {
        "task": "billing.tasks.work_reconciliations",
        "schedule": timedelta(minutes=5),
        "options": {"expires": 300},
    },
    "tell staff of disputes": {
        "task": "disputes.tasks.tell_staff",
        "schedule": timedelta(minutes=15),
    },
    "send answers to disputes": {
        "task": "disputes.tasks.send_answers",
        "schedule": timedelta(seconds=30),
    },
    "count the wallets": {
        "task": "ledger.tasks.renew_snapshot",
        "schedule": timedelta(minutes=1),
    },
    "check the ledger": {"task": "ledger.tasks.check_ledger", "schedule": timedelta(hours=1)},
    "check the database": {
        "task": "creditsite.site.tasks.check_database",
        "schedule": timedelta(hours=1),
    },
    "seal the record": {
        "task": "audit.tasks.seal_audit",
        "schedule": timedelta(seconds=5),
        "options": {"expires": 5},  # The next one does the same.
    },
    "verify the record": {"task": "audit.tasks.verify_audit", "schedule": timedelta(hours=1)},
}

# --- E-mail ---------------------------------------------------------------------------------------
# Whatever sends mail writes rows of the outbox; a task sends them by the server in EMAIL_URL.
# Without one a demo keeps them to be read in its admin, and production lets them wait.
EMAIL_BACKEND = "accounts.services.outbox.OutboxBackend"
EMAIL_IS_SENT = bool(env.str("EMAIL_URL", default=""))
email_server = env.email_url("EMAIL_URL") if EMAIL_IS_SENT else env.email_url_config("dummymail://")
EMAIL_DELIVERY_BACKEND = email_server["EMAIL_BACKEND"]
EMAIL_HOST = email_server["EMAIL_HOST"] or "localhost"
EMAIL_PORT = email_server["EMAIL_PORT"] or 25
EMAIL_HOST_USER = email_server["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD = email_server["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS = email_server.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = email_server.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 20
EMAIL_FROM = env.str("EMAIL_FROM", default="")
DEFAULT_FROM_EMAIL = EMAIL_FROM or "creditsite@localhost.localdomain"
# Tries before an e-mail is given up, a day and a half after the first.
EMAIL_TRIES = env.int("EMAIL_TRIES", default=14)
# Days until an e-mail's text, which may hold a link to sign in by, and then all of it is erased.
EMAIL_TEXT_DAYS = env.int("EMAIL_TEXT_DAYS", default=14)
EMAIL_DAYS = env.int("EMAIL_DAYS", default=365)
# Who was erased, a line each, kept elsewhere than the database: what `replay_erasures` reads.
ERASURE_LIST_FILE = env.str(
    "ERASURE_LIST_FILE", default=str(VAR_DIR / "erasures.jsonl") if DEMO else ""
)

# --- Address --------------------------------------------------------------------------------------
# Where the site is for its users, as https://credits.example.com: for links in e-mails, and for the
# way back from Stripe. Without it e-mails have no links.
SITE_URL = env.str("SITE_URL", default="").rstrip("/")

# --- Safety of the site ---------------------------------------------------------------------------
SECURE_SSL_REDIRECT = not DEMO
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # Probes come past the proxy.
# The header by which the proxy says that a request came by HTTPS, as X-Forwarded-Proto.
if PROXY_HTTPS_HEADER := env.str("PROXY_HTTPS_HEADER", default=""):
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{PROXY_HTTPS_HEADER.upper().replace('-', '_')}", "https")
SECURE_HSTS_SECONDS = 0 if DEMO else env.int("HSTS_SECONDS", default=31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_INCLUDE_SUBDOMAINS", default=True)
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", default=True)
SESSION_COOKIE_SECURE = not DEMO
CSRF_COOKIE_SECURE = not DEMO
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
CSRF_COOKIE_HTTPONLY = True
if DEMO:  # Cookies know no ports; two checkouts on one machine would sign each other out.
    SESSION_COOKIE_NAME = f"session_{env.str('PORT', default='')}"
    CSRF_COOKIE_NAME = f"csrf_{env.str('PORT', default='')}"
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
X_FRAME_OPTIONS = "DENY"
# Pages of ours load what is ours; creditsite/headers.py has the exceptions, by path.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
# A message may name somebody, and so goes into the session rather than into a cookie.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
# What may come in: a body of any kind; of a form all but its files; fields; files.
MAX_UPLOAD_BYTES = env.int("MAX_UPLOAD_BYTES", default=10 * 1_048_576)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
DATA_UPLOAD_MAX_NUMBER_FILES = 5

# --- People ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
# Keys the hash by which an e-mail address gets its sign-up award once for ever.
IDENTITY_KEY = env.str("IDENTITY_KEY")
# How many wrong sign-ins may be answered in a window: a wrong password or code counts, of accounts
# that nobody has too. An address that an account is known by is free of the second limit.
SIGN_IN_WINDOW_SECONDS = env.int("SIGN_IN_WINDOW_SECONDS", default=900)
SIGN_IN_LIMITS = {
    "account_from_address": env.int("SIGN_IN_LIMIT_OF_ACCOUNT_FROM_ADDRESS", default=5),
    "account": env.int("SIGN_IN_LIMIT_OF_ACCOUNT", default=20),
    "address": env.int("SIGN_IN_LIMIT_OF_ADDRESS", default=100),
}
KNOWN_ADDRESS_DAYS = env.int("KNOWN_ADDRESS_DAYS", default=90)
# Keys the digest that an API key is stored as.
API_KEY_HASH_KEY = env.str("API_KEY_HASH_KEY")
# How long an API key lasts at most, and if nothing else is said.
API_KEY_DAYS = env.int("API_KEY_DAYS", default=365)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in [
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    ]
]

# --- Sign-in --------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = LOGOUT_REDIRECT_URL = "account_login"
# Staff without a second factor reach nothing but the page to set one up.
STAFF_NEED_SECOND_FACTOR = env.bool("STAFF_NEED_SECOND_FACTOR", default=not DEMO)
# How long a session lasts, as (minutes without a request, minutes altogether).
SESSION_MINUTES = {
    "staff": (
        env.int("STAFF_SESSION_IDLE_MINUTES", default=30),
        env.int("STAFF_SESSION_MINUTES", default=8 * 60),
    ),
    "user": (
        env.int("USER_SESSION_IDLE_MINUTES", default=14 * 24 * 60),
        env.int("USER_SESSION_MINUTES", default=30 * 24 * 60),
    ),
}
SESSION_COOKIE_AGE = 60 * max(absolute for _, absolute in SESSION_MINUTES.values())
# Keys of before: what they signed and encrypted, sessions and second factors, stays good.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

ACCOUNT_ADAPTER = "accounts.web.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.web.forms.SignInForm",
    "signup": "accounts.web.forms.SignUpForm",
    "reauthenticate": "accounts.web.forms.ReauthenticateForm",
    "change_password": "accounts.web.forms.ChangePasswordForm",
    "reset_password_from_key": "accounts.web.forms.ResetPasswordForm",
}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_PREVENT_ENUMERATION = "strict"
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "http" if DEMO else "https"
ACCOUNT_SESSION_REMEMBER = True
# A second net under SIGN_IN_LIMITS, which count more strictly and in PostgreSQL.
ACCOUNT_RATE_LIMITS = {
    "login": "120/m/ip",
    "login_failed": "120/m/ip,30/15m/key",
    "reauthenticate": "30/m/user",
    "change_password": "30/m/user",
}
MFA_ADAPTER = "accounts.web.adapters.FactorAdapter"
MFA_FORMS = {
    "authenticate": "accounts.web.forms.CodeForm",
    "reauthenticate": "accounts.web.forms.CodeAgainForm",
    "authenticate_webauthn": "accounts.web.forms.KeyForm",
    "reauthenticate_webauthn": "accounts.web.forms.KeyAgainForm",
    "add_webauthn": "accounts.web.forms.AddKeyForm",
    "edit_webauthn": "accounts.web.forms.RenameKeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "creditsite"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEMO

# --- Stripe ---------------------------------------------------------------------------------------
# Without a key payments are not set up: whoever tries to pay is told so.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="") or "https://api.stripe.com"
# Where Stripe's payment and portal pages are: a form of ours may lead there.
STRIPE_PAGES = env.list(
    "STRIPE_PAGES", default=["https://checkout.stripe.com", "https://billing.stripe.com"]
)
# Whether Stripe adds tax to prices; set it up there first. Then only its own page sells.
STRIPE_AUTOMATIC_TAX = env.bool("STRIPE_AUTOMATIC_TAX", default=False)
# What signs webhooks: two while one follows the other.
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRETS", default=[])
# Our account, acct_…, which events may name; those that name another one are refused.
STRIPE_ACCOUNT = env.str("STRIPE_ACCOUNT", default="")
if not DEMO and not STRIPE_API_BASE.startswith("https://"):
    raise ImproperlyConfigured(
        "STRIPE_API_BASE is not https://, and the key would be sent in the clear."
    )

# How many days back the reconciliation of each night looks.
RECONCILIATION_DAYS = env.int("RECONCILIATION_DAYS", default=35)

# Automatic top-ups of one user that are charged in 24 hours at most, whatever they agreed to.
TOP_UPS_A_DAY = env.int("TOP_UPS_A_DAY", default=5)

# --- Disputes -------------------------------------------------------------------------------------
# Files that go with a dispute: how large one is, and how many there are, at the most.
DISPUTE_FILE_BYTES = env.int("DISPUTE_FILE_BYTES", default=5 * 1_048_576)
DISPUTE_FILES = env.int("DISPUTE_FILES", default=10)
# What looks for viruses in them, as "package.module.function": it is given the bytes and the type,
# and returns whether the file may be kept. Without one every file of a known type is.
DISPUTE_FILE_SCANNER = env.str("DISPUTE_FILE_SCANNER", default="")

# Who sells, as receipts name them; lines of the address with a | between.
SELLER = {
    "name": env.str("SELLER_NAME", default="creditsite demo" if DEMO else ""),
    "address": [
        line.strip() for line in env.str("SELLER_ADDRESS", default="").split("|") if line.strip()
    ],
    "tax_id": env.str("SELLER_TAX_ID", default=""),
}

# --- API ------------------------------------------------------------------------------------------
API_MAX_BODY_BYTES = env.int("API_MAX_BODY_BYTES", default=1_048_576)

# How often, as (limit, seconds): callers by themselves, those who sign in by their address.
API_THROTTLES = {
    "default": (env.int("THROTTLE_CALLS_PER_MINUTE", default=20_000), 60),
    "spend": (env.int("THROTTLE_SPENDS_PER_MINUTE", default=20_000), 60),
    # Whoever tries codes of promotions is answered whether there is one.
    "codes": (env.int("THROTTLE_CODES_PER_MINUTE", default=60), 60),
    # Right or wrong: each costs a password hash. Wrong ones have limits of their own, above.
    "sign_in": (env.int("THROTTLE_SIGN_INS_PER_MINUTE", default=600), 60),
    "register": (env.int("THROTTLE_REGISTRATIONS_PER_HOUR", default=2_000), 3600),
    # Each writes e-mails, or may bring megabytes.
    "disputes": (env.int("THROTTLE_DISPUTES_PER_HOUR", default=300), 3600),
    "export": (env.int("THROTTLE_EXPORTS_PER_HOUR", default=5), 3600),
}
# The cache that all processes count in; without Redis each counts for itself.
API_THROTTLE_CACHE = "default" if REDIS_URL else None

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.BearerAuthentication",
        "accounts.api.authentication.ApiKeyAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.ByTable"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.api.throttles.CallerThrottle"],
    "DEFAULT_PARSER_CLASSES": ["creditsite.apikit.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "creditsite.site.schema.ApiSchema",
    "EXCEPTION_HANDLER": "creditsite.apikit.problems.problem_response",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
    # Proxies in front of us; X-Forwarded-For is believed for that many and no further.
    "NUM_PROXIES": env.int("TRUSTED_PROXIES", default=0),
}

JWT_SIGNING_KEY = env.str("JWT_SIGNING_KEY")
# The key of before: what it signed is good until it runs out.
JWT_SIGNING_KEY_OLD = env.str("JWT_SIGNING_KEY_OLD", default="")
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SIGNING_KEY,
    "ISSUER": "creditsite",
    "AUDIENCE": "creditsite-api",
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.int("REFRESH_TOKEN_DAYS", default=14)),
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Credits API",
    "DESCRIPTION": "Credits: granted, bought, held, spent and explained. See docs/api.md.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "ENFORCE_NON_BLANK_FIELDS": True,
    "COMPONENT_SPLIT_PATCH": False,  # What a body needs, a PATCH needs, too.
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["accounts.api.permissions.ByTable"],
    "ENUM_NAME_OVERRIDES": {
        "ApprovalStatusEnum": "accounts.choices.ApprovalStatus",
        "EntryTypeEnum": ["allocation", "purchase"],
        "OfferKindEnum": "billing.choices.OfferKind",
        "DisputeStatusEnum": "disputes.choices.DisputeStatus",
        "DisputeEventKindEnum": "disputes.choices.EventKind",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "creditsite.site.schema.add_problems",
    ],
}

# --- Audit ----------------------------------------------------------------------------------------
# Only where seals are made (the worker) needs the key; a demo makes one. The checkpoints belong on
# another machine: a mounted directory or bucket. The state is what the last verification has seen.
AUDIT_DIR = VAR_DIR / "audit"
AUDIT_SIGNING_KEY_FILE = env.str(
    "AUDIT_SIGNING_KEY_FILE", default=str(AUDIT_DIR / "signing_key.pem") if DEMO else ""
)
AUDIT_CHECKPOINT_FILE = env.str(
    "AUDIT_CHECKPOINT_FILE", default=str(AUDIT_DIR / "checkpoints.jsonl") if DEMO else ""
)
AUDIT_STATE_FILE = env.str("AUDIT_STATE_FILE", default=str(AUDIT_DIR / "verified.json"))
# Public keys trusted from the start, in hex; otherwise those of the first checkpoint seen.
AUDIT_PUBLIC_KEYS = env.list("AUDIT_PUBLIC_KEYS", default=[])

# --- Approvals ------------------------------------------------------------------------------------
# Days that a request waits for the second person.
APPROVAL_DAYS = env.int("APPROVAL_DAYS", default=7)

# --- Admin ----------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "creditsite",
    "SITE_HEADER": "creditsite",
    "SITE_SUBHEADER": "Credits, and where they went",
    "SITE_SYMBOL": "toll",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "SIDEBAR": {"navigation": "creditsite.site.navigation.menu"},
    "DASHBOARD_CALLBACK": "creditsite.site.dashboard.on_start_page",
    "ACCOUNT": {"navigation": "creditsite.site.navigation.account"},
    "SITE_FAVICONS": [{"rel": "icon", "href": "creditsite.site.navigation.icon"}],
}

# --- Log ------------------------------------------------------------------------------------------
LOGGING = logging_config(as_json=not DEMO, level=env.str("LOG_LEVEL", default="INFO"))
