"""What most sites have: files of rows, rows that go with their parent, and files named in text."""
from django.db import models


class Album(models.Model):
    title = models.CharField(max_length=200)


class Photo(models.Model):
    album = models.ForeignKey(Album, null=True, on_delete=models.CASCADE)
    image = models.FileField(upload_to="photos/%Y/%m")
    caption = models.CharField(max_length=200, blank=True)


class Document(models.Model):
    file = models.FileField(upload_to="docs")


class Article(models.Model):
    body = models.TextField(blank=True)
    data = models.JSONField(default=dict)
