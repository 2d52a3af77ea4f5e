-- An error must not put the verifier into the server's log.
SET log_min_error_statement = panic;
SET log_statement = none;
SET log_min_duration_statement = -1;
SELECT format('CREATE ROLE %I', {{ role | literal }})
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ role | literal }}) \gexec
ALTER ROLE {{ role | name }} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
  PASSWORD {{ verifier | literal }};
{% if reads_all %}
GRANT pg_read_all_data TO {{ role | name }};
{% else %}
SELECT format('REVOKE pg_read_all_data FROM %I', {{ role | literal }})
 WHERE pg_has_role({{ role | literal }}, 'pg_read_all_data', 'MEMBER') \gexec
{% endif %}
