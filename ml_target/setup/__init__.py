"""Set-up: what `./setup.sh` has to do next, as data; the shell does it and tells what came of it."""
