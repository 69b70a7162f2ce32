# Sourced by scripts/demo and scripts/test: the checkout's own virtual environment, made when missing.
# Usage: . scripts/environment.sh EXTRAS    (EXTRAS such as [test], or nothing)

extras=$1
if [ ! -x .venv/bin/python ]; then
  python=
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [ -z "$python" ]; then
    echo "caa needs Python 3.11 or newer; none was found." >&2
    exit 1
  fi
  echo "Making .venv with $("$python" --version) ..." >&2
  if ! "$python" -m venv .venv; then
    rm -rf .venv
    echo "The virtual environment could not be made (on Debian: apt install python3-venv)." >&2
    exit 1
  fi
fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 && ! .venv/bin/python -m ensurepip >/dev/null 2>&1; then
  echo ".venv has no pip and cannot get it. Move it away and run this again." >&2
  exit 1
fi

# The mark says which dependencies were installed completely; an interrupted installation leaves none.
mark=".venv/installed$extras"
wanted=$(cksum <pyproject.toml)
if [ ! -f "$mark" ] || [ "$(cat "$mark")" != "$wanted" ]; then
  echo "Installing caa-registry$extras and what it needs into .venv ..." >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras"
  echo "$wanted" >"$mark"
fi
