SELECT count(*) = 1
  FROM pg_authid
 WHERE rolname = {{ role | literal }}
   AND rolcanlogin AND NOT rolsuper AND NOT rolcreatedb AND NOT rolcreaterole AND NOT rolreplication AND NOT rolbypassrls
   AND rolpassword IS NULL
   AND pg_has_role(oid, 'pg_monitor', 'MEMBER');
