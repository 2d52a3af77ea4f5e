SELECT count(*) = 1
  FROM pg_database d
 WHERE d.datname = {{ database.name | literal }}
   AND pg_get_userbyid(d.datdba) = {{ database.owner | literal }}
   AND pg_encoding_to_char(d.encoding) = 'UTF8'
   AND d.datallowconn
   AND d.datacl IS NOT NULL
   AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) WHERE grantee = 0)
{% if database.ours %}
   AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) WHERE grantee <> d.datdba AND privilege_type <> 'CONNECT')
{% endif %}
   AND (SELECT array_agg(DISTINCT pg_get_userbyid(a.grantee) ORDER BY pg_get_userbyid(a.grantee))
          FROM aclexplode(d.datacl) a WHERE a.privilege_type = 'CONNECT')
     = (SELECT array_agg(u ORDER BY u)
          FROM unnest(ARRAY[{{ database.users | map("literal") | join(", ") }}]::name[]) u);
