SELECT count(*) = {{ groups | length }}
  FROM pg_roles
 WHERE rolname = ANY (ARRAY[{{ groups | map("literal") | join(", ") }}]::name[])
   AND NOT rolcanlogin AND NOT rolsuper AND NOT rolcreatedb AND NOT rolcreaterole AND NOT rolreplication
   AND NOT rolbypassrls;
