-- Back to 0001.
drop function embedding_owners(), embedding_gap(text, text), activate_embedding_model(text, text),
    rebuild_embedding_index(text, text);
drop table document_embeddings, document_chunks, documents;
drop index ix_chat_history_embeddings_words;
alter table chat_history_embeddings drop column language, drop column words;
alter table embedding_models drop column activated_at;
grant update (retired_at) on embedding_models to svc_rag;

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

CREATE TABLE document_embeddings (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    file_id UUID NOT NULL,
    file_version INTEGER DEFAULT 1 NOT NULL,
    chunk_index INTEGER NOT NULL,
    text TEXT NOT NULL,
    page INTEGER,
    attributes JSONB DEFAULT '{}' NOT NULL,
    model TEXT NOT NULL,
    model_version TEXT NOT NULL,
    embedding VECTOR NOT NULL,
    dimension INTEGER GENERATED ALWAYS AS (vector_dims(embedding)) STORED NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_document_embeddings PRIMARY KEY (id),
    CONSTRAINT fk_document_embeddings_model FOREIGN KEY(model, model_version, dimension) REFERENCES embedding_models (model, version, dimension),
    CONSTRAINT uq_document_embeddings_chunk UNIQUE (file_id, file_version, chunk_index, model, model_version)
);
CREATE INDEX ix_document_embeddings_user_id ON document_embeddings (user_id);
create trigger document_embeddings_of_a_model before insert on document_embeddings
    for each row execute function embedding_refuse_retired();
revoke all on document_embeddings from public;
grant select on document_embeddings to svc_ai;
grant select, insert, update, delete on document_embeddings to svc_rag;
alter table document_embeddings enable row level security, force row level security;
create policy owner_of_all on document_embeddings to zentoria_owner using (true) with check (true);
create policy own_rows on document_embeddings to svc_ai, svc_rag
    using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id());
