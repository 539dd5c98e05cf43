"""``placement.wsgi.api:application`` for any WSGI server: the same as ``moorage.wsgi:application``."""

from moorage.wsgi import application

__all__ = ["application"]
