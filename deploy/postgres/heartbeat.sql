-- The table by which shape-proxy measures how late rows arrive: PROXY_HEARTBEAT_TABLE=public.shape_proxy_heartbeat.
-- One row a process, a few bytes, written every 5 s; rows of processes that are gone are removed by the others.
-- Run as the owner of the application's tables. Running it again changes nothing.
CREATE TABLE IF NOT EXISTS public.shape_proxy_heartbeat (
  replica   text PRIMARY KEY,
  beat      bigint NOT NULL,
  beaten_at timestamptz NOT NULL DEFAULT now()
);

-- Electric needs whole old rows. A table of a few rows that are updated in place is small forever, if it is vacuumed.
ALTER TABLE public.shape_proxy_heartbeat REPLICA IDENTITY FULL;
ALTER TABLE public.shape_proxy_heartbeat SET (fillfactor = 50, autovacuum_vacuum_threshold = 100);
