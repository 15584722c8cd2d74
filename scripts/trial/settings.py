"""A small real Django site: TRIAL_ROOT holds its media directory and, with SQLite, its database.

TRIAL_PG, a libpq connection as "host=... dbname=... user=...", puts the database on PostgreSQL.
"""
import os

ROOT = os.environ.get("TRIAL_ROOT", os.getcwd())
SECRET_KEY = "a trial site has no secrets"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "gallery",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = os.path.join(ROOT, "media")
MEDIA_URL = "/media/"
# Django's own default leaves the mode to the umask for small files and to 0600 for large ones.
FILE_UPLOAD_PERMISSIONS = 0o644

_pg = os.environ.get("TRIAL_PG")
if _pg:
    _options = dict(part.split("=", 1) for part in _pg.split())
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _options.get("dbname", "trial"),
            "USER": _options.get("user", ""),
            "HOST": _options.get("host", ""),
            "PORT": _options.get("port", ""),
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(ROOT, "db", "site.sqlite3"),
            "OPTIONS": {"timeout": 20},
        }
    }
