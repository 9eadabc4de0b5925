-- The table of revocations: PROXY_REVOCATIONS_TABLE=public.shape_proxy_revocations. A row voids tokens before their time,
-- in the transaction that has the reason for it, at every replica of the proxy.
-- Run as the owner of the application's tables. Running it again changes nothing.
CREATE TABLE IF NOT EXISTS public.shape_proxy_revocations (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- What the token is known by: its subject, its id, or any claim.
  kind       text NOT NULL CHECK (kind IN ('subject', 'jti') OR kind LIKE 'claim:_%'),
  value      text NOT NULL CHECK (value <> ''),
  -- Tokens issued before this time are void, so a new login works at once. NULL: all tokens.
  not_before timestamptz DEFAULT clock_timestamp() CHECK (not_before IS NULL OR isfinite(not_before)),
  -- When the row has done its work: not before the longest token of then is over.
  expires_at timestamptz DEFAULT now() + interval '7 days' CHECK (expires_at IS NULL OR isfinite(expires_at))
);
CREATE INDEX IF NOT EXISTS shape_proxy_revocations_expires_at ON public.shape_proxy_revocations (expires_at);

-- Electric needs whole old rows.
ALTER TABLE public.shape_proxy_revocations REPLICA IDENTITY FULL;

-- Removes the rows that are over: call it now and then, by pg_cron for example. Until then they cost a few bytes each.
CREATE OR REPLACE FUNCTION public.shape_proxy_revocations_clean() RETURNS bigint LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM public.shape_proxy_revocations WHERE expires_at < now() - interval '1 hour' RETURNING 1
  )
  SELECT count(*) FROM gone
$$;

-- Who is removed from a session has tokens that still name it: they are void from then on. A membership that moves to
-- another account or session counts as removed. The trigger is deferred, so it runs as the transaction commits: a token
-- that was minted before by what the others still saw is void as well.
CREATE OR REPLACE FUNCTION public.shape_proxy_member_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.shape_proxy_revocations (kind, value, not_before)
  VALUES ('subject', OLD.account_id, clock_timestamp());
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION public.shape_proxy_member_removed() FROM PUBLIC;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'shape_proxy_member_removed') THEN
    CREATE CONSTRAINT TRIGGER shape_proxy_member_removed AFTER DELETE ON public.session_members
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.shape_proxy_member_removed();
    CREATE CONSTRAINT TRIGGER shape_proxy_member_moved AFTER UPDATE OF session_id, account_id ON public.session_members
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.session_id IS DISTINCT FROM NEW.session_id OR OLD.account_id IS DISTINCT FROM NEW.account_id)
      EXECUTE FUNCTION public.shape_proxy_member_removed();
  END IF;
END
$$;
