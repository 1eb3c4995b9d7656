#!/bin/sh
# Stands where Ray's agents would in a lean head: tells the raylet the ports that it waits for,
# then lives until the raylet ends (its end of our standard input closes).
# usage: ray_agent_stub.sh SESSION_FOLDER NODE_ID NAME=PORT...
session=$1 node=$2
shift 2
for pair in "$@"; do
  printf '%s' "${pair#*=}" > "$session/.${pair%%=*}_$node"
  mv "$session/.${pair%%=*}_$node" "$session/${pair%%=*}_$node"
done
exec cat > /dev/null
