-- Documents, branches of a conversation, what an approval will do, memories.

alter table files
    add column project text,
    add column document_state text,
    add constraint ck_files_project check (length(project) between 1 and 100),
    add constraint ck_files_document_state
        check (document_state in ('waiting', 'reading', 'ready', 'failed', 'needs_a_look'));
create index ix_files_user_id_project on files (user_id, project) where project is not null;

alter table file_versions
    add column origin text default 'upload' not null,
    add constraint ck_file_versions_origin check (origin in ('upload', 'ocr'));
create index ix_file_versions_user_id_sha256 on file_versions (user_id, sha256);

alter table messages
    add column parent_id uuid,
    add column attributes jsonb default '{}' not null,
    add constraint uq_messages_id_user_id unique (id, user_id);
alter table messages
    add constraint fk_messages_parent_id foreign key (parent_id, user_id)
        references messages (id, user_id) on delete set null (parent_id);

alter table approvals
    add column effects jsonb default '[]' not null,
    add column carrier text default 'client' not null,
    add column asker jsonb default '{}' not null,
    add constraint ck_approvals_carrier check (carrier in ('client', 'gateway'));

create table documents (
    file_id uuid not null,
    user_id bigint not null,
    version integer not null,
    pages integer,
    chunks integer,
    language text,
    title text,
    duplicate_of uuid,
    job_id uuid,
    error jsonb,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    ready_at timestamp with time zone,
    constraint pk_documents primary key (file_id),
    constraint fk_documents_file_id foreign key (file_id, user_id) references files (id, user_id) on delete cascade,
    constraint fk_documents_duplicate_of foreign key (duplicate_of, user_id)
        references files (id, user_id) on delete set null (duplicate_of),
    constraint fk_documents_job_id foreign key (job_id, user_id)
        references jobs (id, user_id) on delete set null (job_id),
    constraint fk_documents_user_id foreign key (user_id) references users (id) on delete cascade
);
create index ix_documents_user_id on documents (user_id);

create table document_pages (
    file_id uuid not null,
    number integer not null,
    user_id bigint not null,
    state text not null,
    chunks integer,
    engine text,
    confidence double precision,
    updated_at timestamp with time zone default now() not null,
    constraint pk_document_pages primary key (file_id, number),
    constraint ck_document_pages_number check (number > 0),
    constraint ck_document_pages_state
        check (state in ('waiting', 'read', 'empty', 'unread', 'recognised', 'failed')),
    constraint fk_document_pages_file_id foreign key (file_id, user_id)
        references files (id, user_id) on delete cascade,
    constraint fk_document_pages_user_id foreign key (user_id) references users (id) on delete cascade
);
create index ix_document_pages_user_id on document_pages (user_id);

create table memories (
    id uuid default gen_random_uuid() not null,
    user_id bigint not null,
    text text not null,
    source text default '' not null,
    created_at timestamp with time zone default now() not null,
    constraint pk_memories primary key (id),
    constraint ck_memories_text check (length(text) between 1 and 2000),
    constraint fk_memories_user_id foreign key (user_id) references users (id) on delete cascade
);
create index ix_memories_user_id_created_at on memories (user_id, created_at, id);

-- A document moves to another bucket when it was read.
grant update on file_versions to svc_backend;
grant select, insert, update, delete on documents, document_pages, memories to svc_backend;
revoke all on documents, document_pages, memories from public;

do $$
declare
    of_table text;
begin
    foreach of_table in array array['documents', 'document_pages', 'memories']
    loop
        execute format('alter table %I enable row level security, force row level security', of_table);
        execute format('create policy owner_of_all on %I to zentoria_owner using (true) with check (true)', of_table);
        execute format('create policy own_rows on %I to svc_backend '
                       'using (user_id = zentoria_user_id()) with check (user_id = zentoria_user_id())', of_table);
    end loop;
end $$;
