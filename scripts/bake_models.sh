#!/usr/bin/env bash
# Prepares the models that go into the image; Dockerfile.immich-ml-hailo runs it inside the build.
#
#   bake_models.sh baked|none FOLDER
#
# baked  keeps what is in FOLDER, readable for every user; what no checksum is published for is recorded
# none   leaves FOLDER empty: the models are mounted at /app/models
set -euo pipefail

choice=$1 folder=$2
project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
cd -- "$folder"
shopt -s nullglob

case $choice in
  baked) ;;
  none)
    find . -mindepth 1 ! -name README.md -delete
    echo "MODELS=none: the image holds no models. Run it with --volume /path/to/models:/app/models:ro"
    exit 0
    ;;
  *)
    echo "MODELS=$choice is neither baked (the default) nor none. Correct that --build-arg." >&2
    exit 1
    ;;
esac

astray=$(find . -xtype l -print -quit)
if [[ -n $astray ]]; then
  echo "models/${astray#./} is a link to a file outside of models/, which cannot get into an image." >&2
  echo "Put the file itself there: cp --remove-destination \"\$(readlink -f models/${astray#./})\" models/" >&2
  exit 1
fi
# So that the worker refuses a file that is another one later on.
if ! PYTHONPATH=$project MODELS_DIR=$PWD "${PYTHON:-python3}" -m ml_target models pin; then
  echo "NOTE: the worker will refuse the files named above, and their tasks will be off." >&2
  echo "Fetch them again on the host (scripts/models.sh fetch; for a card with --engine hailo), then build again." >&2
fi
chmod -R u=rwX,go=rX .

networks=(*.hef *.onnx)
if ((${#networks[@]})); then
  echo "models/: ${#networks[@]} networks go into the image: ${networks[*]}"
else
  echo "NOTE: models/ holds no networks. The image is built all the same, and every task in it will be off."
  echo "Fetch them (./setup.sh does) and build again, or run it with --volume /path/to/models:/app/models:ro"
fi
