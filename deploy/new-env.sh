#!/bin/sh
# Makes .env (and an empty .env.connections) from .env.example, with secrets of your own. Overwrites nothing.
#   sh deploy/new-env.sh [FOLDER]        the folder of docker-compose.yml; this one's by default
set -eu
umask 077

source_folder=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
folder=${1:-$source_folder}

if [ -e "$folder/.env" ]; then
    echo "$folder/.env exists already and was left as it is." >&2
    exit 1
fi

# Letters and digits only: these stand in addresses of databases.
word() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
# Base64 of random bytes.
key() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }

fresh="$folder/.env.new"
while IFS= read -r line; do
    case "$line" in
        POSTGRES_PASSWORD= | COMPTOIR_DB_PASSWORD= | AIRFLOW_DB_PASSWORD= | AIRFLOW_ADMIN_PASSWORD=)
            printf '%s%s\n' "$line" "$(word)" ;;
        COMPTOIR_RAW_KEY=) printf '%s%s\n' "$line" "$(key 32)" ;;
        # Fernet wants the alphabet of addresses.
        AIRFLOW_FERNET_KEY=) printf '%s%s\n' "$line" "$(key 32 | tr '+/' '-_')" ;;
        AIRFLOW_JWT_SECRET= | AIRFLOW_SECRET_KEY=) printf '%s%s\n' "$line" "$(key 64)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done < "$source_folder/.env.example" > "$fresh"
mv "$fresh" "$folder/.env"
echo "Wrote $folder/.env. Keep a copy of COMPTOIR_RAW_KEY apart from the backups: without it they are noise."

if [ ! -e "$folder/.env.connections" ]; then
    cat > "$folder/.env.connections" <<'TEXT'
# The credentials of each connection of comptoir.toml, one a line, between single quotes:
# AIRFLOW_CONN_BOUTIQUE='{"conn_type": "woocommerce", "host": "https://shop.example", "login": "ck_...", "password": "cs_...", "extra": {"webhook_secret": "..."}}'
TEXT
    echo "Wrote $folder/.env.connections: put each connection's credentials there."
fi
