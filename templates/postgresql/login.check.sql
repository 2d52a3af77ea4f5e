SELECT count(*) = 1
  FROM pg_authid
 WHERE rolname = {{ role | literal }}
   AND rolcanlogin AND NOT rolsuper AND NOT rolcreatedb AND NOT rolcreaterole AND NOT rolreplication AND NOT rolbypassrls
   AND {{ "" if reads_all else "NOT " }}pg_has_role(oid, 'pg_read_all_data', 'MEMBER')
   AND rolpassword = {{ verifier | literal }};
