REVOKE CREATE ON SCHEMA public FROM PUBLIC;
{% for extension in database.extensions %}
CREATE EXTENSION IF NOT EXISTS {{ extension | name }};
{% endfor %}
{% for role in database.tenants %}
CREATE SCHEMA IF NOT EXISTS {{ role | name }};
ALTER SCHEMA {{ role | name }} OWNER TO {{ role | name }};
{% endfor %}
