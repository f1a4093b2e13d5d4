#!/usr/bin/env bash
# End-to-end test of a running worker, in the way the Immich server talks to it.
#
#   bash test.sh [--expect-all] IMAGE [URL]
#
# IMAGE  a JPEG or PNG with faces and text, such as test.jpg beside this script. A JPEG comment
#        "faces=4 words=ONE,TWO" is taken as the truth about the picture.
# URL    of the worker; http://127.0.0.1:3003 when left out, or another port that IMMICH_PORT names.
#
# Tasks that GET /status reports as off must refuse with 503 and words; with --expect-all an off
# task is a failure. Needs bash and curl, or bash and python3, and nothing else.
# Prints one line an assertion and "N passed, M failed"; the exit code is 0 only without failures.
set -uo pipefail
export LC_ALL=C
if ((BASH_VERSINFO[0] < 4)); then echo "test.sh: this is bash $BASH_VERSION; it needs bash 4 or newer" >&2; exit 2; fi

usage() { while IFS= read -r line && [[ $line == '#'* ]]; do [[ $line == '#!'* ]] || printf '%s\n' "${line#'#'}"; done <"$0"; }

EXPECT_ALL=0
case ${1-} in
  -h | --help) usage; exit 0 ;;
  --expect-all) EXPECT_ALL=1; shift ;;
esac
if (($# < 1 || $# > 2)); then usage >&2; exit 2; fi
IMAGE=$1
URL=${2-http://127.0.0.1:${IMMICH_PORT:-3003}}
URL=${URL%/}
TIMEOUT=${TEST_TIMEOUT_S:-300} # for one request
WAIT=${TEST_WAIT_S:-30}        # for a worker that is starting
LOADING=${TEST_LOADING_S:-300} # for one that answers, and is loading its models
if [[ ! -f $IMAGE || ! -r $IMAGE ]]; then
  echo "test.sh: cannot read the picture '$IMAGE'. Name one that is there; docker cp keeps its mode: chmod a+r it before." >&2
  exit 2
fi

# ------------------------------------------------------------------- HTTP

# http METHOD PATH [PART…]: sets STATUS, TYPE and BODY. A part is name=text or name@file, "-" being
# standard input; with parts the request is a form, its files named as Immich names them.
STATUS='' TYPE='' BODY=''
http() {
  local answer last
  answer=$("$HTTP_CLIENT" "$@")
  last=${answer##*$'\n'}
  BODY=${answer%$'\n'*} STATUS=${last%% *} TYPE=${last#* }
  [[ $STATUS =~ ^[0-9]{3}$ ]] || STATUS=000
  parse "$BODY"
}

with_curl() {
  local method=$1 path=$2 part file arguments
  arguments=(-q -sS --noproxy '*' --max-time "$TIMEOUT" -H 'Expect:' -X "$method" -w '\n%{http_code} %{content_type}')
  shift 2
  for part; do
    if [[ $part =~ ^[a-z]+@ ]]; then
      file=${part#*@}
      [[ $file == - ]] || { file=${file//\\/\\\\}; file="\"${file//\"/\\\"}\""; }
      arguments+=(-F "${part%%@*}=@$file;filename=blob;type=application/octet-stream")
    else
      arguments+=(--form-string "$part")
    fi
  done
  curl "${arguments[@]}" "$URL$path"
}

with_python() {
  python3 -c '
import sys
timeout, method, address, *parts = sys.argv[1:]
if not address.lower().startswith("https:"):
    sys.modules["ssl"] = None  # http.client can do without, and its import would take longer than the request
import http.client, os, re, urllib.parse
url, boundary, form = urllib.parse.urlsplit(address), "immich-0f1e2d3c", b""
for part in parts:
    name = re.match("[a-z]+", part).group()
    kind, value = part[len(name)], part[len(name) + 1:]
    head = "Content-Disposition: form-data; name=\"%s\"" % name
    if kind == "@":
        head += "; filename=\"blob\"\r\nContent-Type: application/octet-stream"
        data = sys.stdin.buffer.read() if value == "-" else open(value, "rb").read()
    else:
        data = os.fsencode(value)
    form += ("--%s\r\n%s\r\n\r\n" % (boundary, head)).encode() + data + b"\r\n"
headers = {}
if parts:
    form += ("--%s--\r\n" % boundary).encode()
    headers["Content-Type"] = "multipart/form-data; boundary=" + boundary
connect = http.client.HTTPConnection if url.scheme == "http" else http.client.HTTPSConnection
connection = connect(url.netloc, timeout=float(timeout))
try:
    try:
        connection.request(method, url.path or "/", form or None, headers)
    except BrokenPipeError:
        pass  # answered before everything was sent
    answer = connection.getresponse()
    sys.stdout.buffer.write(answer.read() + ("\n%d %s" % (answer.status, answer.headers.get("Content-Type", ""))).encode())
except (OSError, http.client.HTTPException) as error:
    print("%s: %r" % (address, error), file=sys.stderr)
    print("\n000 ")
' "$TIMEOUT" "$1" "$URL$2" "${@:3}"
}

if command -v curl >/dev/null; then
  HTTP_CLIENT=with_curl
elif command -v python3 >/dev/null; then
  HTTP_CLIENT=with_python
else
  echo "test.sh: neither curl nor python3 is here; install one of them (apt-get install curl)" >&2
  exit 2
fi

# ------------------------------------------------------------------- JSON

# parse TEXT: strict JSON into KIND, VALUE and COUNT by path: answer, answer.clip, answer.ocr.text.0.
# Strings keep their escapes. After a failure there is nothing in them.
declare -A KIND VALUE COUNT
NUMBER='-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?'
parse() {
  JSON=$1 AT=0 KIND=() VALUE=() COUNT=()
  if parse_value answer && blank && ((AT == ${#JSON})); then return 0; fi
  KIND=() VALUE=() COUNT=()
  return 1
}
blank() { while [[ ${JSON:AT:1} == [$' \t\r\n'] ]]; do AT=$((AT + 1)); done; }
parse_value() {
  local path=$1 number=0 name rest
  blank
  rest=${JSON:AT:64}
  case ${rest:0:1} in
    '{')
      KIND[$path]=object; AT=$((AT + 1)); blank
      if [[ ${JSON:AT:1} == '}' ]]; then AT=$((AT + 1)) COUNT[$path]=0; return 0; fi
      while :; do
        blank; parse_string || return 1
        name=$STRING; blank
        [[ ${JSON:AT:1} == : ]] || return 1
        AT=$((AT + 1)); parse_value "$path.$name" || return 1
        number=$((number + 1)) COUNT[$path]=$number; blank
        case ${JSON:AT:1} in
          ',') AT=$((AT + 1)) ;;
          '}') AT=$((AT + 1)); return 0 ;;
          *) return 1 ;;
        esac
      done ;;
    '[')
      KIND[$path]=array; AT=$((AT + 1)); blank
      if [[ ${JSON:AT:1} == ']' ]]; then AT=$((AT + 1)) COUNT[$path]=0; return 0; fi
      while :; do
        parse_value "$path.$number" || return 1
        number=$((number + 1)) COUNT[$path]=$number; blank
        case ${JSON:AT:1} in
          ',') AT=$((AT + 1)) ;;
          ']') AT=$((AT + 1)); return 0 ;;
          *) return 1 ;;
        esac
      done ;;
    '"') parse_string || return 1; KIND[$path]=string VALUE[$path]=$STRING ;;
    *)
      if [[ $rest =~ ^(true|false|null) ]]; then
        KIND[$path]=${BASH_REMATCH[0]}
      elif [[ $rest =~ ^$NUMBER ]]; then
        KIND[$path]=number
      else
        return 1
      fi
      VALUE[$path]=${BASH_REMATCH[0]} AT=$((AT + ${#BASH_REMATCH[0]})) ;;
  esac
}
parse_string() {
  local rest part
  [[ ${JSON:AT:1} == '"' ]] || return 1
  rest=${JSON:AT+1} STRING=''
  while :; do
    part=${rest%%[\"\\]*}
    rest=${rest:${#part}} STRING+=$part
    case ${rest:0:1} in
      '"') AT=$((AT + ${#STRING} + 2)); return 0 ;;
      \\) STRING+=${rest:0:2} rest=${rest:2} ;;
      *) return 1 ;;
    esac
  done
}
is() { [[ ${KIND[$1]-} == "$2" ]]; }
size() { SIZE=${COUNT[$1]:--1}; } # of an array or object; -1 where there is none

# ---------------------------------------------------------------- numbers

# micro NUMBER: sets MICRO to its millionths, cut off (and at 10^17); fails when it is not a number.
micro() {
  [[ $1 =~ ^(-?)(0|[1-9][0-9]*)(\.([0-9]+))?([eE]([-+]?)0*([0-9]{1,4}))?$ ]] || return 1
  local sign=${BASH_REMATCH[1]} digits=${BASH_REMATCH[2]}${BASH_REMATCH[4]} zeros
  local places=$((${BASH_REMATCH[6]/+/}${BASH_REMATCH[7]:-0} + 6 - ${#BASH_REMATCH[4]}))
  digits=${digits#"${digits%%[!0]*}"}
  MICRO=0
  if [[ -z $digits ]] || ((${#digits} + places <= 0)); then
    return
  elif ((${#digits} + places > 17)); then
    MICRO=${sign}99999999999999999
  elif ((places < 0)); then
    MICRO=$sign${digits:0:${#digits}+places}
  else
    printf -v zeros '%*s' "$places" ''
    MICRO=$sign$digits${zeros// /0}
  fi
}

# vector TEXT COUNT: fails unless TEXT is a JSON array of exactly COUNT finite numbers; sets VECTOR
# to their millionths, BIG when one is beyond 2, ZERO when all are 0.
vector() {
  local items item
  [[ $1 == '['*']' ]] || { WHY="not an array: ${1:0:60}"; return 1; }
  item=${1#'['}; item=${item%']'}
  IFS=, read -r -a items <<<"$item"
  [[ ${#items[@]} == "$2" ]] || { WHY="${#items[@]} numbers, not $2"; return 1; }
  VECTOR=() BIG=0 ZERO=1
  for item in "${items[@]}"; do
    item=${item// /}
    WHY="not a finite number: '$item'"
    micro "$item" || return 1
    ((MICRO == 0)) || ZERO=0
    ((MICRO <= 2000000 && MICRO >= -2000000)) || BIG=1
    VECTOR+=("$MICRO")
  done
}

# cosine TEXT TEXT COUNT: sets COSINE in millionths; both must be of unit length.
cosine() {
  local first n sum=0
  vector "$1" "$3" && ((!BIG)) || return 1
  first=("${VECTOR[@]}")
  vector "$2" "$3" && ((!BIG)) || return 1
  for ((n = 0; n < $3; n++)); do sum=$((sum + first[n] * VECTOR[n])); done
  COSINE=$((sum / 1000000))
}

# -------------------------------------------------------------- assertions

PASSED=0 FAILED=0 WHY=''
check() { # NAME COMMAND…
  local name=$1
  shift
  WHY=''
  if "$@"; then
    PASSED=$((PASSED + 1))
    printf 'ok %d - %s\n' $((PASSED + FAILED)) "$name"
  else
    FAILED=$((FAILED + 1))
    printf 'not ok %d - %s\n' $((PASSED + FAILED)) "$name"
    printf '#   %s\n' "${WHY:-$*}" "status $STATUS, $TYPE, ${BODY:0:300}"
  fi
}
say() { printf '# %s\n' "$*"; }

answered() { # STATUS…: the last request was answered with one of them, in JSON
  WHY="wanted status $*, as a JSON object"
  [[ " $* " == *" $STATUS "* && $TYPE == application/json* ]] && is answer object
}
explained() { # STATUS…: as above, with words in "detail"
  answered "$@" || return 1
  WHY='wanted words in "detail"'
  is answer.detail array || { is answer.detail string && [[ -n ${VALUE[answer.detail]} ]]; }
}
plain() { [[ $STATUS == 200 && $TYPE == text/plain* && $BODY == "$1" ]]; }

# --------------------------------------------------------------- the picture

# Reads the size, and the comment of a JPEG, from the file itself: the truth the answers are held against.
WIDTH='' HEIGHT='' COMMENT=''
byte() {
  local char
  IFS= read -r -d '' -n 1 -u 3 char || return 1
  if [[ -z $char ]]; then BYTE=0; else printf -v BYTE %d "'$char"; BYTE=$((BYTE & 255)); fi
}
two_bytes() { local high; byte && high=$BYTE && byte && TWO=$((high * 256 + BYTE)); }
skip_bytes() { local n; for ((n = 0; n < $1; n++)); do byte || return 1; done; }
picture_facts() {
  local marker n char
  two_bytes || return 0
  if ((TWO == 0x8950)); then # PNG: signature, then the length and name of the first chunk, then the size
    skip_bytes 16 && two_bytes && two_bytes && WIDTH=$TWO && two_bytes && two_bytes && HEIGHT=$TWO
    return 0
  fi
  ((TWO == 0xFFD8)) || return 0
  while byte && ((BYTE == 0xFF)); do
    while byte && ((BYTE == 0xFF)); do :; done
    marker=$BYTE
    two_bytes || return 0
    if ((marker == 0xFE)); then
      for ((n = 2; n < TWO; n++)); do byte && printf -v char '\\x%02x' "$BYTE" && printf -v char %b "$char" && COMMENT+=$char; done
    elif ((marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC)); then
      byte && two_bytes && HEIGHT=$TWO && two_bytes && WIDTH=$TWO
      return 0
    else
      skip_bytes $((TWO - 2)) || return 0
    fi
  done
}
picture_facts 3<"$IMAGE"
FACES='' WORDS=''
[[ $COMMENT =~ faces=([0-9]+) ]] && FACES=${BASH_REMATCH[1]}
[[ $COMMENT =~ words=([^ ]+) ]] && WORDS=${BASH_REMATCH[1]}

# PNG files: 16 x 16 white; the same cut short; one that claims 60000 x 60000.
PNG='\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR'
PIXELS='\x78\xda\x63\xf8\x8f\x06\x18\x46\xb6\x00\x00\x80\xf9\xff\x01'
END='\x00\x00\x00\x0fIDAT'$PIXELS'\x91\xeb\x20\x1a\x00\x00\x00\x00IEND\xae\x42\x60\x82'
BLANK=$PNG'\x00\x00\x00\x10\x00\x00\x00\x10\x08\x00\x00\x00\x00\x3a\x98\xa0\xbd'$END
CUT=$PNG'\x00\x00\x00\x10\x00\x00\x00\x10\x08\x00\x00\x00\x00\x3a\x98\xa0\xbd\x00\x00\x01\x90IDAT\x78\xda\x63\xf8\x8f\x06'
HUGE=$PNG'\x00\x00\xea\x60\x00\x00\xea\x60\x08\x00\x00\x00\x00\xa5\xb9\x2a\x9e'$END

# ------------------------------------------------------------- the questions

visual() { printf '"clip":{"visual":{"modelName":"%s"}}' "${1-$CLIP_NAME}"; }
textual() { printf '{"clip":{"textual":{"modelName":"%s","options":{%s}}}}' "$CLIP_NAME" "${1-}"; }
faces() { printf '"facial-recognition":{"detection":{"modelName":"buffalo_l","options":{"minScore":%s}},"recognition":{"modelName":"buffalo_l"}}' "${1-0.7}"; }
ocr() { printf '"ocr":{"detection":{"modelName":"%s","options":{"minScore":0.5,"maxResolution":736}},"recognition":{"modelName":"%s","options":{"minScore":%s}}}' "$OCR_NAME" "$OCR_NAME" "${1-0.8}"; }
ask() { http POST /predict "entries=$1" "image@$IMAGE"; }
ask_text() { http POST /predict "entries=$1" "text=$2"; }
ask_bytes() { http POST /predict "entries=$1" image@- < <(printf %b "$2"); }

# ------------------------------------------------------------- what is right

pong() { http GET /ping; plain pong; }
root() { answered 200 && [[ ${VALUE[answer.message]-} == 'Immich ML' ]]; }
status_page() { answered 200 && is answer.version string && is answer.ready true && is answer.tasks object; }

sized() { # the answer carries the size of the picture
  WHY="wanted imageWidth ${WIDTH:-a whole number} and imageHeight ${HEIGHT:-a whole number}"
  [[ ${VALUE[answer.imageWidth]-} =~ ^[1-9][0-9]*$ && ${VALUE[answer.imageHeight]-} =~ ^[1-9][0-9]*$ ]] || return 1
  [[ -z $WIDTH || ${VALUE[answer.imageWidth]} == "$WIDTH" && ${VALUE[answer.imageHeight]} == "$HEIGHT" ]]
}
clip_string() { answered 200 && WHY='wanted "clip" as a string' && is answer.clip string; }
clip_numbers() { WHY='no "clip"'; vector "${VALUE[answer.clip]-}" "$CLIP_WIDTH"; }
unit_length() {
  cosine "$1" "$1" "$CLIP_WIDTH" && WHY="squared length $COSINE millionths" && ((COSINE > 998000 && COSINE < 1002000))
}
same_vector() {
  cosine "$1" "${VALUE[answer.clip]-}" "$CLIP_WIDTH" && WHY="cosine $COSINE millionths" && ((COSINE > 999000))
}
other_vector() { clip_string && clip_numbers && WHY='the same vector' && [[ $1 != "${VALUE[answer.clip]}" ]]; }
sizeless() { answered 200 && WHY='a size with a text' && [[ -z ${KIND[answer.imageWidth]-}${KIND[answer.imageHeight]-} ]]; }

FACE=answer.facial-recognition
face_count() {
  answered 200 && WHY='wanted an array of faces' && is $FACE array && size $FACE || return 1
  WHY="$SIZE faces, not ${FACES:-at least one}"
  if [[ -n $FACES ]]; then ((SIZE == FACES)); else ((SIZE > 0)); fi
}
face_boxes() {
  local n side box width=${VALUE[answer.imageWidth]:-0} height=${VALUE[answer.imageHeight]:-0}
  WHY='no faces'
  size $FACE && ((SIZE > 0)) || return 1
  for ((n = 0; n < SIZE; n++)); do
    box=()
    for side in x1 y1 x2 y2; do
      side=${VALUE[$FACE.$n.boundingBox.$side]-}
      WHY="face $n: '$side' is not a whole number of pixels"
      [[ $side =~ ^-?[0-9]+(\.0+)?$ ]] || return 1
      box+=("${side%.*}")
    done
    WHY="face $n: ${box[*]} is not a box inside $width x $height" # the official worker's may stand out a little
    ((box[0] + 4 <= box[2] && box[1] + 4 <= box[3])) || return 1
    ((box[0] >= -width / 20 && box[2] <= width + width / 20)) || return 1
    ((box[1] >= -height / 20 && box[3] <= height + height / 20)) || return 1
  done
}
face_vectors() {
  local n numbers seen=' '
  WHY='no faces'
  size $FACE && ((SIZE > 0)) || return 1
  for ((n = 0; n < SIZE; n++)); do
    WHY="face $n: wanted the embedding as a string"
    numbers=${VALUE[$FACE.$n.embedding]-}
    is "$FACE.$n.embedding" string && vector "$numbers" 512 || return 1
    WHY="face $n: all zero, or the same as another face"
    ((!ZERO)) && [[ $seen != *" $numbers "* ]] || return 1
    seen+="$numbers "
  done
}
# scores PATH [.NAME]: sets SCORES to the millionths of PATH.n or PATH.n.NAME; fails outside 0..1.
scores() {
  local n score
  SCORES=()
  size "$1"
  for ((n = 0; n < SIZE; n++)); do
    score=${VALUE[$1.$n${2-}]-}
    WHY="number $n of $1: '$score' is not within 0..1"
    is "$1.$n${2-}" number && micro "$score" && ((MICRO >= 0 && MICRO <= 1000000)) || return 1
    SCORES+=("$MICRO")
  done
}
at_least() { # COUNT MILLIONTHS: there are so many scores, none of them below
  local score
  WHY="scores in millionths, wanted $1 of at least $2: ${SCORES[*]-}"
  ((${#SCORES[@]} == $1)) || return 1
  for score in ${SCORES[@]+"${SCORES[@]}"}; do ((score >= $2)) || return 1; done
}
# between: sets MIDDLE and THRESHOLD to a value inside the range of SCORES, ABOVE to how many exceed it.
between() {
  local score low=${SCORES[0]:-500000} high=${SCORES[0]:-500000}
  for score in ${SCORES[@]+"${SCORES[@]}"}; do
    ((low = score < low ? score : low, high = score > high ? score : high))
  done
  MIDDLE=$((low < high ? (low + high) / 2 : low - 1)) ABOVE=0
  for score in ${SCORES[@]+"${SCORES[@]}"}; do ((score < MIDDLE)) || ABOVE=$((ABOVE + 1)); done
  printf -v THRESHOLD '%d.%06d' $((MIDDLE / 1000000)) $((MIDDLE % 1000000))
}
face_scores() { scores $FACE .score && WHY='no faces' && ((SIZE > 0)) && at_least "$SIZE" 700000; }
face_threshold() { answered 200 && is $FACE array && scores $FACE .score && at_least "$ABOVE" "$MIDDLE"; }
face_none() { answered 200 && WHY='wanted an empty array' && is $FACE array && size $FACE && ((SIZE == 0)); }

OCR=answer.ocr
ocr_lengths() {
  local name texts
  answered 200 || return 1
  size $OCR.text
  texts=$SIZE
  for name in text box boxScore textScore; do
    size $OCR.$name
    WHY="wanted an array in ocr.$name; it has $SIZE values for $texts texts"
    is $OCR.$name array || return 1
    if [[ $name == box ]]; then ((SIZE == 8 * texts)) || return 1; else ((SIZE == texts)) || return 1; fi
  done
}
ocr_found() { ocr_lengths && WHY='no text found' && size $OCR.text && ((SIZE > 0)); }
ocr_coordinates() { scores $OCR.box && WHY='no boxes' && ((SIZE > 0)); }
ocr_corners() { # clockwise from the top left: the area is positive, the first corner lies up and left of the third
  local n area c
  ocr_coordinates || return 1
  for ((n = 0; n + 7 < ${#SCORES[@]}; n += 8)); do
    c=("${SCORES[@]:n:8}")
    area=$(((c[4] - c[0]) * (c[7] - c[3]) - (c[6] - c[2]) * (c[5] - c[1])))
    WHY="line $((n / 8)): corners ${c[*]} are not clockwise from the top left"
    ((area > 0 && c[0] + c[1] < c[4] + c[5])) || return 1
  done
}
ocr_texts() {
  local n line
  WHY='no text'
  size $OCR.text && ((SIZE > 0)) || return 1
  for ((n = 0; n < SIZE; n++)); do
    line=${VALUE[$OCR.text.$n]-}
    WHY="text $n: '$line'"
    is "$OCR.text.$n" string && [[ $line == *[!\ ]* && $line != *'\u0000'* ]] || return 1
  done
}
all_texts() { # sets TEXTS, a line each
  local n
  TEXTS=''
  size $OCR.text
  for ((n = 0; n < SIZE; n++)); do TEXTS+="${VALUE[$OCR.text.$n]-}"$'\n'; done
}
ocr_words() {
  local word words
  all_texts
  IFS=, read -r -a words <<<"$WORDS"
  for word in ${words[@]+"${words[@]}"}; do
    WHY="'$word' is not in: ${TEXTS//$'\n'/ | }"
    [[ ${TEXTS,,} == *"${word,,}"* ]] || return 1
  done
  [[ -n $TEXTS ]]
}
ocr_scores() {
  size $OCR.text && ((SIZE > 0)) || return 1
  scores $OCR.boxScore && at_least "$SIZE" 500000 && scores $OCR.textScore && at_least "$SIZE" 800000
}
ocr_threshold() { ocr_lengths && scores $OCR.textScore && at_least "$ABOVE" "$MIDDLE"; }
ocr_none() { ocr_lengths && WHY='wanted four empty arrays' && size $OCR.text && ((SIZE == 0)); }

together() { # several tasks in one request answer as each alone
  answered 200 || return 1
  if ((ON_VISUAL)); then same_vector "$PICTURE" || return 1; fi
  if ((ON_FACES)); then WHY='other faces than alone'; size $FACE; ((SIZE == FACES_ALONE)) || return 1; fi
  if ((ON_OCR)); then WHY='other text than alone'; all_texts; [[ $TEXTS == "$TEXTS_ALONE" ]] || return 1; fi
}

# -------------------------------------------------------------------- ask

say "worker $URL, picture $IMAGE (${WIDTH:-?} x ${HEIGHT:-?})"
http GET /ping
for ((n = 0; n < (STATUS == 503 ? LOADING : WAIT) && STATUS / 100 != 2; n++)); do # it may still be starting
  if [[ $BODY == idle* ]]; then say "it has loaded, and serves no task: $URL/status says which model files are missing"; break; fi
  ((n)) || say "not ready yet, waiting up to $WAIT s, or $LOADING s while it loads its models"
  read -r -t 1 <> <(:) || :
  http GET /ping 2>/dev/null
done
check 'GET /ping answers pong' plain pong
if [[ $STATUS == 000 ]]; then
  say "no worker answers at $URL; start it with ./setup.sh, look at docker logs immich-ml-hailo, or name another URL"
  echo "0 passed, 1 failed"
  exit 1
fi
http GET /; check 'GET / answers Immich ML' root
http GET /nowhere; check 'an unknown path is 404' explained 404
http GET /predict; check 'GET /predict is 405' explained 405
http GET /status; check 'GET /status says version, readiness and tasks' status_page

on() { [[ ${KIND[answer.tasks.$1.on]-true} == true ]] && echo 1 || echo 0; } # a worker without /status has them all
ON_VISUAL=$(on clip.visual) ON_TEXTUAL=$(on clip.textual) ON_FACES=$(on facial-recognition) ON_OCR=$(on ocr)
((EXPECT_ALL)) && check 'all tasks are on (--expect-all)' test "$ON_VISUAL$ON_TEXTUAL$ON_FACES$ON_OCR" = 1111

# The worker announces the names that it goes by, and the width of its vectors; where it does not, find that out.
first_on() { # TASK: sets MODEL to its first model that is on; where none is, to the first
  local n
  MODEL=answer.$1.0
  size "answer.$1"
  for ((n = 0; n < SIZE; n++)); do
    if [[ ${VALUE[answer.$1.$n.on]-true} == true ]]; then MODEL=answer.$1.$n; return; fi
  done
}
first_on ocr; OCR_NAME=${VALUE[$MODEL.immich_name]-PP-OCRv5_mobile}
first_on clip; CLIP_NAME=${VALUE[$MODEL.immich_name]-} CLIP_WIDTH=${VALUE[$MODEL.width]-}
if [[ -z $CLIP_NAME || ! $CLIP_WIDTH =~ ^[1-9][0-9]{0,4}$ ]]; then
  CLIP_NAME=ViT-B-32__openai CLIP_WIDTH=512
  ask_text "$(textual)" 'a dog'
  if [[ $STATUS == 400 ]]; then CLIP_NAME=ViT-B-16-SigLIP__webli CLIP_WIDTH=768; fi
fi

PICTURE=''
if ((ON_VISUAL)); then
  say "clip.visual as $CLIP_NAME"
  ask "{$(visual)}"
  check 'clip.visual answers a string' clip_string
  check "clip.visual holds exactly $CLIP_WIDTH finite numbers" clip_numbers
  PICTURE=${VALUE[answer.clip]-}
  check 'clip.visual is of unit length' unit_length "$PICTURE"
  check 'clip.visual says the size of the picture' sized
  ask "{$(visual "some-org/$CLIP_NAME")}"
  check 'clip.visual takes an organisation before the name, and repeats itself' same_vector "$PICTURE"
  ask_bytes "{$(visual)}" "$BLANK"
  check 'clip.visual tells pictures apart' other_vector "$PICTURE"
else
  say 'clip.visual is OFF on this worker'
  ask "{$(visual)}"
  check 'clip.visual is off: refused with 503 and words' explained 503
fi

if ((ON_TEXTUAL)); then
  say "clip.textual as $CLIP_NAME"
  ask_text "$(textual '"language":"en"')" 'a dog on the beach'
  check 'clip.textual answers a string' clip_string
  check "clip.textual holds exactly $CLIP_WIDTH finite numbers" clip_numbers
  QUERY=${VALUE[answer.clip]-}
  check 'clip.textual is of unit length' unit_length "$QUERY"
  check 'clip.textual carries no picture size' sizeless
  ask_text "$(textual '"language":null,"newOption":[1]')" $'  a dog\ton the \n beach '
  check 'clip.textual ignores language, unknown options and white space' same_vector "$QUERY"
  ask_text "$(textual '"language":"xx-null"')" 'a birthday cake'
  check 'clip.textual tells queries apart' other_vector "$QUERY"
  ask_text "$(textual)" "$(printf '\xf0\x9f\x90\xb6 "quoted" \xe6\x9d\xb1\xe4\xba\xac caf\xc3\xa9 \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d %0600d' 0)"
  check 'clip.textual takes emoji, CJK, accents and over-long text' other_vector "$QUERY"
else
  say 'clip.textual is OFF on this worker'
  ask_text "$(textual)" 'a dog'
  check 'clip.textual is off: refused with 503 and words' explained 503
fi

FACES_ALONE=-1
if ((ON_FACES)); then
  say 'facial-recognition'
  ask "{$(faces)}"
  check "faces: finds ${FACES:-at least one}" face_count
  check 'faces: boxes are whole pixels inside the picture' face_boxes
  check 'faces: embeddings are strings of 512 finite numbers' face_vectors
  check 'faces: scores lie between what was asked and 1' face_scores
  check 'faces: says the size of the picture' sized
  size $FACE
  FACES_ALONE=$SIZE
  between
  ask "{\"facial-recognition\":{\"recognition\":{\"modelName\":\"buffalo_s\"},\"detection\":{\"options\":{\"minScore\":$THRESHOLD,\"newOption\":{}},\"modelName\":\"buffalo_s\"}}}"
  check 'faces: a higher minScore keeps the faces that reach it, in any order of keys' face_threshold
  ask_bytes "{$(faces)}" "$BLANK"
  check 'faces: none in a blank picture is an empty array' face_none
else
  say 'facial-recognition is OFF on this worker'
  ask "{$(faces)}"
  check 'faces are off: refused with 503 and words' explained 503
fi

TEXTS_ALONE=''
if ((ON_OCR)); then
  say 'ocr'
  ask "{$(ocr)}"
  check 'ocr: text, box (8 a text), boxScore and textScore go together' ocr_found
  check 'ocr: coordinates lie within 0..1' ocr_coordinates
  check 'ocr: corners run clockwise from the top left' ocr_corners
  check 'ocr: texts are not empty' ocr_texts
  check "ocr: reads ${WORDS:-something}" ocr_words
  check 'ocr: scores lie between what was asked and 1' ocr_scores
  check 'ocr: says the size of the picture' sized
  all_texts
  TEXTS_ALONE=$TEXTS
  scores answer.ocr.textScore
  between
  ask "{$(ocr "$THRESHOLD")}"
  check 'ocr: a higher minScore keeps the lines that reach it' ocr_threshold
  ask_bytes "{$(ocr)}" "$BLANK"
  check 'ocr: none in a blank picture is four empty arrays' ocr_none
else
  say 'ocr is OFF on this worker'
  ask "{$(ocr)}"
  check 'ocr is off: refused with 503 and words' explained 503
fi

say 'several tasks in one request'
ALL='' OFF=''
if ((ON_VISUAL)); then ALL+=",$(visual)"; else OFF+=",$(visual)"; fi
if ((ON_FACES)); then ALL+=",$(faces)"; else OFF+=",$(faces)"; fi
if ((ON_OCR)); then ALL+=",$(ocr)"; else OFF+=",$(ocr)"; fi
if [[ -n $ALL ]]; then
  ask "{${ALL#,}}"
  check 'all the tasks that are on, in one request, answer as each alone' together
fi
if [[ -n $ALL && -n $OFF ]]; then
  ask "{${ALL#,}$OFF}"
  check 'one task that is off refuses the whole request' explained 503
fi

say 'errors'
# A picture is refused before or after the task is found to be off; with no picture task on, either will do.
SOME="{$(if ((ON_VISUAL)); then visual; elif ((ON_FACES)); then faces; elif ((ON_OCR)); then ocr; else visual; fi)}"
IF_OFF=''
[[ -n $ALL ]] || IF_OFF=503
bad_form() { http POST /predict "entries=$2" "image@$IMAGE"; check "$1" explained 422; }
http POST /predict "image@$IMAGE"; check '422 without entries' explained 422
bad_form '422 for entries that are not JSON' '{"clip":'
bad_form '422 for entries that are not an object' '[]'
bad_form '422 for an unknown task' '{"telepathy":{"visual":{"modelName":"x"}}}'
bad_form '422 for an unknown type' '{"clip":{"audible":{"modelName":"x"}}}'
bad_form '422 for a model that is not an object' '{"clip":{"visual":"x"}}'
bad_form '422 without modelName' '{"clip":{"visual":{}}}'
bad_form '422 for an option of the wrong type' "{$(faces '"high"')}"
http POST /predict "entries=$SOME"; check '400 with neither picture nor text' explained 400
ask_text "$(textual)" ''; check '400 for an empty text' explained 400
ask '{"facial-recognition":{"recognition":{"modelName":"buffalo_l"}}}'
check '400 for recognition without detection' explained 400
ask_text "$SOME" 'a dog'; check '400 for a text where a picture is needed' explained 400 $IF_OFF
ask "{$(visual ViT-H-14__laion2b-s32b-b79k)}"; check '400 for a model name of another width' explained 400
ask_bytes "$SOME" 'this is not a picture'; check '400 for bytes that are not a picture' explained 400 $IF_OFF
ask_bytes "$SOME" ''; check '400 for a zero-byte picture' explained 400 $IF_OFF
ask_bytes "$SOME" "$CUT"; check '400 for a picture cut short' explained 400 $IF_OFF
ask_bytes "$SOME" "$HUGE"; check '413 for a picture of 60000 x 60000 pixels' explained 413 $IF_OFF

say 'after all that'
if [[ -n $ALL ]]; then
  (ask "{${ALL#,}}") &
  busy=$!
  TIMEOUT=2 check 'answers /ping within 2 s while it works' pong
  wait "$busy"
  ask "{${ALL#,}}"
  check 'still serves, with the same answers' together
fi
check 'GET /ping still answers pong' pong

UNTRIED=()
((ON_VISUAL)) || UNTRIED+=(clip.visual)
((ON_TEXTUAL)) || UNTRIED+=(clip.textual)
((ON_FACES)) || UNTRIED+=(facial-recognition)
((ON_OCR)) || UNTRIED+=(ocr)
echo
[[ ${#UNTRIED[@]} == 0 ]] || echo "OFF, so only its refusal was tried: ${UNTRIED[*]}. The worker's log and /status say why."
echo "$PASSED passed, $FAILED failed"
((FAILED == 0))
