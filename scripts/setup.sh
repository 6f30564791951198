#!/usr/bin/env bash
# Create a virtual environment and install this project into it, editable, with its dependencies.
# usage: setup.sh PYTHON VENV REQUIREMENT     (REQUIREMENT: `.`, or `.[extra]`)
set -euo pipefail

python=$1 venv=$2 requirement=$3

fail() {
    echo "error: $*" >&2
    exit 2
}

for program in g++ make perl; do
    command -v "$program" > /dev/null ||
        fail "$program is not installed; install it, for example with: apt-get install $program"
done
command -v "$python" > /dev/null || fail "$python is not installed; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; use another with: make PYTHON=python3.11"

if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import ensurepip, venv' 2> /dev/null ||
        fail "$python lacks the module venv; install it, for example with: apt-get install python3-venv"
    echo "making $venv"
    "$python" -m venv "$venv" || fail "cannot make $venv: see above"
fi
echo "installing what $requirement needs into $venv (minutes, the first time)"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check -e "$requirement" ||
    fail "pip could not install what $requirement needs: see above; check the network and the disk"
