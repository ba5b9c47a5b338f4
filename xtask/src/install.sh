# Installs Debian packages without letting them start their services.
#
# Run as root: sh -c "$(cat install.sh)" sh PACKAGE…
# Debian asks policy-rc.d before it starts a service; ours, which says no, is there only while this
# runs, and only when the machine has none of its own. POLICY_RC_D is its path in the test of this.
set -eu
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install() { apt-get install -y --no-install-recommends "$@"; }
# The lists of packages are fetched only when those at hand do not do.
install "$@" || { apt-get update && install "$@"; }
