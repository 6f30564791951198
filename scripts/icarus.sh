#!/usr/bin/env bash
# Install Icarus Verilog through apt-get if it is missing.
set -euo pipefail

command -v iverilog > /dev/null && exit 0
if command -v apt-get > /dev/null; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    echo "installing Icarus Verilog"
    if "${as_root[@]}" apt-get install -y -qq iverilog > /dev/null 2>&1 ||
        { "${as_root[@]}" apt-get update -qq > /dev/null 2>&1 &&
            "${as_root[@]}" apt-get install -y -qq iverilog > /dev/null 2>&1; }; then
        exit 0
    fi
fi
echo "error: Icarus Verilog is not installed; install it, for example with: sudo apt-get install iverilog" >&2
exit 2
