{
    "name": "Odoo Tenancy",
    "summary": "Bus in the tenant's own database, sessions in Redis",
    "version": "19.0.1.0.0",
    "author": "Odoo Tenancy",
    "license": "LGPL-3",
    "category": "Hidden",
    "depends": ["base", "web"],
    "post_load": "activate",
    # Loaded by every process, never installed into a database.
    "installable": False,
}
