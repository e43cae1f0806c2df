# Sourced by the scripts beside it: where the repository is, and its virtual environment.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"
CONSTRAINTS="$ROOT/scripts/constraints.txt"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 2
}

# The newest of this machine's pythons is not needed: the first that is new enough will do.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed, and python3 here is $(python3 --version 2>/dev/null || echo 'not there'):" \
        "install python3.11 or newer and run this again"
}

# make_venv DIR: an empty virtual environment.
make_venv() {
    local python
    python="$(find_python)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv) and run this again"
    "$python" -m venv --clear "$1" >&2 || die "$python could not make the virtual environment $1: see the lines above"
}

# pip_install VENV ARGUMENT...: by our constraints, quietly, all on stderr.
pip_install() {
    local venv="$1"
    shift
    "$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check -c "$CONSTRAINTS" "$@" >&2 ||
        die "pip could not install what harvester needs: see the lines above (it needs its package index and about 1 GB of disk)"
}

# What an installation depends on; a folder that was moved or another Python needs a new one.
venv_stamp() {
    { echo "$ROOT $("$VENV/bin/python" --version 2>&1)" && cat "$ROOT/pyproject.toml" "$CONSTRAINTS"; } | cksum
}

# ensure_venv [dev]: .venv with harvester in it (and the dev extra), made or renewed only when needed.
ensure_venv() {
    local extra="${1:-run}" file="$VENV/harvester-stamp" installed
    installed="$(cat "$file" 2>/dev/null || true)"
    if [ -x "$VENV/bin/harvester" ]; then
        case "$installed" in
            "$(venv_stamp) dev" | "$(venv_stamp) $extra") return ;;
        esac
    fi
    rm -f "$file"
    say "harvester: setting up $VENV (once; a minute or two)"
    "$VENV/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv "$VENV"
    pip_install "$VENV" hatchling editables # beside it, not isolated: so that the build is pinned too
    local package="$ROOT"
    if [ "$extra" = dev ]; then package="${ROOT}[dev]"; fi
    pip_install "$VENV" --no-build-isolation -e "$package"
    echo "$(venv_stamp) $extra" >"$file"
    say "harvester: ready"
}
