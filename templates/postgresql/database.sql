SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING %L LOCALE %L',
              {{ database.name | literal }}, {{ database.owner | literal }}, 'UTF8', 'C.UTF-8')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {{ database.name | literal }}) \gexec
ALTER DATABASE {{ database.name | name }} OWNER TO {{ database.owner | name }};
REVOKE ALL ON DATABASE {{ database.name | name }} FROM PUBLIC;
SELECT DISTINCT format('REVOKE ALL ON DATABASE %I FROM %I', d.datname, pg_get_userbyid(a.grantee))
  FROM pg_database d, aclexplode(d.datacl) a
 WHERE d.datname = {{ database.name | literal }}
   AND a.grantee <> 0
   AND pg_get_userbyid(a.grantee) NOT IN ({{ database.users | map("literal") | join(", ") }}) \gexec
{% if database.ours %}
REVOKE CREATE, TEMPORARY ON DATABASE {{ database.name | name }} FROM {{ database.users | reject("equalto", database.owner) | map("name") | join(", ") }};
{% endif %}
GRANT CONNECT{{ "" if database.ours else ", TEMPORARY" }} ON DATABASE {{ database.name | name }} TO {{ database.users | map("name") | join(", ") }};
