{% for group in groups %}
SELECT format('CREATE ROLE %I', {{ group | literal }})
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ group | literal }}) \gexec
ALTER ROLE {{ group | name }} WITH NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
{% endfor %}
