#!/bin/sh
# Run once by PostgreSQL's image, when its volume is empty: two databases, each with a role that owns it and can
# reach no other. Neither role may create roles or databases.
set -eu

: "${COMPTOIR_DB_PASSWORD:?the password of the role comptoir_hub}"
: "${AIRFLOW_DB_PASSWORD:?the password of the role comptoir_airflow}"

# Passwords come by the environment: on a command line every process of the machine could read them.
export COMPTOIR_DB_PASSWORD AIRFLOW_DB_PASSWORD

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv hub_password COMPTOIR_DB_PASSWORD
\getenv airflow_password AIRFLOW_DB_PASSWORD
create role comptoir_hub login nosuperuser nocreatedb nocreaterole password :'hub_password';
create role comptoir_airflow login nosuperuser nocreatedb nocreaterole password :'airflow_password';
create database comptoir owner comptoir_hub;
create database airflow owner comptoir_airflow;
revoke all on database comptoir, airflow, postgres from public;
SQL
