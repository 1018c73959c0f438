#!/bin/bash
# A database and a user for each service, made when the server's volume is new.
set -euo pipefail
for service in registry trainer validator deployer monitor governance_auditor gateway; do
  password_name="$(echo "$service" | tr '[:lower:]' '[:upper:]')_PASSWORD"
  psql --set ON_ERROR_STOP=1 --username postgres --set name="$service" --set password="${!password_name}" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
