SELECT (SELECT count(*) FROM pg_extension
         WHERE extname = ANY (ARRAY[{{ database.extensions | map("literal") | join(", ") }}]::name[]))
         = {{ database.extensions | length }}
   AND (SELECT count(*) FROM pg_namespace
         WHERE nspname = ANY (ARRAY[{{ database.tenants | map("literal") | join(", ") }}]::name[])
           AND pg_get_userbyid(nspowner) = nspname)
         = {{ database.tenants | length }}
   AND NOT has_schema_privilege('public', 'public', 'CREATE');
