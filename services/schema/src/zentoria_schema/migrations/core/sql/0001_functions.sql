-- Functions. Those with "security definer" act as zentoria_owner; each says why it must.

create function zentoria_user_id() returns bigint
language sql stable parallel safe
return nullif(current_setting('zentoria.user_id', true), '')::bigint;
comment on function zentoria_user_id() is 'The user for whom this transaction is, or null.';

-- The caller sees no other column of users than its own row's, and policies must not depend on who asks.
create function zentoria_user_is_owner() returns boolean
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$ select exists (
    select from public.users u where u.id = public.zentoria_user_id() and u.role = 'owner' and u.disabled_at is null) $$;
comment on function zentoria_user_is_owner() is 'Whether the user for whom this transaction is has the role owner.';

-- Before a key is found nobody knows whose it is.
create function find_api_key(prefix text)
returns table (
    id uuid, user_id bigint, name text, key_hash bytea, scopes text[], created_at timestamptz, expires_at timestamptz,
    revoked_at timestamptz, last_used_at timestamptz, user_role text, user_disabled_at timestamptz)
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
    select k.id, k.user_id, k.name, k.key_hash, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
           u.role, u.disabled_at
    from public.api_keys k join public.users u on u.id = k.user_id
    where k.prefix = find_api_key.prefix
$$;
comment on function find_api_key(text) is 'The key with this prefix, whosever it is, revoked or not: the caller judges.';

-- At most once in a minute, so that a busy key is not a busy row.
create function touch_api_key(id uuid, ip inet) returns void
language sql security definer set search_path = pg_catalog, public, pg_temp
as $$
    update public.api_keys k set last_used_at = clock_timestamp(), last_used_ip = touch_api_key.ip
    where k.id = touch_api_key.id
      and (k.last_used_at is null or k.last_used_at < clock_timestamp() - interval '1 minute'
           or k.last_used_ip is distinct from touch_api_key.ip)
$$;

-- The gateway reads no sessions; whether one lives is all that it asks.
create function session_live(sid uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$ select exists (
    select from public.sessions s join public.users u on u.id = s.user_id
    where s.id = session_live.sid and s.ended_at is null and s.expires_at > now() and u.disabled_at is null) $$;

-- Tidying goes through all users; each row is then handled in a transaction of its owner.
create function rows_due(kind text, before timestamptz, most integer default 100)
returns table (user_id bigint, id uuid)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
begin
    case kind
    when 'files' then
        return query select f.user_id, f.id from public.files f
            where f.deleted_at is not null and f.purge_after <= before order by f.purge_after limit most;
    when 'uploads' then
        return query select u.user_id, u.id from public.uploads u
            where u.state in ('open', 'received') and u.expires_at <= before order by u.expires_at limit most;
    when 'jobs' then
        return query select j.user_id, j.id from public.jobs j
            where j.state in ('queued', 'running')
              and coalesce(j.heartbeat_at, j.started_at, j.created_at) <= before order by j.created_at limit most;
    else
        raise exception 'rows_due: no kind %', kind using errcode = 'invalid_parameter_value';
    end case;
end $$;
comment on function rows_due(text, timestamptz, integer) is
    'Rows of all users whose time came: deleted files to purge, uploads left behind, jobs that nobody works at.';
