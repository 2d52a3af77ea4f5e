-- What 0002 does not know of goes: what was read of documents (it is read again), effects of approvals, memories.
drop table documents, document_pages, memories;
revoke update on file_versions from svc_backend;
alter table approvals drop column effects, drop column carrier, drop column asker;
alter table messages drop constraint fk_messages_parent_id, drop constraint uq_messages_id_user_id,
    drop column parent_id, drop column attributes;
drop index ix_file_versions_user_id_sha256, ix_files_user_id_project;
alter table file_versions drop column origin;
alter table files drop column project, drop column document_state;
