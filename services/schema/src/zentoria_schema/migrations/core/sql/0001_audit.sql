-- The trail: append-only, chained by hashes, one partition a month.

insert into audit_head (one, id, hash, partitions_until)
values (true, 0, '\x0000000000000000000000000000000000000000000000000000000000000000',
        date_trunc('month', now() at time zone 'UTC'));

create function audit_refuse() returns trigger
language plpgsql as $$
begin
    raise exception 'audit_log is append-only: no %', lower(tg_op) using errcode = 'insufficient_privilege';
end $$;

-- Rows' triggers are handed down to partitions; truncate's is made with each partition.
create trigger audit_log_keeps_rows before update or delete on audit_log
    for each row execute function audit_refuse();
create trigger audit_log_keeps_all before truncate on audit_log
    for each statement execute function audit_refuse();

-- Making a table is the owner's, keeping the months ahead is a running service's.
create function ensure_audit_partitions(months integer default 6) returns date
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set timezone = 'UTC'
as $$
declare
    head public.audit_head;
    from_day date;
    goal date := (date_trunc('month', now()) + make_interval(months => least(greatest(months, 1), 60) + 1))::date;
    part text;
begin
    select * into strict head from public.audit_head for update;
    from_day := head.partitions_until;
    while from_day < goal loop
        part := 'audit_log_' || to_char(from_day, 'YYYY_MM');
        -- Made aside and then attached: reading and writing go on meanwhile.
        execute format('create table public.%I (like public.audit_log including defaults including constraints)', part);
        execute format('alter table public.%I enable row level security, force row level security', part);
        execute format('create trigger audit_log_keeps_all before truncate on public.%I '
                       'for each statement execute function public.audit_refuse()', part);
        execute format('alter table public.audit_log attach partition public.%I for values from (%L) to (%L)',
                       part, from_day::timestamptz, (from_day + interval '1 month')::timestamptz);
        from_day := (from_day + interval '1 month')::date;
    end loop;
    update public.audit_head set partitions_until = from_day where partitions_until < from_day;
    return from_day;
end $$;
comment on function ensure_audit_partitions(integer) is
    'Makes the partitions of this month and as many as asked ahead; answers with the day that the last one ends before.';

-- What the hash covers. Each field is its length in bytes, a colon, itself; a null is a minus. zentoria_schema.audit_chain
-- does the same in Python.
create function audit_canonical(
    id bigint, at timestamptz, user_id bigint, action text, resource_type text, resource_id text, ip inet,
    user_agent text, details jsonb, severity text, actor text, request_id text) returns text
language sql immutable parallel safe
as $$
    select string_agg(case when v is null then '-' else octet_length(v) || ':' || v end, ',' order by n)
    from unnest(array[
        id::text, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), user_id::text, action,
        resource_type, resource_id, ip::text, user_agent, details::text, severity, actor, request_id
    ]) with ordinality as fields(v, n)
$$;

-- Nobody may write the table, and the chain is one for all.
create function append_audit(
    user_id bigint, action text, resource_type text, resource_id text, ip inet, user_agent text, details jsonb,
    severity text, actor text, request_id text) returns bigint
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    head public.audit_head;
    at timestamptz;
    said jsonb := coalesce(append_audit.details, '{}');
    agent text := left(append_audit.user_agent, 1000);
    target text := left(append_audit.resource_id, 255);
    digest bytea;
begin
    if jsonb_typeof(said) <> 'object' or octet_length(said::text) > 65536 then
        raise exception 'append_audit: details must be an object of at most 64 KiB'
            using errcode = 'invalid_parameter_value';
    end if;
    -- This row is the lock of the chain, until the end of the transaction: call this last, in a short one.
    select * into strict head from public.audit_head for update;
    at := greatest(clock_timestamp(), head.timestamp);
    if at >= head.partitions_until::timestamp at time zone 'UTC' then
        perform public.ensure_audit_partitions();
    end if;
    digest := sha256(head.hash || convert_to(public.audit_canonical(
        head.id + 1, at, append_audit.user_id, append_audit.action, append_audit.resource_type, target,
        append_audit.ip, agent, said, append_audit.severity, append_audit.actor, append_audit.request_id), 'UTF8'));
    insert into public.audit_log
        (id, timestamp, user_id, action, resource_type, resource_id, ip_address, user_agent, details, severity, actor,
         request_id, prev_hash, hash)
    values
        (head.id + 1, at, append_audit.user_id, append_audit.action, append_audit.resource_type, target,
         append_audit.ip, agent, said, append_audit.severity, append_audit.actor, append_audit.request_id,
         head.hash, digest);
    update public.audit_head set id = head.id + 1, timestamp = at, hash = digest;
    return head.id + 1;
end $$;

-- Many rows for one commit: what a busy service gathers in a few milliseconds.
create function append_audit_many(entries jsonb) returns bigint[]
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    entry jsonb;
    ids bigint[] := '{}';
begin
    for entry in select jsonb_array_elements(entries) loop
        ids := ids || public.append_audit(
            (entry ->> 'user_id')::bigint, entry ->> 'action', entry ->> 'resource_type', entry ->> 'resource_id',
            (entry ->> 'ip')::inet, entry ->> 'user_agent', entry -> 'details', coalesce(entry ->> 'severity', 'info'),
            entry ->> 'actor', entry ->> 'request_id');
    end loop;
    return ids;
end $$;
comment on function append_audit_many(jsonb) is 'append_audit for each object of an array, whose keys are its parameters.';

-- For the operator's "audit export", which is for no user: rows of all, in the chain's order.
create function audit_page(after bigint, most integer) returns setof audit_log
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$ select * from public.audit_log a where a.id > audit_page.after order by a.id limit audit_page.most $$;
comment on function audit_page(bigint, integer) is 'Rows of all users after this id, oldest first.';

select ensure_audit_partitions();
