-- Keys that go by id alone.
alter table uploads drop constraint fk_uploads_replaces, drop constraint fk_uploads_file_id,
    drop constraint fk_uploads_job_id,
    add constraint fk_uploads_replaces foreign key (replaces) references files (id) on delete set null,
    add constraint fk_uploads_file_id foreign key (file_id) references files (id) on delete set null,
    add constraint fk_uploads_job_id foreign key (job_id) references jobs (id) on delete set null;
alter table messages drop constraint fk_messages_job_id,
    add constraint fk_messages_job_id foreign key (job_id) references jobs (id) on delete set null;
alter table jobs drop constraint fk_jobs_file_id, drop constraint fk_jobs_workflow_id,
    add constraint fk_jobs_file_id foreign key (file_id) references files (id) on delete set null,
    add constraint fk_jobs_workflow_id foreign key (workflow_id) references workflows (id) on delete set null;
alter table workflows drop constraint uq_workflows_id_user_id;
alter table jobs drop constraint uq_jobs_id_user_id;
