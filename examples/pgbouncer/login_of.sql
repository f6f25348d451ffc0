-- By a superuser, once for each server, in the database that auth_dbname names. Give the role a password yourself
-- (\password pgbouncer), and write it to userlist.txt: "pgbouncer" "the password".
-- The function tells the verifiers of Odoo's own logins and no others: not the admin's, not those of who only reads.
CREATE ROLE pgbouncer LOGIN;
GRANT CONNECT ON DATABASE postgres TO pgbouncer;
CREATE SCHEMA pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
CREATE FUNCTION pgbouncer.login_of(wanted text, OUT username text, OUT password text) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid
    WHERE rolname = wanted AND rolcanlogin AND rolname ~ '^t_[0-9a-f]{32}_[ab]$'
$$;
REVOKE ALL ON FUNCTION pgbouncer.login_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.login_of(text) TO pgbouncer;
