-- An error must not put the verifier into the server's log.
SET log_min_error_statement = panic;
SET log_statement = none;
SET log_min_duration_statement = -1;
SELECT format('CREATE ROLE %I', {{ role | literal }})
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ role | literal }}) \gexec
ALTER ROLE {{ role | name }} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
  {{ "" if reads_all else "NO" }}BYPASSRLS
  PASSWORD {{ verifier | literal }};
SELECT format('REVOKE %I FROM %I', pg_get_userbyid(m.roleid), r.rolname)
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
 WHERE r.rolname = {{ role | literal }}
   AND NOT pg_get_userbyid(m.roleid) = ANY (ARRAY[{{ member | map("literal") | join(", ") }}]::name[]) \gexec
{% for group in member %}
GRANT {{ group | name }} TO {{ role | name }};
{% endfor %}
