-- A passage is kept once, with its words; document_embeddings says where it lies for each model.
drop table document_embeddings;

CREATE TABLE documents (
    file_id UUID NOT NULL,
    file_version INTEGER NOT NULL,
    user_id BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    filename TEXT NOT NULL,
    mime TEXT NOT NULL,
    size BIGINT NOT NULL,
    project TEXT,
    tags TEXT[] DEFAULT '{}' NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    title TEXT,
    language TEXT DEFAULT 'simple' NOT NULL,
    state TEXT DEFAULT 'reading' NOT NULL,
    current BOOLEAN DEFAULT false NOT NULL,
    pages JSONB DEFAULT '[]' NOT NULL,
    outcome JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_documents PRIMARY KEY (file_id, file_version),
    CONSTRAINT uq_documents_owner UNIQUE (file_id, file_version, user_id),
    CONSTRAINT ck_documents_state CHECK (state in ('reading', 'ready', 'failed')),
    CONSTRAINT ck_documents_sha256 CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_documents_current CHECK (not current or state = 'ready')
);

CREATE INDEX ix_documents_user_id ON documents (user_id, sha256);

CREATE UNIQUE INDEX uq_documents_current ON documents (file_id) WHERE current;

CREATE TABLE document_chunks (
    id UUID NOT NULL,
    user_id BIGINT NOT NULL,
    file_id UUID NOT NULL,
    file_version INTEGER NOT NULL,
    chunk_index INTEGER NOT NULL,
    page INTEGER,
    heading TEXT[] DEFAULT '{}' NOT NULL,
    boxes JSONB DEFAULT '[]' NOT NULL,
    text TEXT NOT NULL,
    language TEXT DEFAULT 'simple' NOT NULL,
    words TSVECTOR NOT NULL,
    CONSTRAINT pk_document_chunks PRIMARY KEY (id),
    CONSTRAINT fk_document_chunks_document FOREIGN KEY(file_id, file_version, user_id) REFERENCES documents (file_id, file_version, user_id) ON DELETE CASCADE,
    CONSTRAINT uq_document_chunks_owner UNIQUE (id, user_id),
    CONSTRAINT uq_document_chunks_chunk UNIQUE (file_id, file_version, chunk_index)
);

CREATE INDEX ix_document_chunks_user_id ON document_chunks (user_id);

CREATE INDEX ix_document_chunks_words ON document_chunks USING gin (words);

CREATE TABLE document_embeddings (
    chunk_id UUID NOT NULL,
    model TEXT NOT NULL,
    model_version TEXT NOT NULL,
    user_id BIGINT NOT NULL,
    embedding VECTOR NOT NULL,
    dimension INTEGER GENERATED ALWAYS AS (vector_dims(embedding)) STORED NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_document_embeddings PRIMARY KEY (chunk_id, model, model_version),
    CONSTRAINT fk_document_embeddings_chunk FOREIGN KEY(chunk_id, user_id) REFERENCES document_chunks (id, user_id) ON DELETE CASCADE,
    CONSTRAINT fk_document_embeddings_model FOREIGN KEY(model, model_version, dimension) REFERENCES embedding_models (model, version, dimension)
);

CREATE INDEX ix_document_embeddings_user_id ON document_embeddings (user_id);

ALTER TABLE embedding_models ADD COLUMN activated_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE chat_history_embeddings
    ADD COLUMN language TEXT DEFAULT 'simple' NOT NULL,
    ADD COLUMN words TSVECTOR DEFAULT '' NOT NULL;

CREATE INDEX ix_chat_history_embeddings_words ON chat_history_embeddings USING gin (words);
