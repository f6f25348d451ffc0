"""Makes ``docs/settings.md`` from the class: run as a module, it prints the page."""

from __future__ import annotations

from typing import Any

from odoo_tenancy.runtime.settings import PREFIX, Settings

_HEAD = f"""# Settings

The operator reads its settings once, from environment variables that begin with `{PREFIX}`. A value that
cannot be is refused at the start, with exit status 2 and the variable's name.

<!-- Made from the class Settings by `python -m odoo_tenancy.runtime.settings_page`: edit the class. -->

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page as Markdown."""
    return _HEAD + "".join(_row(name) for name in Settings.model_fields)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    text = " ".join((field.description or "").split())
    default = "" if field.default_factory else _default(field.default)
    return f"| `{PREFIX}{name.upper()}` | {default} | {text} |\n"


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    return f"`{value:g}`" if isinstance(value, float | int) else f"`{value}`"


if __name__ == "__main__":
    print(page(), end="")
