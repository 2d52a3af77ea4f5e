SELECT (SELECT count(*) FROM pg_extension
         WHERE extname = ANY (ARRAY[{{ database.extensions | map("literal") | join(", ") }}]::name[]))
         = {{ database.extensions | length }}
{% if database.ours %}
   AND NOT EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
                    WHERE n.nspname = r.rolname AND r.rolcanlogin
                      AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid)
                      AND NOT EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid)
                      AND NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid))
{% endif %}
   AND NOT has_schema_privilege('public', 'public', 'CREATE');
