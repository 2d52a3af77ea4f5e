SELECT count(*) = 0
  FROM pg_database
 WHERE datname IN ('postgres', 'template1')
   AND (datacl IS NULL OR EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = 0));
