-- Rights and rows by their owner for the new tables; which model answers.

create trigger document_embeddings_of_a_model before insert on document_embeddings
    for each row execute function embedding_refuse_retired();

-- As in 0001, and: the first model that is announced answers at once, for there is nothing that it lacks.
create or replace function use_embedding_model(model text, version text, dimension integer) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    of_table text;
    known integer;
    name text;
begin
    perform pg_advisory_xact_lock(hashtextextended('embedding_models', 0));
    select m.dimension into known from public.embedding_models m
        where m.model = use_embedding_model.model and m.version = use_embedding_model.version;
    if known is null then
        insert into public.embedding_models (model, version, dimension, activated_at) values
            (use_embedding_model.model, use_embedding_model.version, use_embedding_model.dimension,
             case when exists (select from public.embedding_models m where m.activated_at is not null)
                  then null else now() end);
    elsif known <> use_embedding_model.dimension then
        raise exception 'model % version % has % dimensions, not %: give another version a name of its own',
            model, version, known, dimension using errcode = 'invalid_parameter_value';
    end if;
    foreach of_table in array array['document_embeddings', 'chat_history_embeddings'] loop
        name := format('hnsw_%s_%s', of_table, left(md5(model || chr(31) || version), 12));
        if to_regclass(format('public.%I', name)) is null then
            execute format(
                'create index %I on public.%I using hnsw ((embedding::public.vector(%s)) public.vector_cosine_ops) '
                'where model = %L and model_version = %L', name, of_table, dimension, model, version);
        end if;
    end loop;
end $$;

-- What a program that works for everybody goes through, one owner at a time.
create function embedding_owners() returns setof bigint
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
    select user_id from public.documents union select user_id from public.chat_history_embeddings order by 1
$$;

-- How many passages and messages are not there for this model, of everybody.
create function embedding_gap(model text, version text) returns bigint
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
    select (select count(*) from public.document_chunks c where not exists (
                select from public.document_embeddings e
                where e.chunk_id = c.id and e.model = embedding_gap.model and e.model_version = version))
         + (select count(*) from (select distinct h.message_id, h.chunk_index from public.chat_history_embeddings h) m
            where not exists (
                select from public.chat_history_embeddings e
                where e.message_id = m.message_id and e.chunk_index = m.chunk_index
                  and e.model = embedding_gap.model and e.model_version = version))
$$;

-- The one model that answers from now on. Refused while it lacks anything: reads would miss it.
create function activate_embedding_model(model text, version text) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    gap bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('embedding_models', 0));
    lock table public.document_embeddings, public.chat_history_embeddings in share row exclusive mode;
    if not exists (select from public.embedding_models m
                   where m.model = activate_embedding_model.model and m.version = activate_embedding_model.version) then
        raise exception 'model % version % was never announced', model, version
            using errcode = 'invalid_parameter_value';
    end if;
    gap := public.embedding_gap(model, version);
    if gap > 0 then
        raise exception 'model % version % lacks % passages: it cannot answer yet', model, version, gap
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    update public.embedding_models m
        set activated_at = case when (m.model, m.version) = (activate_embedding_model.model,
                                                             activate_embedding_model.version) then now() end,
            retired_at = case when (m.model, m.version) = (activate_embedding_model.model,
                                                           activate_embedding_model.version) then null
                              else coalesce(m.retired_at, now()) end;
end $$;

-- A new HNSW index beside the old one, which answers until it is dropped.
create function rebuild_embedding_index(model text, version text) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    of_table text;
    size integer;
    name text;
begin
    perform pg_advisory_xact_lock(hashtextextended('embedding_models', 0));
    select m.dimension into strict size from public.embedding_models m
        where m.model = rebuild_embedding_index.model and m.version = rebuild_embedding_index.version;
    foreach of_table in array array['document_embeddings', 'chat_history_embeddings'] loop
        name := format('hnsw_%s_%s', of_table, left(md5(model || chr(31) || version), 12));
        execute format(
            'create index %I on public.%I using hnsw ((embedding::public.vector(%s)) public.vector_cosine_ops) '
            'where model = %L and model_version = %L', name || '_new', of_table, size, model, version);
        execute format('drop index if exists public.%I', name);
        execute format('alter index public.%I rename to %I', name || '_new', name);
    end loop;
end $$;

revoke all on documents, document_chunks, document_embeddings from public;
revoke all on function embedding_owners(), embedding_gap(text, text), activate_embedding_model(text, text),
    rebuild_embedding_index(text, text) from public;
grant select on documents, document_chunks, document_embeddings to svc_ai;
grant select, insert, update, delete on documents, document_chunks, document_embeddings to svc_rag;
grant execute on function embedding_owners(), embedding_gap(text, text), activate_embedding_model(text, text),
    rebuild_embedding_index(text, text) to svc_rag;
-- The two functions above say who answers; nobody says so by hand.
revoke update (retired_at) on embedding_models from svc_rag;

do $$
declare
    of_table text;
begin
    foreach of_table in array array['documents', 'document_chunks', 'document_embeddings'] loop
        execute format('alter table %I enable row level security, force row level security', of_table);
        execute format('create policy owner_of_all on %I to zentoria_owner using (true) with check (true)', of_table);
        execute format('create policy own_rows on %I to svc_ai, svc_rag '
                       'using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id())', of_table);
    end loop;
end $$;
