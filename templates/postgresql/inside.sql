REVOKE CREATE ON SCHEMA public FROM PUBLIC;
{% for extension in database.extensions %}
CREATE EXTENSION IF NOT EXISTS {{ extension | name }};
{% endfor %}
{% if database.ours %}
-- Earlier releases gave roles a schema of their own here. One with something in it stays.
SELECT format('DROP SCHEMA %I', n.nspname)
  FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
 WHERE n.nspname = r.rolname AND r.rolcanlogin
   AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)
   AND NOT EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid)
   AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid) \gexec
{% endif %}
