-- Rights, rows by their owner, and the announcement of a model.

create function zentoria_user_id() returns bigint
language sql stable parallel safe
return nullif(current_setting('zentoria.user_id', true), '')::bigint;
comment on function zentoria_user_id() is 'The user for whom this transaction is, or null.';

-- Indexes are the owner's to make. Called when a service starts; the second time it does nothing.
create function use_embedding_model(model text, version text, dimension integer) returns void
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
        insert into public.embedding_models values
            (use_embedding_model.model, use_embedding_model.version, use_embedding_model.dimension);
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
comment on function use_embedding_model(text, text, integer) is
    'Lets rows be of this model, with an index of its own: order by (embedding::vector(N)) <=> ..., where both names.';

create function embedding_refuse_retired() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    if exists (select from public.embedding_models m
               where m.model = new.model and m.version = new.model_version and m.retired_at is not null) then
        raise exception 'model % version % is retired: nothing new is written for it', new.model, new.model_version
            using errcode = 'invalid_parameter_value';
    end if;
    return new;
end $$;
create trigger document_embeddings_of_a_model before insert on document_embeddings
    for each row execute function embedding_refuse_retired();
create trigger chat_history_embeddings_of_a_model before insert on chat_history_embeddings
    for each row execute function embedding_refuse_retired();

revoke all on all tables in schema public from public;
revoke all on function zentoria_user_id(), use_embedding_model(text, text, integer), embedding_refuse_retired()
    from public;
grant usage on schema public to svc_ai, svc_rag;
grant select on alembic_version, embedding_models to svc_ai, svc_rag;
grant update (retired_at) on embedding_models to svc_rag;
grant select on document_embeddings, chat_history_embeddings to svc_ai;
grant select, insert, update, delete on document_embeddings, chat_history_embeddings to svc_rag;
grant execute on function zentoria_user_id() to svc_ai, svc_rag;
grant execute on function use_embedding_model(text, text, integer) to svc_rag;

do $$
declare
    of_table text;
begin
    foreach of_table in array array['document_embeddings', 'chat_history_embeddings'] loop
        execute format('alter table %I enable row level security, force row level security', of_table);
        execute format('create policy owner_of_all on %I to zentoria_owner using (true) with check (true)', of_table);
        execute format('create policy own_rows on %I to svc_ai, svc_rag '
                       'using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id())', of_table);
    end loop;
end $$;
