"""How money is written on pages."""

from django import template

from creditsite.money import format_money

register = template.Library()


@register.filter
def money(minor: int, currency: str) -> str:
    return format_money(minor, currency)
