#!/bin/sh
# Installs the peers of `npm run compare` from Debian's packages, as root. No service is started.
set -eu

packages='nginx-light varnish caddy nghttp2-client'

if [ "$(id -u)" -ne 0 ]; then
  echo "compare/install.sh: installing packages needs root: sudo $0" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "compare/install.sh: there is no apt-get here; install these by hand: $packages" >&2
  exit 1
fi

# Debian starts what it installs, on ports 80 and 6081, unless this file forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $packages
