SELECT format('CREATE ROLE %I', {{ role | literal }})
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ role | literal }}) \gexec
ALTER ROLE {{ role | name }} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD NULL;
GRANT pg_monitor TO {{ role | name }};
