CREATE TABLE audit_head (
    one BOOLEAN NOT NULL,
    id BIGINT NOT NULL,
    timestamp TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    hash BYTEA NOT NULL,
    partitions_until DATE NOT NULL,
    CONSTRAINT pk_audit_head PRIMARY KEY (one),
    CONSTRAINT ck_audit_head_one CHECK (one)
);

CREATE TABLE audit_log (
    id BIGINT NOT NULL,
    timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    user_id BIGINT,
    action VARCHAR(100) NOT NULL,
    resource_type VARCHAR(50),
    resource_id VARCHAR(255),
    ip_address INET,
    user_agent TEXT,
    details JSONB NOT NULL,
    severity VARCHAR(20) NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT,
    prev_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id, timestamp),
    CONSTRAINT ck_audit_log_severity CHECK (severity::text in ('debug', 'info', 'notice', 'warning', 'error', 'critical')),
    CONSTRAINT ck_audit_log_hash CHECK (length(hash) = 32 and length(prev_hash) = 32)
)
 PARTITION BY RANGE (timestamp);

CREATE INDEX idx_audit_action ON audit_log (action);

CREATE INDEX idx_audit_timestamp ON audit_log (timestamp);

CREATE INDEX idx_audit_user ON audit_log (user_id);

CREATE TABLE users (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    email TEXT NOT NULL,
    email_verified_at TIMESTAMP WITH TIME ZONE,
    name TEXT DEFAULT '' NOT NULL,
    role TEXT DEFAULT 'member' NOT NULL,
    password_hash TEXT,
    password_changed_at TIMESTAMP WITH TIME ZONE,
    must_change_password BOOLEAN DEFAULT false NOT NULL,
    failed_attempts INTEGER DEFAULT 0 NOT NULL,
    last_failed_at TIMESTAMP WITH TIME ZONE,
    locked_until TIMESTAMP WITH TIME ZONE,
    handle BYTEA DEFAULT uuid_send(gen_random_uuid()) NOT NULL,
    preferences JSONB DEFAULT '{}' NOT NULL,
    last_login_at TIMESTAMP WITH TIME ZONE,
    disabled_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT ck_users_role CHECK (role in ('owner', 'member')),
    CONSTRAINT ck_users_email CHECK (length(email) between 3 and 320),
    CONSTRAINT uq_users_handle UNIQUE (handle)
);

CREATE UNIQUE INDEX uq_users_email ON users (lower(email));

CREATE TABLE api_keys (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL,
    key_hash BYTEA NOT NULL,
    scopes TEXT[] NOT NULL,
    status TEXT GENERATED ALWAYS AS (case when revoked_at is null then 'active' else 'revoked' end) STORED NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    last_used_ip INET,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_key_hash CHECK (length(key_hash) = 32),
    CONSTRAINT ck_api_keys_prefix CHECK (length(prefix) = 8),
    CONSTRAINT fk_api_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_api_keys_prefix UNIQUE (prefix)
);

CREATE INDEX ix_api_keys_user_id_created_at ON api_keys (user_id, created_at, id);

CREATE TABLE approvals (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    tool TEXT NOT NULL,
    arguments JSONB NOT NULL,
    target_revision TEXT,
    actor TEXT NOT NULL,
    summary TEXT DEFAULT '' NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    decided_by BIGINT,
    reason TEXT,
    used_at TIMESTAMP WITH TIME ZONE,
    result JSONB,
    CONSTRAINT pk_approvals PRIMARY KEY (id),
    CONSTRAINT ck_approvals_state CHECK (state in ('pending', 'approved', 'denied', 'used', 'expired')),
    CONSTRAINT ck_approvals_digest CHECK (length(digest) = 32),
    CONSTRAINT ck_approvals_used CHECK ((state = 'used') = (used_at is not null)),
    CONSTRAINT fk_approvals_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_approvals_decided_by FOREIGN KEY(decided_by) REFERENCES users (id) ON DELETE SET NULL
);

CREATE INDEX ix_approvals_digest ON approvals (user_id, digest);

CREATE INDEX ix_approvals_user_id_created_at ON approvals (user_id, created_at, id);

CREATE TABLE conversations (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    title TEXT DEFAULT '' NOT NULL,
    model TEXT,
    attributes JSONB DEFAULT '{}' NOT NULL,
    revision BIGINT DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    archived_at TIMESTAMP WITH TIME ZONE,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_conversations PRIMARY KEY (id),
    CONSTRAINT uq_conversations_id_user_id UNIQUE (id, user_id),
    CONSTRAINT fk_conversations_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_conversations_user_id_updated_at ON conversations (user_id, updated_at, id);

CREATE TABLE files (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    filename TEXT NOT NULL,
    bucket TEXT NOT NULL,
    path TEXT NOT NULL,
    size BIGINT NOT NULL,
    mime_type TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    revision BIGINT DEFAULT 1 NOT NULL,
    tags TEXT[] DEFAULT '{}' NOT NULL,
    attributes JSONB DEFAULT '{}' NOT NULL,
    uploaded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    purge_after TIMESTAMP WITH TIME ZONE,
    words TSVECTOR GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, regexp_replace(filename, '[^[:alnum:]]+', ' ', 'g'))) STORED NOT NULL,
    CONSTRAINT pk_files PRIMARY KEY (id),
    CONSTRAINT ck_files_size CHECK (size >= 0),
    CONSTRAINT ck_files_sha256 CHECK (length(sha256) = 32),
    CONSTRAINT ck_files_filename CHECK (length(filename) between 1 and 255),
    CONSTRAINT uq_files_id_user_id UNIQUE (id, user_id),
    CONSTRAINT fk_files_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_files_purge_after ON files (purge_after) WHERE deleted_at is not null;

CREATE INDEX ix_files_user_id_uploaded_at ON files (user_id, uploaded_at, id);

CREATE INDEX ix_files_words ON files USING gin (words);

CREATE TABLE idempotency_keys (
    user_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    route TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    status SMALLINT,
    headers JSONB,
    body BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (user_id, key, route),
    CONSTRAINT ck_idempotency_keys_key CHECK (length(key) between 1 and 255),
    CONSTRAINT fk_idempotency_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_idempotency_keys_expires_at ON idempotency_keys (expires_at);

CREATE TABLE identities (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    provider TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    email TEXT,
    email_verified BOOLEAN DEFAULT false NOT NULL,
    claims JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_login_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_identities PRIMARY KEY (id),
    CONSTRAINT uq_identities_provider_issuer_subject UNIQUE (provider, issuer, subject),
    CONSTRAINT fk_identities_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_identities_user_id ON identities (user_id);

CREATE TABLE oauth_clients (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    client_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    secret_hash TEXT,
    token_endpoint_auth_method TEXT DEFAULT 'none' NOT NULL,
    redirect_uris TEXT[] DEFAULT '{}' NOT NULL,
    grant_types TEXT[] DEFAULT '{authorization_code,refresh_token}' NOT NULL,
    response_types TEXT[] DEFAULT '{code}' NOT NULL,
    scopes TEXT[] DEFAULT '{}' NOT NULL,
    client_uri TEXT,
    logo_uri TEXT,
    jwks JSONB,
    jwks_uri TEXT,
    document JSONB DEFAULT '{}' NOT NULL,
    registration_token_hash BYTEA,
    created_by BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    disabled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_oauth_clients PRIMARY KEY (id),
    CONSTRAINT ck_oauth_clients_kind CHECK (kind in ('static', 'dynamic', 'metadata')),
    CONSTRAINT uq_oauth_clients_client_id UNIQUE (client_id),
    CONSTRAINT fk_oauth_clients_created_by FOREIGN KEY(created_by) REFERENCES users (id) ON DELETE SET NULL
);

CREATE TABLE passkeys (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    credential_id BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    sign_count BIGINT DEFAULT 0 NOT NULL,
    transports TEXT[] DEFAULT '{}' NOT NULL,
    aaguid UUID,
    discoverable BOOLEAN DEFAULT false NOT NULL,
    backup_eligible BOOLEAN DEFAULT false NOT NULL,
    backed_up BOOLEAN DEFAULT false NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_passkeys PRIMARY KEY (id),
    CONSTRAINT fk_passkeys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_passkeys_credential_id UNIQUE (credential_id)
);

CREATE INDEX ix_passkeys_user_id ON passkeys (user_id);

CREATE TABLE recovery_codes (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    code_hash TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (id),
    CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_recovery_codes_user_id ON recovery_codes (user_id);

CREATE TABLE settings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id BIGINT,
    key TEXT NOT NULL,
    value JSONB NOT NULL,
    revision BIGINT DEFAULT 1 NOT NULL,
    updated_by BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_settings PRIMARY KEY (id),
    CONSTRAINT uq_settings_user_id_key UNIQUE NULLS NOT DISTINCT (user_id, key),
    CONSTRAINT ck_settings_key CHECK (length(key) between 1 and 100),
    CONSTRAINT fk_settings_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_settings_updated_by FOREIGN KEY(updated_by) REFERENCES users (id) ON DELETE SET NULL
);

CREATE TABLE setup_links (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    purpose TEXT NOT NULL,
    token_hash BYTEA NOT NULL,
    user_id BIGINT,
    email TEXT,
    role TEXT DEFAULT 'owner' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_setup_links PRIMARY KEY (id),
    CONSTRAINT ck_setup_links_purpose CHECK (purpose in ('first_run', 'invite', 'reset')),
    CONSTRAINT ck_setup_links_role CHECK (role in ('owner', 'member')),
    CONSTRAINT uq_setup_links_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_setup_links_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_setup_links_user_id ON setup_links (user_id);

CREATE TABLE totp_factors (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    secret BYTEA NOT NULL,
    algorithm TEXT DEFAULT 'SHA1' NOT NULL,
    digits INTEGER DEFAULT 6 NOT NULL,
    period INTEGER DEFAULT 30 NOT NULL,
    last_step BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_totp_factors PRIMARY KEY (id),
    CONSTRAINT uq_totp_factors_user_id UNIQUE (user_id),
    CONSTRAINT fk_totp_factors_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE workflows (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    engine_id TEXT,
    definition JSONB DEFAULT '{}' NOT NULL,
    parameters JSONB DEFAULT '{}' NOT NULL,
    enabled BOOLEAN DEFAULT true NOT NULL,
    revision BIGINT DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_workflows PRIMARY KEY (id),
    CONSTRAINT fk_workflows_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_workflows_user_id ON workflows (user_id);

CREATE TABLE file_versions (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    file_id UUID NOT NULL,
    user_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    bucket TEXT NOT NULL,
    object_key TEXT NOT NULL,
    object_version TEXT,
    size BIGINT NOT NULL,
    mime_type TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_file_versions PRIMARY KEY (id),
    CONSTRAINT fk_file_versions_file_id FOREIGN KEY(file_id, user_id) REFERENCES files (id, user_id) ON DELETE CASCADE,
    CONSTRAINT uq_file_versions_file_id_number UNIQUE (file_id, number),
    CONSTRAINT uq_file_versions_bucket_object_key_object_version UNIQUE NULLS NOT DISTINCT (bucket, object_key, object_version),
    CONSTRAINT ck_file_versions_size CHECK (size >= 0),
    CONSTRAINT ck_file_versions_sha256 CHECK (length(sha256) = 32),
    CONSTRAINT fk_file_versions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_file_versions_user_id ON file_versions (user_id);

CREATE TABLE jobs (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    progress DOUBLE PRECISION DEFAULT 0 NOT NULL,
    stage TEXT,
    arguments JSONB DEFAULT '{}' NOT NULL,
    result JSONB,
    error JSONB,
    file_id UUID,
    workflow_id UUID,
    queue_id BIGINT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    heartbeat_at TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_jobs PRIMARY KEY (id),
    CONSTRAINT ck_jobs_state CHECK (state in ('queued', 'running', 'done', 'failed', 'cancelled')),
    CONSTRAINT ck_jobs_progress CHECK (progress between 0 and 1),
    CONSTRAINT fk_jobs_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_jobs_file_id FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE SET NULL,
    CONSTRAINT fk_jobs_workflow_id FOREIGN KEY(workflow_id) REFERENCES workflows (id) ON DELETE SET NULL
);

CREATE INDEX ix_jobs_unfinished ON jobs (heartbeat_at) WHERE state in ('queued', 'running');

CREATE INDEX ix_jobs_user_id_created_at ON jobs (user_id, created_at, id);

CREATE TABLE oauth_grants (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    client_id TEXT NOT NULL,
    scopes TEXT[] NOT NULL,
    resource TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_oauth_grants PRIMARY KEY (id),
    CONSTRAINT fk_oauth_grants_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_oauth_grants_client_id FOREIGN KEY(client_id) REFERENCES oauth_clients (client_id) ON DELETE CASCADE
);

CREATE INDEX ix_oauth_grants_client_id ON oauth_grants (client_id);

CREATE UNIQUE INDEX uq_oauth_grants_live ON oauth_grants (user_id, client_id, resource) WHERE revoked_at is null;

CREATE TABLE messages (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    conversation_id UUID NOT NULL,
    user_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    role TEXT NOT NULL,
    state TEXT DEFAULT 'complete' NOT NULL,
    content TEXT DEFAULT '' NOT NULL,
    parts JSONB DEFAULT '[]' NOT NULL,
    sources JSONB DEFAULT '[]' NOT NULL,
    model TEXT,
    tokens_in INTEGER,
    tokens_out INTEGER,
    job_id UUID,
    error JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT ck_messages_role CHECK (role in ('user', 'assistant', 'system', 'tool')),
    CONSTRAINT ck_messages_state CHECK (state in ('streaming', 'complete', 'failed', 'cancelled')),
    CONSTRAINT fk_messages_conversation_id FOREIGN KEY(conversation_id, user_id) REFERENCES conversations (id, user_id) ON DELETE CASCADE,
    CONSTRAINT uq_messages_conversation_id_number UNIQUE (conversation_id, number),
    CONSTRAINT fk_messages_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_messages_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE SET NULL
);

CREATE INDEX ix_messages_user_id ON messages (user_id);

CREATE TABLE sessions (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    client_id TEXT,
    grant_id UUID,
    scopes TEXT[] DEFAULT '{}' NOT NULL,
    resource TEXT,
    amr TEXT[] DEFAULT '{}' NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    ip_address INET,
    user_agent TEXT,
    authenticated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason TEXT,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_sessions_client_id FOREIGN KEY(client_id) REFERENCES oauth_clients (client_id) ON DELETE CASCADE,
    CONSTRAINT fk_sessions_grant_id FOREIGN KEY(grant_id) REFERENCES oauth_grants (id) ON DELETE CASCADE
);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE uploads (
    id UUID DEFAULT gen_random_uuid() NOT NULL,
    user_id BIGINT NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    filename TEXT NOT NULL,
    mime_type TEXT,
    size BIGINT,
    sha256 BYTEA,
    received BIGINT DEFAULT 0 NOT NULL,
    bucket TEXT NOT NULL,
    object_key TEXT NOT NULL,
    multipart_id TEXT,
    parts JSONB DEFAULT '[]' NOT NULL,
    attributes JSONB DEFAULT '{}' NOT NULL,
    replaces UUID,
    file_id UUID,
    job_id UUID,
    error JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_uploads PRIMARY KEY (id),
    CONSTRAINT ck_uploads_state CHECK (state in ('open', 'received', 'done', 'failed', 'aborted')),
    CONSTRAINT uq_uploads_bucket_object_key UNIQUE (bucket, object_key),
    CONSTRAINT ck_uploads_received CHECK (received >= 0 and (size is null or received <= size)),
    CONSTRAINT fk_uploads_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_uploads_replaces FOREIGN KEY(replaces) REFERENCES files (id) ON DELETE SET NULL,
    CONSTRAINT fk_uploads_file_id FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE SET NULL,
    CONSTRAINT fk_uploads_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE SET NULL
);

CREATE INDEX ix_uploads_expires_at ON uploads (expires_at) WHERE state in ('open', 'received');

CREATE INDEX ix_uploads_user_id ON uploads (user_id);

