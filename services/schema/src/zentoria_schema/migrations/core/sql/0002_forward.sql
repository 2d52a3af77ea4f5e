-- What a row points to is its owner's: keys go by owner as well, so that nobody learns whether another's exists.
alter table jobs add constraint uq_jobs_id_user_id unique (id, user_id);
alter table workflows add constraint uq_workflows_id_user_id unique (id, user_id);

update jobs j set file_id = null from files f where f.id = j.file_id and f.user_id <> j.user_id;
update jobs j set workflow_id = null from workflows w where w.id = j.workflow_id and w.user_id <> j.user_id;
update messages m set job_id = null from jobs j where j.id = m.job_id and j.user_id <> m.user_id;
update uploads u set replaces = null from files f where f.id = u.replaces and f.user_id <> u.user_id;
update uploads u set file_id = null from files f where f.id = u.file_id and f.user_id <> u.user_id;
update uploads u set job_id = null from jobs j where j.id = u.job_id and j.user_id <> u.user_id;

alter table jobs drop constraint fk_jobs_file_id, drop constraint fk_jobs_workflow_id,
    add constraint fk_jobs_file_id foreign key (file_id, user_id)
        references files (id, user_id) on delete set null (file_id),
    add constraint fk_jobs_workflow_id foreign key (workflow_id, user_id)
        references workflows (id, user_id) on delete set null (workflow_id);
alter table messages drop constraint fk_messages_job_id,
    add constraint fk_messages_job_id foreign key (job_id, user_id)
        references jobs (id, user_id) on delete set null (job_id);
alter table uploads drop constraint fk_uploads_replaces, drop constraint fk_uploads_file_id,
    drop constraint fk_uploads_job_id,
    add constraint fk_uploads_replaces foreign key (replaces, user_id)
        references files (id, user_id) on delete set null (replaces),
    add constraint fk_uploads_file_id foreign key (file_id, user_id)
        references files (id, user_id) on delete set null (file_id),
    add constraint fk_uploads_job_id foreign key (job_id, user_id)
        references jobs (id, user_id) on delete set null (job_id);
