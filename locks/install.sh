#!/bin/sh
# Fills /opt/gitpulse within `docker build`: a virtual environment without pip, the same one from the same sources.
#   install.sh dependencies PART    what locks/PART.txt pins, from the wheels beside this file if there are any, else from PyPI
#   install.sh gitpulse             /source, and a list of all that is in there (sbom.cdx.json)
set -eu
here=$(dirname "$0") target=/opt/gitpulse
export SOURCE_DATE_EPOCH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

case $1 in
  dependencies)
    set -- "$2"
    if ls "$here"/*.whl >/dev/null 2>&1; then export PIP_NO_INDEX=1 PIP_FIND_LINKS="$here"; fi
    python3 -m venv /build
    python3 -m venv --without-pip "$target"
    /build/bin/pip install --quiet --require-hashes -r "$here/build.txt"
    /build/bin/pip --python "$target/bin/python" install --quiet --require-hashes --only-binary :all: -r "$here/$1.txt"
    ;;
  gitpulse)
    /build/bin/pip wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir /wheel /source
    /build/bin/pip --python "$target/bin/python" install --quiet --no-deps --no-index /wheel/*.whl
    /build/bin/cyclonedx-py environment --output-reproducible -o "$target/sbom.cdx.json" "$target/bin/python"
    find "$target" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    ;;
esac
