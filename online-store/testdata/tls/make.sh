#!/bin/sh
# Makes the certificates of the TLS tests: an authority, a server's certificate for `localhost`
# (which serves as a client's too), and an authority that signed neither. Valid for 100 years.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
authority="-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
# shellcheck disable=SC2086
openssl req -x509 $key -keyout "$scratch/ca.key" -out ca.pem -days 36500 -subj "/CN=Test CA" $authority
# shellcheck disable=SC2086
openssl req -x509 $key -keyout "$scratch/other.key" -out other-ca.pem -days 36500 \
    -subj "/CN=Another test CA" $authority
# shellcheck disable=SC2086
openssl req $key -keyout server.key -out "$scratch/server.csr" -subj "/CN=localhost"
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n' \
    > "$scratch/extensions"
openssl x509 -req -in "$scratch/server.csr" -CA ca.pem -CAkey "$scratch/ca.key" -CAcreateserial \
    -out server.pem -days 36500 -extfile "$scratch/extensions"
