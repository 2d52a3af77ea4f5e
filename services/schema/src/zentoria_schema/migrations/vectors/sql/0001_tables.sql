CREATE TABLE embedding_models (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_embedding_models PRIMARY KEY (model, version),
    CONSTRAINT uq_embedding_models_model_version_dimension UNIQUE (model, version, dimension),
    CONSTRAINT ck_embedding_models_dimension CHECK (dimension between 1 and 2000)
);

CREATE TABLE chat_history_embeddings (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    conversation_id UUID NOT NULL,
    message_id UUID NOT NULL,
    chunk_index INTEGER DEFAULT 0 NOT NULL,
    text TEXT NOT NULL,
    attributes JSONB DEFAULT '{}' NOT NULL,
    model TEXT NOT NULL,
    model_version TEXT NOT NULL,
    embedding VECTOR NOT NULL,
    dimension INTEGER GENERATED ALWAYS AS (vector_dims(embedding)) STORED NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_chat_history_embeddings PRIMARY KEY (id),
    CONSTRAINT fk_chat_history_embeddings_model FOREIGN KEY(model, model_version, dimension) REFERENCES embedding_models (model, version, dimension),
    CONSTRAINT uq_chat_history_embeddings_chunk UNIQUE (message_id, chunk_index, model, model_version)
);

CREATE INDEX ix_chat_history_embeddings_conversation_id ON chat_history_embeddings (conversation_id);

CREATE INDEX ix_chat_history_embeddings_user_id ON chat_history_embeddings (user_id);

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

