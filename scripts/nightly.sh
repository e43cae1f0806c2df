#!/usr/bin/env bash
# One night, for cron: `harvester run`, silent if all went well.
#
#   scripts/nightly.sh --config FILE --out DIR [what `harvester run` takes]
#
#   30 3 * * *  /opt/harvester/scripts/nightly.sh --config /etc/harvester/config.toml --out /data/frames
#
# What the run says goes, a JSON object a line, into a file of its own in $HARVESTER_LOGS (default
# ~/.local/state/harvester/nightly); the newest KEPT_LOGS stay. If the run does not end with 0, why is printed, which
# cron mails, and its exit code is this script's: 75 if the last night's run is still at work, which nothing is done
# about but to say so; 5 if it should be tried again later. Credentials: TWITCH_CLIENT_ID_FILE and
# TWITCH_CLIENT_SECRET_FILE, or the files twitch-client-id and twitch-client-secret in ~/.config/harvester.
set -euo pipefail
# shellcheck source=scripts/_venv.sh
. "$(dirname "${BASH_SOURCE[0]}")/_venv.sh"

KEPT_LOGS=60 # two months, so that the night before a holiday is still there after it
SHOWN_LINES=20

logs="${HARVESTER_LOGS:-${XDG_STATE_HOME:-$HOME/.local/state}/harvester/nightly}"
secrets="${XDG_CONFIG_HOME:-$HOME/.config}/harvester"

# use_file NAME FILE: the credential NAME from FILE, unless the environment has one.
use_file() {
    local variable="$1_FILE"
    if [ -z "${!1:-}" ] && [ -z "${!variable:-}" ] && [ -e "$2" ]; then export "$variable=$2"; fi
}

# The oldest logs beyond KEPT_LOGS go; their names sort by time.
forget_logs() {
    local files=("$logs"/*.log)
    local surplus=$((${#files[@]} - KEPT_LOGS))
    if [ "$surplus" -gt 0 ]; then rm -f -- "${files[@]:0:surplus}"; fi
}

if [ "$#" -eq 0 ]; then die "say what to harvest, such as: scripts/nightly.sh --config FILE --out DIR"; fi
use_file TWITCH_CLIENT_ID "$secrets/twitch-client-id"
use_file TWITCH_CLIENT_SECRET "$secrets/twitch-client-secret"
mkdir -p "$logs"
log="$logs/$(date -u +%Y%m%dT%H%M%SZ)-$$.log"
ensure_venv
code=0
"$VENV/bin/harvester" run --log-format json --json "$@" </dev/null >>"$log" 2>&1 || code=$?
forget_logs
if [ "$code" -ne 0 ]; then
    say "harvester: this night ended with exit code $code; the last lines of $log:"
    tail -n "$SHOWN_LINES" "$log" >&2
fi
exit "$code"
