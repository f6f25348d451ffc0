"""What roles may do with the objects in a tenant's database: those who only read, and Odoo in a full one.

Run in the database itself, as the admin, who is a member of the owner and so grants in its name. Nothing of the
tenant's own making runs with the admin's rights: names are looked up in ``pg_catalog`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Composed, Identifier, Literal

from odoo_tenancy.services.postgres.wanted import TenantDatabase

# Privileges as aclexplode() sorts them. What is right already isn't written: a big database has thousands of objects.
# Objects of a stranger (a superuser's table) are left out: granting on them would fail, and with it all the rest.
_EXISTING = """DO $grants$
DECLARE item record;
BEGIN
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  FOR item IN
    SELECT * FROM (
      SELECT c.oid::regclass::text AS relation, grantee, c.relacl AS acl, grantee::regrole::oid AS role,
        CASE WHEN c.relkind = 'S' THEN {sequences} WHEN c.relname ~ {insertable} THEN {writable} ELSE {tables} END
          AS privileges
      FROM pg_class c CROSS JOIN unnest({roles}::text[]) AS grantee
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND pg_has_role(current_user, c.relowner, 'USAGE')) AS wanted
    WHERE privileges <> coalesce((SELECT string_agg(DISTINCT a.privilege_type, ', ' ORDER BY a.privilege_type)
      FROM aclexplode(acl) AS a WHERE a.grantee = role), '')
  LOOP
    EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', item.relation, item.grantee);
    EXECUTE format('GRANT %s ON TABLE %s TO %I', item.privileges, item.relation, item.grantee);
  END LOOP;
  FOR item IN
    SELECT m.oid AS id, w.name AS grantee FROM pg_largeobject_metadata m CROSS JOIN unnest({roles}::text[]) AS w(name)
    WHERE pg_has_role(current_user, m.lomowner, 'USAGE') AND NOT EXISTS (
      SELECT FROM aclexplode(m.lomacl) AS a WHERE a.grantee = w.name::regrole)
  LOOP
    EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', item.id, item.grantee);
  END LOOP;
END $grants$"""

_NOTHING = "^$"
"""A pattern that no relation's name matches."""


def grant_reading(wanted: TenantDatabase) -> list[Composed]:
    """SELECT, and nothing else, on all that is there and all that the owner will make.

    Large objects, which Odoo doesn't use, have no default privileges before PostgreSQL 18: the next call grants
    what is new.
    """
    if not wanted.readers:
        return []
    readers = SQL(", ").join(map(Identifier, wanted.readers))
    defaults = SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} ").format(Identifier(wanted.owner_role))
    changes = [SQL("GRANT USAGE ON SCHEMA public TO {}").format(readers)]
    for kind in (SQL("TABLES"), SQL("SEQUENCES")):
        changes.append(defaults + SQL("REVOKE ALL ON {} FROM {}").format(kind, readers))
        changes.append(defaults + SQL("GRANT SELECT ON {} TO {}").format(kind, readers))
    return [*changes, _grant_existing(wanted.readers, tables=("SELECT",), sequences=("SELECT",))]


def grant_restricted(wanted: TenantDatabase, insertable: str) -> list[Composed]:
    """What Odoo needs in a full database: see :mod:`odoo_tenancy.services.postgres.restriction`.

    Args:
        insertable: a regular expression over the names of tables that may still grow.
    """
    role = wanted.acting_role
    return [
        SQL("GRANT CONNECT ON DATABASE {} TO {}").format(Identifier(wanted.database), Identifier(role)),
        SQL("GRANT USAGE ON SCHEMA public TO {}").format(Identifier(role)),
        _grant_existing(
            (role,),
            tables=("DELETE", "SELECT", "UPDATE"),
            sequences=("SELECT", "USAGE"),
            writable=("DELETE", "INSERT", "SELECT", "UPDATE"),
            insertable=insertable,
        ),
    ]


def _grant_existing(
    roles: Sequence[str],
    *,
    tables: Sequence[str],
    sequences: Sequence[str],
    writable: Sequence[str] = (),
    insertable: str = _NOTHING,
) -> Composed:
    return SQL(_EXISTING).format(
        roles=Literal(list(roles)),
        tables=Literal(", ".join(tables)),
        sequences=Literal(", ".join(sequences)),
        writable=Literal(", ".join(writable)),
        insertable=Literal(insertable),
    )
