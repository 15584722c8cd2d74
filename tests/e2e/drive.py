"""A Django process that does what it is told, one JSON line at a time, and tells what it did.

Started by site.py as the web user with TRIAL_ROOT (and TRIAL_PG) set.  Every command answers with
one JSON object; paths are names in the media directory as Django stored them.
"""
import hashlib
import json
import os
import sys

sys.path.insert(0, os.environ["TRIAL_CODE"])
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django  # noqa: E402

django.setup()
from django.core.files.base import ContentFile  # noqa: E402
from django.core.files.storage import default_storage  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from gallery.models import Album, Article, Document, Photo  # noqa: E402


def content(label):
    """Bytes that differ for every file, some of them larger than Django's chunk."""
    seed = hashlib.sha256(label.encode()).digest()
    return seed * (1 + seed[0] * 16)


def migrate(**_):
    call_command("migrate", verbosity=0, interactive=False)
    return {}


def upload(count, prefix, album=None, **_):
    """Photos through FileField; with `album` they belong to a new album of that title."""
    parent = Album.objects.create(title=album) if album else None
    paths, ids = [], []
    for i in range(count):
        photo = Photo(album=parent, caption=f"{prefix} {i}")
        photo.image.save(f"{prefix}-{i}.jpg", ContentFile(content(f"{prefix}-{i}")))
        paths.append(photo.image.name)
        ids.append(photo.pk)
    return {"paths": paths, "ids": ids, "album": parent.pk if parent else None}


def store(count, prefix, **_):
    """Files put into storage without a row."""
    return {"paths": [default_storage.save(f"text/{prefix} {i}.png",
                                           ContentFile(content(f"{prefix} {i}")))
                      for i in range(count)]}


def mention(paths, how, **_):
    """Articles that name files in HTML or in JSON, as URLs."""
    for path in paths:
        url = default_storage.url(path)
        if how == "html":
            Article.objects.create(body=f'<p>See <img src="{url}" alt="a"> here.</p>')
        else:
            Article.objects.create(data={"blocks": [{"type": "image", "src": url}]})
    return {}


def replace(ids, prefix, **_):
    """Saves a new file in a row: what it named before is left behind."""
    old, new = [], []
    for pk in ids:
        photo = Photo.objects.get(pk=pk)
        old.append(photo.image.name)
        photo.image.save(f"{prefix}-{pk}.jpg", ContentFile(content(f"{prefix}-{pk}")))
        new.append(photo.image.name)
    return {"old": old, "new": new}


def delete_queryset(ids, **_):
    Photo.objects.filter(pk__in=ids).delete()
    return {}


def delete_sql(ids, **_):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM gallery_photo WHERE id IN (%s)" % ",".join(str(int(i)) for i in ids))
    return {}


def delete_album(album, **_):
    Album.objects.get(pk=album).delete()
    return {}


def begin(**_):
    transaction.set_autocommit(False)
    return {}


def commit(**_):
    transaction.commit()
    transaction.set_autocommit(True)
    return {}


def rollback(**_):
    transaction.rollback()
    transaction.set_autocommit(True)
    return {}


def referenced(**_):
    """Every path a row names, with whether storage can open it and what it holds."""
    found = {}
    for name in list(Photo.objects.values_list("image", flat=True)) + list(
            Document.objects.values_list("file", flat=True)):
        with default_storage.open(name) as f:
            found[name] = hashlib.sha256(f.read()).hexdigest()
    return {"files": found}


def main():
    for line in sys.stdin:
        request = json.loads(line)
        command = globals()[request.pop("do")]
        try:
            answer = command(**request)
        except Exception as error:  # the test decides whether that was to be expected
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
