-- Specs spread into columns, so that `psql -c 'select * from engines'` reads well when the admin is down. The code
-- uses none of them; the JSON paths are those of docs/configuration.md.

CREATE VIEW listeners AS
SELECT name,
       spec::jsonb ->> 'address'                AS address,
       spec::jsonb ->> 'max_connections'        AS max_connections,
       spec::jsonb ->> 'max_concurrent_streams' AS max_concurrent_streams,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'listener';

CREATE VIEW engines AS
SELECT name,
       (SELECT string_agg(e ->> 'address', ' ')
          FROM jsonb_array_elements(spec::jsonb -> 'endpoints') AS e) AS endpoints,
       spec::jsonb ->> 'balance'              AS balance,
       spec::jsonb ->> 'protocol'             AS protocol,
       spec::jsonb #>> '{pool,mode}'          AS mode,
       (spec::jsonb #>> '{pool,slots}')::bigint AS slots,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'engine';

CREATE VIEW pools AS
SELECT name AS engine,
       spec::jsonb #>> '{pool,mode}'            AS mode,
       spec::jsonb #>> '{pool,slots}'           AS slots,
       spec::jsonb #>> '{pool,loose_factor}'    AS loose_factor,
       spec::jsonb #>> '{pool,queue}'           AS queue,
       spec::jsonb #>> '{pool,queue_timeout}'   AS queue_timeout,
       spec::jsonb #>> '{pool,dial_timeout}'    AS dial_timeout,
       spec::jsonb #>> '{pool,idle_timeout}'    AS idle_timeout,
       spec::jsonb #>> '{pool,cancel_cooldown}' AS cancel_cooldown
FROM resource WHERE kind = 'engine';

CREATE VIEW routes AS
SELECT name,
       spec::jsonb #>> '{match,listener}' AS listener,
       spec::jsonb #>> '{match,host}'     AS host,
       spec::jsonb #>> '{match,grpc}'     AS grpc,
       spec::jsonb #>> '{match,path}'     AS path,
       spec::jsonb #>> '{match,methods}'  AS methods,
       spec::jsonb ->> 'engine'           AS engine,
       spec::jsonb ->> 'priority'         AS priority,
       spec::jsonb ->> 'timeout'          AS timeout,
       mod_revision AS revision, updated_by
FROM resource WHERE kind = 'route';
