-- Back to nothing: every table and function of 0001. Roles stay, for they are the whole server's.
drop function audit_page(bigint, integer);
drop table
    api_keys, approvals, audit_head, audit_log, conversations, file_versions, files, idempotency_keys, identities, jobs,
    messages, oauth_clients, oauth_grants, passkeys, recovery_codes, sessions, settings, setup_links, totp_factors,
    uploads, users, workflows;
drop function
    append_audit(bigint, text, text, text, inet, text, jsonb, text, text, text),
    append_audit_many(jsonb),
    audit_canonical(bigint, timestamptz, bigint, text, text, text, inet, text, jsonb, text, text, text),
    audit_refuse(),
    ensure_audit_partitions(integer),
    find_api_key(text),
    rows_due(text, timestamptz, integer),
    session_live(uuid),
    touch_api_key(uuid, inet),
    zentoria_user_id(),
    zentoria_user_is_owner();
