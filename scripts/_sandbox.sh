# Sourced: the embedded stand-in of Twitch as a process of its own, for as long as the calling process lives.
# shellcheck shell=bash

# Nothing of the user's own set-up may reach a run against the stand-in, and loopback never goes through a proxy.
clean_environment() {
    local name
    for name in $(compgen -e HARVESTER_) $(compgen -e TWITCH_CLIENT_); do unset "$name"; done
    export NO_PROXY="127.0.0.1,localhost,::1" no_proxy="127.0.0.1,localhost,::1"
}

# start_sandbox HARVESTER: serves on a free port. When this returns, $SANDBOX_CONFIG is its configuration and its
# credentials are in the environment. It ends with the calling process, whatever that ends of or execs.
start_sandbox() {
    SANDBOX_DIR="$(mktemp -d)"
    SANDBOX_CONFIG="$SANDBOX_DIR/sandbox.toml"
    clean_environment
    "$1" sandbox --port 0 --config-out "$SANDBOX_CONFIG" </dev/null >"$SANDBOX_DIR/log" 2>&1 &
    SANDBOX_PID=$!
    end_with_us
    await_sandbox
    set -a
    # shellcheck disable=SC1091
    . "$SANDBOX_CONFIG.env"
    set +a
}

# Descriptor 9 is the writing end of a pipe that only this process (and what it execs or runs) holds: its reader
# sees the end of it even after a kill -9, which no trap would.
end_with_us() {
    mkfifo "$SANDBOX_DIR/alive"
    (
        trap '' INT TERM HUP
        read -r _ <"$SANDBOX_DIR/alive" || true
        kill "$SANDBOX_PID" || true
        rm -rf "$SANDBOX_DIR"
    ) </dev/null >/dev/null 2>&1 &
    exec 9>"$SANDBOX_DIR/alive"
}

await_sandbox() {
    local tenths=0
    until [ -s "$SANDBOX_CONFIG" ] && [ -s "$SANDBOX_CONFIG.env" ]; do
        kill -0 "$SANDBOX_PID" 2>/dev/null || sandbox_failed "the sandbox ended before it was ready"
        if [ "$tenths" -ge 600 ]; then sandbox_failed "the sandbox was not ready within a minute"; fi
        tenths=$((tenths + 1))
        sleep 0.1
    done
}

sandbox_failed() {
    printf 'error: %s; its last lines:\n' "$1" >&2
    tail -n 20 "$SANDBOX_DIR/log" >&2
    exit 1
}
