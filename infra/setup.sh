#!/usr/bin/env bash
# Makes the two locked environments: .venv (server and tests) and notebooks/.venv (the analyst's).
# uv comes from the machine if it is new enough, else from `python3 -m venv`, else from
# `pip install --target`; where all fail the message names the apt line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv_version=0.13.9 # what uv.lock was written with; an older uv may read the lock differently
unset VIRTUAL_ENV UV_PROJECT_ENVIRONMENT

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$1"
  shift
  printf '  %s\n' "$@" >&2
  exit 1
}

is_usable() { # program -> whether it is a uv of at least our version
  local found
  found=$("$1" --version 2>/dev/null | sed -n 's/^uv \([0-9][0-9.]*\).*/\1/p') || return 1
  [ -n "$found" ] && [ "$(printf '%s\n' "$uv_version" "$found" | sort -V | head -n 1)" = "$uv_version" ]
}

find_uv() { # prints the program, or nothing
  local candidate
  for candidate in "${LAB_UV:-}" "$(command -v uv || true)" .uv/bin/uv; do
    if [ -n "$candidate" ] && is_usable "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

install_uv() {
  local log=.uv/install.log
  rm -rf .uv
  mkdir .uv
  say "fetching uv $uv_version into .uv (this machine has none, or an older one)"
  if python3 -m venv .uv >"$log" 2>&1 && .uv/bin/python -m pip install --quiet "uv==$uv_version" >>"$log" 2>&1; then
    return
  fi
  if python3 -m pip install --quiet --target .uv/packages "uv==$uv_version" >>"$log" 2>&1; then
    mkdir -p .uv/bin
    ln -sf ../packages/bin/uv .uv/bin/uv
    return
  fi
  tail -n 5 "$log" >&2
  fail "uv could not be installed: this Python has neither a working venv nor pip, or PyPI is out of reach." \
    "On Debian or Ubuntu:  apt-get install python3-venv" \
    "or install uv yourself and set LAB_UV to its path."
}

command -v python3 >/dev/null || fail "python3 was not found." "On Debian or Ubuntu:  apt-get install python3 python3-venv"
uv=$(find_uv)
if [ -z "$uv" ]; then
  install_uv
  uv=$(find_uv)
  [ -n "$uv" ] || fail "the uv that was installed does not run; see .uv/install.log."
fi

say "server environment (.venv)"
"$uv" sync --locked --quiet
say "notebook environment (notebooks/.venv)"
"$uv" sync --locked --quiet --project notebooks
touch .venv/.ready
