#!/usr/bin/env bash
# A part of setup.sh: the images. Each carries a label with a hash of everything it was made from, so that
# nothing is built again until something has changed.
# shellcheck disable=SC2034,SC2154  # the parts share their variables

inputs_label=immich-ml-hailo.inputs
proxies=(HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy ftp_proxy no_proxy all_proxy)

name_images() { # sets base, worker and slim: the worker without models, which fetches them
  if ((cpu)); then
    base='' worker=immich-ml-hailo:cpu
  else
    base=hailo-base:v$driver worker=immich-ml-hailo:v$driver
  fi
  slim=$worker-slim
}

build_base() {
  local sources arguments=(--build-arg "HAILORT_VERSION=$driver")
  [[ -z ${BASE_IMAGE-} ]] || arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
  copied_files Dockerfile.hailo-base
  base_inputs=$(hash_of "${sources[@]}" "$deb" "$whl" -- "${arguments[@]}")
  build_image "$base" "$base_inputs" Dockerfile.hailo-base "${arguments[@]}"
}

build_worker() { # TAG MODELS [WORD…]: MODELS none or baked, WORDs telling which
  local tag=$1 models=$2 arguments sources inputs
  shift 2
  if ((cpu)); then
    arguments=(--build-arg "BASE_IMAGE=${BASE_IMAGE:-ubuntu:24.04}")
  else
    arguments=(--build-arg "HAILORT_VERSION=$driver")
  fi
  [[ $models == baked ]] || arguments+=(--build-arg "MODELS=$models")
  copied_files Dockerfile.immich-ml-hailo
  inputs=$(hash_of "${sources[@]}" -- "${arguments[@]}" "$models" "${base_inputs-}" "$@")
  build_image "$tag" "$inputs" Dockerfile.immich-ml-hailo "${arguments[@]}"
}

copied_files() { # DOCKERFILE: sets sources, it and what it copies; models and HailoRT's packages are looked at apart
  local words word file
  sources=("$1" .dockerignore)
  while read -r -a words; do
    [[ ${words[0]-} == COPY && ${words[*]} != *' --from='* ]] || continue
    for word in "${words[@]:1:${#words[@]}-2}"; do
      case $word in --* | models/* | hailo-rt-4/*) continue ;; esac
      for file in $word "${word%/}"/**; do
        case $file in
          *.pyc | scripts/setup_*.sh) ;;
          *) [[ ! -f $file ]] || sources+=("$file") ;;
        esac
      done
    done
  done <"$1"
}

models_there() { # a line for each file in models/: its name, size and time
  local file
  for file in models/*; do
    case $file in
      *.md | *.part | *.whole | *.json.*) ;; # on their way
      models/checksums.json | models/text_layouts.json) ;; # kept by the store and the worker; they follow the rest
      *) [[ ! -f $file ]] || stat -c '%n %s %Y' -- "$file" ;;
    esac
  done
}

hash_of() { # [FILE…] -- [WORD…]
  local files=()
  while [[ $1 != -- ]]; do
    [[ ! -f $1 ]] || files+=("$1")
    shift
  done
  {
    ((${#files[@]} == 0)) || sha256sum -- "${files[@]}"
    printf '%s\n' "$@"
  } | sha256sum | cut -c -32
}

label_of() { # IMAGE: the hash it was made from, nothing when there is no such image
  docker image inspect --format "{{index .Config.Labels \"$inputs_label\"}}" "$1" 2>/dev/null || true
}

build_image() { # TAG INPUTS DOCKERFILE [BUILD_ARGUMENT…]
  local tag=$1 inputs=$2 file=$3 name code=0
  shift 3
  if [[ $(label_of "$tag") == "$inputs" ]]; then
    say "$tag is there, and nothing has changed"
    return
  fi
  local call=(docker build -t "$tag" --label "$inputs_label=$inputs" "$@")
  for name in "${proxies[@]}"; do
    [[ -z ${!name-} ]] || call+=(--build-arg "$name")
  done
  call+=(-f "$file" .)
  permit
  need_docker_space
  say "building $tag"
  if ((dry)); then
    show "${call[@]}"
    return
  fi
  local log=$scratch/build.log
  "${call[@]}" 2>&1 | tee -- "$log" || code=$?
  ((code == 0)) || explain_build "$file" "$(tail -n 60 -- "$log")"
}

need_docker_space() { # once a run, and only when something is built
  local folder
  if [[ -n ${space_seen-} ]]; then return; fi
  space_seen=1
  # Where Docker does not say where it keeps images, the build itself has to tell.
  folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null) || return 0
  check_space 3000 "$folder" "the images"
}

explain_build() { # DOCKERFILE WORDS
  local again="Its words stand above."
  case $2 in
    *'no space left'* | *'No space left'*)
      fail "building from $1 failed: Docker has no space left." "$again Free some: docker system df, docker builder prune." \
        "On Unraid, Docker's own image can be enlarged: Settings, Docker, with Docker stopped." "Then run this again."
      ;;
    *'HailoRT cannot be put into the image'*)
      fail "building from $1 failed: HailoRT's files are not what they should be." \
        "What stands above, below 'HailoRT cannot be put into the image', says which file and why. Mostly a download was" \
        "cut short: delete that file in $project/hailo-rt-4, download it again, then run this again."
      ;;
    *'requires BuildKit'* | *'buildx component is missing'* | *'buildx plugin'*)
      fail "building from $1 failed: this Docker's BuildKit is not complete." \
        "Debian, Ubuntu: sudo apt-get install docker-buildx (with Docker's own packages: docker-buildx-plugin)" \
        "With Docker 20 to 22: DOCKER_BUILDKIT=1 ./setup.sh"
      ;;
    *toomanyrequests* | *'pull rate limit'*)
      fail "building from $1 failed: Docker Hub lets this address fetch no more images for now." \
        "Wait an hour, or docker login; or name a mirror's image: BASE_IMAGE=mirror.lan/ubuntu:24.04 ./setup.sh"
      ;;
    *'pull access denied'* | *'manifest unknown'*)
      [[ $1 == Dockerfile.hailo-base || $cpu == 1 ]] ||
        fail "building from $1 failed: the builder does not see the image $base that was built before." \
          "It keeps images of its own; take the one that does not: docker buildx use default. Then run this again."
      fail "building from $1 failed: the image that it begins with cannot be had." \
        "$again Leave BASE_IMAGE out for ubuntu:24.04, or name one that there is (docker login, where it wants that)."
      ;;
    *'emporary failure'* | *'failed to resolve'* | *'no such host'* | *'dial tcp'* | *'i/o timeout'* | *'ould not resolve'* | \
      *'etwork is unreachable'* | *'onnection refused'* | *'TLS handshake timeout'* | *'Unable to fetch'*)
      fail "building from $1 failed: something could not be downloaded." \
        "$again Check the network and the name server (docker run --rm ubuntu:24.04 cat /etc/resolv.conf), and the" \
        "proxy (HTTPS_PROXY) if there is one. Then run this again: it goes on where it stopped."
      ;;
    *) fail "building from $1 failed." "$again Run this again; if it stays, report it with them." ;;
  esac
}
