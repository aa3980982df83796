"""What is read from PostgreSQL's own tables, as SQL. Everything is about the schema that the connection works in."""

from __future__ import annotations

import shutil
from pathlib import Path

VERSION_AND_SIZE = "SELECT current_setting('server_version'), pg_database_size(current_database())"

# Sessions of ours keep locks for as long as a rollback takes, whatever the server's own limits are.
LIMITS = """
SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN %s ELSE '0' END, false) FROM pg_settings
WHERE name IN ('lock_timeout', 'statement_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout',
    'transaction_timeout')
"""

TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'p') ORDER BY relname
"""

# May create databases; is a standby; the tables of somebody whose rights we have not.
RIGHTS = """
SELECT (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user), pg_is_in_recovery(),
    (SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class
     WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'p')
     AND NOT pg_has_role(relowner, 'USAGE'))
"""

LOCK_HOLDER = """
SELECT l.pid, coalesce(host(a.client_addr), 'this machine'), a.backend_start AT TIME ZONE 'UTC'
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objid = %s
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Sessions whose transaction has a lock on a table of ours: for more than two seconds, or one that writes. What is in
# pg_locks is shown to every role, while pg_stat_activity hides much of other roles' sessions. Without a user it is
# autovacuum, which steps aside by itself.
BLOCKERS = """
SELECT a.pid, coalesce(a.usename, 'another role')::text, a.application_name,
    extract(epoch FROM statement_timestamp() - coalesce(a.xact_start, a.backend_start))::float8,
    bool_or(l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.locktype = 'relation' AND c.relnamespace = to_regnamespace(current_schema())
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND a.pid <> pg_backend_pid() AND a.application_name <> %s AND a.usesysid IS NOT NULL
GROUP BY 1, 2, 3, 4
HAVING bool_or(l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
OR extract(epoch FROM statement_timestamp() - coalesce(max(a.xact_start), max(a.backend_start))) > 2
ORDER BY 4 DESC
"""

# The text of a value depends on these.
ONE_WAY_TO_WRITE = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
)

# Everything in the schema that is not an extension's, as statements that take it away.
DROPS = """
SELECT format('DROP %s IF EXISTS %I.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
    WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, current_schema(), relname)
FROM pg_class c WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'p', 'v', 'm', 'S')
AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', p.oid::regprocedure)
FROM pg_proc p WHERE pronamespace = to_regnamespace(current_schema()) AND prokind = 'f'
AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype)
FROM pg_type t WHERE typnamespace = to_regnamespace(current_schema()) AND typtype IN ('e', 'd')
AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
"""


def sum_of(table: str) -> str:
    """The rows of `table`: their number, and the sum of a digest of each."""
    name = '"' + table.replace('"', '""') + '"'
    return f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {name} t"  # noqa: S608


def free_bytes(folder: Path) -> int:
    """What is free on the disk of `folder`."""
    return shutil.disk_usage(folder).free
