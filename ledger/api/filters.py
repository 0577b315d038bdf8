"""
Filters of lists.

A list's query serializer says what may be asked, strictly; its FilterSet, what that means in the
database.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import FilterSet
from rest_framework.serializers import ValidationError


def filtered(filter_class: type[FilterSet], query: Mapping[str, Any], rows: QuerySet) -> QuerySet:
    """
    Return those of ``rows`` that ``query`` asks for.

    :raises ValidationError: a value is not one the filter knows; it would be ignored otherwise.
    """
    found = filter_class(query, rows)
    if not found.is_valid():
        raise ValidationError(found.errors)
    return found.qs
