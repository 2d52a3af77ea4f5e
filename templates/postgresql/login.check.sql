SELECT count(*) = 1
  FROM pg_authid
 WHERE rolname = {{ role | literal }}
   AND rolcanlogin AND NOT rolsuper AND NOT rolcreatedb AND NOT rolcreaterole AND NOT rolreplication
   AND {{ "" if reads_all else "NOT " }}rolbypassrls
   AND ARRAY(SELECT pg_get_userbyid(m.roleid) FROM pg_auth_members m WHERE m.member = pg_authid.oid ORDER BY 1)
     = ARRAY[{{ member | map("literal") | join(", ") }}]::name[]
   AND rolpassword = {{ verifier | literal }};
