-- Rights: nothing for PUBLIC, a table at a time for the groups, and rows by their owner.

revoke all on all tables in schema public from public;
revoke all on all functions in schema public from public;
grant execute on function zentoria_user_id(), zentoria_user_is_owner() to svc_auth, svc_backend;
grant usage on schema public to svc_ai, svc_auth, svc_backend, svc_ocr, svc_rag;
grant select on alembic_version to svc_ai, svc_auth, svc_backend, svc_ocr, svc_rag;

grant select, insert, update on users to svc_auth;
grant select, insert, update, delete
    on identities, oauth_clients, oauth_grants, passkeys, recovery_codes, sessions, setup_links, totp_factors
    to svc_auth;

-- Not the password's hash, nor what guessing left behind.
grant select (id, email, email_verified_at, name, role, preferences, last_login_at, disabled_at, created_at, updated_at)
    on users to svc_backend;
grant select on audit_log to svc_backend;
grant select, insert, update on api_keys, approvals to svc_backend;
grant select, insert, delete on file_versions to svc_backend;
grant select, insert, update, delete
    on conversations, files, idempotency_keys, jobs, messages, settings, uploads, workflows to svc_backend;

grant execute on function
    append_audit(bigint, text, text, text, inet, text, jsonb, text, text, text),
    append_audit_many(jsonb),
    ensure_audit_partitions(integer)
    to svc_auth, svc_backend;
grant execute on function
    audit_page(bigint, integer), find_api_key(text), touch_api_key(uuid, inet), session_live(uuid), rows_due(text, timestamptz, integer)
    to svc_backend;

do $$
declare
    of_table text;
begin
    -- Forced: even zentoria_owner sees rows only by a policy, and nobody can log in as it.
    for of_table in
        select tablename from pg_tables where schemaname = 'public' and tablename not like 'audit\_log\_%'
            and tablename <> 'alembic_version'
    loop
        execute format('alter table %I enable row level security, force row level security', of_table);
        execute format('create policy owner_of_all on %I to zentoria_owner using (true) with check (true)', of_table);
    end loop;
    foreach of_table in array array[
        'api_keys', 'approvals', 'conversations', 'file_versions', 'files', 'idempotency_keys', 'jobs', 'messages',
        'uploads', 'workflows']
    loop
        execute format('create policy own_rows on %I to svc_backend '
                       'using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id())', of_table);
    end loop;
    foreach of_table in array array[
        'identities', 'oauth_clients', 'oauth_grants', 'passkeys', 'recovery_codes', 'sessions', 'setup_links',
        'totp_factors', 'users']
    loop
        execute format('create policy accounts on %I to svc_auth using (true) with check (true)', of_table);
    end loop;
end $$;

create policy own_row on users for select to svc_backend using (id = zentoria_user_id());
create policy own_or_owner on audit_log for select to svc_backend
    using (user_id = zentoria_user_id() or (select zentoria_user_is_owner()));
create policy own_or_shared on settings for select to svc_backend
    using (user_id = zentoria_user_id() or (user_id is null and zentoria_user_id() is not null));
create policy own_writes on settings to svc_backend
    using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id());
create policy owner_writes on settings to svc_backend
    using (user_id is null and (select zentoria_user_is_owner()))
    with check (user_id is null and (select zentoria_user_is_owner()));

-- procrastinate names its tables without their schema. A setting of the database holds behind PgBouncer as well.
do $$ begin execute format('alter database %I set search_path = public, procrastinate', current_database()); end $$;
