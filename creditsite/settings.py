"""
Every setting, in titled sections, read from the environment with django-environ.

Production names all that has no safe default, or does not start. ``DEMO=1`` alone opens plain HTTP
on loopback, demo sign-ins and a missing second factor. A checkout without ``DATABASE_URL`` and
``DEMO`` reads ``var/env``, which `run.py` wrote.
"""

from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from creditsite.logs import logging_config
from creditsite.running import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

environment.load()
env = environ.Env()
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
    "django.contrib.postgres",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
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
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
    "resume jobs": {"task": "accounts.tasks.resume_jobs", "schedule": timedelta(seconds=30)},
    "check the ledger": {"task": "ledger.tasks.check_ledger", "schedule": timedelta(hours=1)},
}

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
if DEMO:  # Cookies know no ports; two checkouts on one machine would sign each other out.
    SESSION_COOKIE_NAME = f"session_{env.str('PORT', default='')}"
    CSRF_COOKIE_NAME = f"csrf_{env.str('PORT', default='')}"
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
X_FRAME_OPTIONS = "DENY"

# --- People ---------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
LOGIN_REDIRECT_URL = "admin:index"
# Keys the hash by which an e-mail address gets its sign-up award once for ever.
IDENTITY_KEY = env.str("IDENTITY_KEY")
# Keys the digest that an API key is stored as.
API_KEY_HASH_KEY = env.str("API_KEY_HASH_KEY")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in [
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    ]
]

# --- API ------------------------------------------------------------------------------------------
API_MAX_BODY_BYTES = env.int("API_MAX_BODY_BYTES", default=1_048_576)

# How often, as (limit, seconds): callers by themselves, those who sign in by their address.
API_THROTTLES = {
    "default": (env.int("THROTTLE_CALLS_PER_MINUTE", default=20_000), 60),
    "spend": (env.int("THROTTLE_SPENDS_PER_MINUTE", default=20_000), 60),
    # Tries of one account from one address; one that succeeds starts the count again.
    "sign_in": (env.int("THROTTLE_SIGN_INS_PER_MINUTE", default=20), 60),
    "sign_in_address": (env.int("THROTTLE_SIGN_INS_OF_ADDRESS_PER_MINUTE", default=600), 60),
    "register": (env.int("THROTTLE_REGISTRATIONS_PER_HOUR", default=2_000), 3600),
}
# The cache that all processes count in; without Redis each counts for itself.
API_THROTTLE_CACHE = "default" if REDIS_URL else None

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.BearerAuthentication",
        "accounts.api.authentication.ApiKeyAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.IsUser"],
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
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "creditsite.site.schema.add_problems",
    ],
}

# --- Ledger ---------------------------------------------------------------------------------------
# Days that reversed credits of an expired grant live on for.
CREDITS_GRACE_DAYS = env.int("CREDITS_GRACE_DAYS", default=30)
# The most credits staff may bring a balance to; paid purchases and allotments are not bound by it.
LARGEST_BALANCE = env.int("LARGEST_BALANCE", default=1_000_000)

# --- Admin ----------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "creditsite",
    "SITE_HEADER": "creditsite",
    "SITE_SUBHEADER": "Credits, and where they went",
    "SITE_SYMBOL": "toll",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "SIDEBAR": {"navigation": "creditsite.site.navigation.menu"},
    "SITE_FAVICONS": [{"rel": "icon", "href": "creditsite.site.navigation.icon"}],
}

# --- Log ------------------------------------------------------------------------------------------
LOGGING = logging_config(as_json=not DEMO, level=env.str("LOG_LEVEL", default="INFO"))
