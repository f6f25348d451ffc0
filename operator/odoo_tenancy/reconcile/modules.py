"""What changes in a database that serves already: modules and languages are added, another image is let in or not."""

from __future__ import annotations

from dataclasses import replace

from odoo_tenancy.desired import tenant as desired
from odoo_tenancy.reconcile.jobs import run_job
from odoo_tenancy.reconcile.look import Look


async def check_image(look: Look) -> None:
    """Another image serves this database only if it is of the same series and upgrades nothing.

    Raises:
        Refused: ``ImageChangeRefused``; what ran goes on running.
        Waiting: ``CheckingImage``.
    """
    installed, image = look.vault.installed, look.tenant.spec.odoo.image
    if installed is None or installed.image == image:
        return
    await run_job(look, desired.image_check(look.context), "ImageChangeRefused", "CheckingImage")
    await look.store(replace(look.vault, installed=replace(installed, image=image)))


async def install_added(look: Look) -> None:
    """Modules and languages that the spec gained, by a Job beside the running Odoo; what it lost stays installed.

    Raises:
        Refused: ``ModuleInstallationFailed``.
        Waiting: ``InstallingModules``.
    """
    installed, odoo = look.vault.installed, look.tenant.spec.odoo
    if installed is None:
        return
    modules = tuple(m for m in odoo.modules if m not in installed.modules)
    languages = tuple(x for x in odoo.languages if x not in installed.languages)
    if not modules and not languages:
        return
    await run_job(look, desired.installation(look.context), "ModuleInstallationFailed", "InstallingModules")
    now = replace(installed, modules=installed.modules + modules, languages=installed.languages + languages)
    await look.store(replace(look.vault, installed=now))
