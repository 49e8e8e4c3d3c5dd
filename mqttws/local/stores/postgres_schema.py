"""The schema in PostgreSQL, and the statements that use it.

A commit is one call of a function that takes a batch. It locks each key by an advisory lock of the
transaction: exclusively where it writes, shared where it checks, in one order for all processes.
Neither a lost update nor a deadlock can happen then, not with rows that do not exist yet either.
"""

SCHEMA_VERSION = 2
"""1 had the same tables, without the rows by which groups are found (``dps.group_index``)."""

SCHEMA = """
CREATE TABLE mqttws.rows (
    tbl text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, version bigint NOT NULL,
    value text NOT NULL, grp text COLLATE "C" NOT NULL DEFAULT '',
    alias text COLLATE "C" NOT NULL DEFAULT '', PRIMARY KEY (tbl, key)
);
CREATE INDEX rows_by_group ON mqttws.rows (tbl, grp, key) WHERE grp <> '';
CREATE INDEX rows_by_alias ON mqttws.rows (tbl, alias) WHERE alias <> '';
CREATE TABLE mqttws.throttles (
    bucket text PRIMARY KEY, began double precision NOT NULL, count bigint NOT NULL
);
CREATE FUNCTION mqttws.commit(batch jsonb) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    one jsonb; item jsonb; wanted record; found bigint; fits boolean; results boolean[] := '{}';
BEGIN
    FOR wanted IN
        SELECT hashtextextended(k->>0 || '/' || (k->>1), 0) AS lock, bool_or(w) AS writes
        FROM jsonb_array_elements(batch) AS c,
             LATERAL (SELECT jsonb_array_elements(c->'checks') AS k, false AS w
                      UNION ALL SELECT jsonb_array_elements(c->'writes'), true) AS keys
        GROUP BY 1 ORDER BY 1
    LOOP
        IF wanted.writes THEN PERFORM pg_advisory_xact_lock(wanted.lock);
        ELSE PERFORM pg_advisory_xact_lock_shared(wanted.lock); END IF;
    END LOOP;
    FOR one IN SELECT jsonb_array_elements(batch) LOOP
        fits := true;
        FOR item IN SELECT jsonb_array_elements(one->'checks') LOOP
            SELECT version INTO found FROM mqttws.rows WHERE tbl = item->>0 AND key = item->>1;
            IF coalesce(found, 0) <> (item->>2)::bigint THEN fits := false; EXIT; END IF;
        END LOOP;
        IF fits THEN
            FOR item IN SELECT jsonb_array_elements(one->'writes') LOOP
                IF item->>2 IS NULL THEN
                    DELETE FROM mqttws.rows WHERE tbl = item->>0 AND key = item->>1;
                ELSE
                    INSERT INTO mqttws.rows VALUES (item->>0, item->>1, (item->>2)::bigint,
                                                    item->>3, item->>4, item->>5)
                    ON CONFLICT (tbl, key) DO UPDATE SET version = excluded.version,
                        value = excluded.value, grp = excluded.grp, alias = excluded.alias;
                END IF;
            END LOOP;
        END IF;
        results := results || fits;
    END LOOP;
    RETURN results;
END $$;
"""

LOAD = """
SELECT k.n, r.version, r.value, extract(epoch FROM clock_timestamp())::double precision
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS k(tbl, key, n)
LEFT JOIN mqttws.rows AS r ON r.tbl = k.tbl AND r.key = k.key
"""

COMMIT = "SELECT mqttws.commit(%s::jsonb)"

COMMIT_AND_TELL = "SELECT mqttws.commit(%s::jsonb), pg_notify('mqttws', '')"
"""The same where a row is written that front ends keep; they hear of it if it is committed."""

LISTEN = "LISTEN mqttws"

ANNOUNCE = "SELECT pg_notify('mqttws', news) FROM unnest(%s::text[]) AS news"

TAKE = """
INSERT INTO mqttws.throttles AS t
VALUES (%(bucket)s, extract(epoch FROM clock_timestamp())::double precision, 1)
ON CONFLICT (bucket) DO UPDATE SET
    began = CASE WHEN excluded.began >= t.began + %(seconds)s OR excluded.began < t.began
            THEN excluded.began ELSE t.began END,
    count = CASE WHEN excluded.began >= t.began + %(seconds)s OR excluded.began < t.began
            THEN 1 ELSE least(t.count + 1, %(limit)s + 1) END
RETURNING count, began + %(seconds)s - extract(epoch FROM clock_timestamp())::double precision
"""

PAGE = """
SELECT key, version, value FROM mqttws.rows WHERE tbl = %s AND key > %s ORDER BY key LIMIT %s
"""

PAGE_OF_GROUP = """
SELECT key, version, value FROM mqttws.rows
WHERE tbl = %s AND key > %s AND grp = %s ORDER BY key LIMIT %s
"""

FIND = """
SELECT key, version, value FROM mqttws.rows
WHERE tbl = %s AND alias = ANY(%s::text[]) AND alias <> '' ORDER BY key
"""
